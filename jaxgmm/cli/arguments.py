"""Arguments that several commands share, and the objects that they stand for."""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import re
import sys
from typing import Any

import jax
import numpy as np

import jaxgmm

from ..data.row_checks import same_features
from ..internal import checks
from ..reports.progress import ProgressReport
from ..reports.storage import feature_names
from ..tables.cell_kinds import DECIMALS
from ..tables.conversion import refuse_constant_columns
from ..tables.lines import SEPARATORS
from ..tables.options import ReadOptions
from ..tables.read_table import Records, read_table
from .messages import print_message

NUMBERS = "write 3, 1:10, 1-10 or 1,2,5"


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data file and how to read it."""
    parser.add_argument(
        "data", help="a CSV, .npy, .npz or .parquet file, compressed or not, or - for CSV on stdin"
    )
    reading = parser.add_argument_group("how the data file is read")
    add = reading.add_argument
    add("--columns", help="names or numbers of columns, separated by commas (default: all)")
    add("--numeric", action="store_true", help="leave out columns of text and dates")
    add("--weight", help="the column with row weights", metavar="COLUMN")
    add("--drop-missing", action="store_true", help="leave out incomplete rows")
    add("--missing", help="further codes for missing values, e.g. --missing=-999,unknown")
    add("--header", action=argparse.BooleanOptionalAction, help="whether line 1 names the columns")
    add("--separator", help="what separates columns: comma, semicolon, tab, bar or blank")
    add("--decimal", help="the decimal sign: point or comma")
    add("--encoding", help="encoding of text, e.g. latin-1, cp1252 or utf-16 (default: utf-8)")
    add("--quiet", action="store_true", help="do not report how the file was read")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that prints a line of CSV for each row of the data."""
    parser.add_argument("model", help="a model file written by fit --out")
    add_data_arguments(parser)
    add_evidence_arguments(parser)
    parser.add_argument("--out", help="file for the CSV (default: stdout)")


def add_evidence_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is known of the rows beside their values."""
    add = parser.add_argument
    add("--sd", help="a file with the standard deviation of each value's noise", metavar="FILE")
    add("--labels", help="the column with known labels; an empty cell is unknown", metavar="COLUMN")


def observed_rows(rows: Records, arguments: argparse.Namespace) -> np.ndarray | jaxgmm.Observed:
    """Return the rows with all that is known of them, or a plain array if they are complete.

    Raises ValueError for standard deviations of another shape or below 0.
    """
    noise, path = None, getattr(arguments, "sd", None)
    if path is not None:
        options = dataclasses.replace(
            read_options(arguments), weight=None, labels=None, keep_missing=True, drop_missing=False
        )
        deviations = read_table(path, options, rows.names if rows.named else None)
        if deviations.x.shape != (len(rows.complete), rows.x.shape[1]):
            raise ValueError(
                f"{path} has {len(deviations.x)} rows and {deviations.x.shape[1]} columns, but the "
                f"data have {len(rows.complete)} rows and {rows.x.shape[1]} columns: write a "
                "standard deviation for each value."
            )
        if (deviations.x < 0).any():
            raise ValueError(f"{path} has a negative standard deviation: 0 means exact.")
        kept = deviations.x[rows.complete]
        unknown = np.isnan(kept) & ~np.isnan(rows.x)
        if unknown.any():
            raise ValueError(
                f"{path} lacks the standard deviation of {np.sum(unknown)} values that the data "
                "have: write 0 for exact values."
            )
        noise = np.where(np.isnan(kept), 0, kept) ** 2
    if noise is None and rows.labels is None and not rows.has_gaps:
        return rows.x
    return jaxgmm.Observed(rows.x, noise=noise, labels=rows.labels)


def add_seed_argument(parser: argparse.ArgumentParser) -> None:
    """Add the seed of all random numbers."""
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (0)")


def add_fitting_arguments(parser: argparse.ArgumentParser) -> None:
    """Add how every fit is computed."""
    fitting = parser.add_argument_group("how each mixture is fitted")
    add = fitting.add_argument
    add(
        "--prior", default="default", choices=["default", "none"],
        help="a weak prior from the data, or none for maximum likelihood (default)",
    )  # fmt: skip
    add("--tolerance", type=float, default=1e-9, help="EM's gain D at which a fit ends (1e-9)")
    add("--max-steps", type=int, default=1000, help="the largest number of steps of a fit (1000)")
    add("--progress", action="store_true", help="show progress on stderr")


def fitting_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `sweep` and `compare` that `add_fitting_arguments` stands for.

    Raises ValueError for a value that they do not accept, with the name of the option.
    """
    checks.not_negative(arguments.tolerance, "--tolerance")
    return {
        "prior": None if arguments.prior == "none" else arguments.prior,
        "tolerance": arguments.tolerance,
        "max_steps": checks.whole(arguments.max_steps, "--max-steps", 1),
    }


def show_progress(
    arguments: argparse.Namespace,
) -> contextlib.AbstractContextManager[ProgressReport | None]:
    """Return a progress report if stderr is a terminal or --progress is set, else an empty one."""
    wanted = arguments.progress or sys.stderr.isatty()
    return jaxgmm.progress() if wanted else contextlib.nullcontext()


def load_rows_to_fit(arguments: argparse.Namespace) -> Records:
    """Return the rows of the data file, whose columns must vary, and say what was read."""
    options = dataclasses.replace(read_options(arguments), keep_missing=True)
    rows = read_table(arguments.data, options)
    refuse_constant_columns(rows.x, rows.names, rows.columns, arguments.data)
    describe_rows(rows, arguments)
    return rows


def load_rows_of_model(
    arguments: argparse.Namespace, mixture: jaxgmm.Mixture, features: list[str] | None
) -> Records:
    """Return the rows of the data file with the columns of a model, and say what was read.

    Args:
      arguments: the arguments of the command.
      mixture: the model.
      features: the names of its features, or None.
    """
    options = dataclasses.replace(read_options(arguments), keep_missing=True)
    rows = read_table(arguments.data, options, features)
    same_features(mixture.n_features, rows.x.shape[1])
    describe_rows(rows, arguments)
    if features is not None and set(rows.names) != set(features) and not arguments.quiet:
        print_message(
            f"columns {', '.join(rows.columns)} are used as the model's features "
            f"{', '.join(features)}."
        )
    return rows


def describe_rows(rows: Records, arguments: argparse.Namespace) -> None:
    """Say on stderr what was read, unless --quiet is set."""
    if not arguments.quiet:
        for note in rows.notes:
            print_message(note)


def read_options(arguments: argparse.Namespace) -> ReadOptions:
    """Return how to read the data file.

    Raises ValueError for an option that has no such value.
    """
    separator, decimal = arguments.separator, arguments.decimal
    if separator is not None:
        separator = SEPARATORS.get(separator.lower(), separator.replace("\\t", "\t"))
        if separator not in SEPARATORS.values():
            raise ValueError(f"--separator is {separator!r}: write {', '.join(SEPARATORS)}.")
    if decimal is not None and decimal.lower() not in DECIMALS:
        raise ValueError(f"--decimal is {decimal!r}: write point or comma.")
    return ReadOptions(
        columns=parse_list(arguments.columns, "--columns"),
        weight=arguments.weight,
        drop_missing=arguments.drop_missing,
        labels=getattr(arguments, "labels", None),
        numeric=arguments.numeric,
        header=arguments.header,
        separator=separator,
        decimal=None if decimal is None else DECIMALS[decimal.lower()],
        encoding=arguments.encoding,
        missing=tuple(parse_list(arguments.missing, "--missing") or ()),
    )


def parse_list(text: str | None, option: str) -> list[str] | None:
    """Return the parts of a list, where quotes enclose a part with a comma."""
    if text is None:
        return None
    parts = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not any(parts):
        raise ValueError(f"{option} is empty: write e.g. {option} a,b.")
    return parts


def make_key(arguments: argparse.Namespace) -> jax.Array:
    """Return a JAX random key for --seed."""
    return jax.random.key(checks.whole(arguments.seed, "--seed", 0, 2**63 - 1))


def load_mixture(path: str) -> tuple[jaxgmm.Mixture, list[str] | None]:
    """Return the mixture of a model file in float64, and its features' names or None."""
    if not path:
        raise ValueError("the name of the model file is empty: pass a file that fit --out wrote.")
    loaded = jaxgmm.load(path)
    if not isinstance(loaded, (jaxgmm.Mixture, jaxgmm.Fit)):
        raise ValueError(f"{path} is a comparison: pass a model file, as fit --out writes it.")
    mixture = loaded if isinstance(loaded, jaxgmm.Mixture) else loaded.mixture
    checks.one_mixture(mixture)
    return jax.tree.map(lambda leaf: leaf.astype(np.float64), mixture), feature_names(path)


def parse_whole_numbers(text: str) -> list[int]:
    """Return the numbers in "3", "1:10", "1-10" or "1..10" (both ends included), or "1,2,5"."""
    numbers: list[int] = []
    for part in text.split(","):
        ends = re.split(r"\s*(?::|\.\.|-|–)\s*", part.strip())
        if len(ends) > 2 or not all(end.isdecimal() and end.isascii() for end in ends):
            raise ValueError(f"--k is {text!r}: {NUMBERS}.")
        numbers += range(checks.whole(int(ends[0]), "--k", 1), int(ends[-1]) + 1)
    if not numbers:
        raise ValueError(f"--k is {text!r}, which contains no number: {NUMBERS}.")
    return numbers
