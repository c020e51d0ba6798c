"""`python -m jaxgmm predict`."""

from __future__ import annotations

import argparse

import numpy as np

import jaxgmm

from ..internal import checks
from ..tables.read_table import Records, read_table
from .arguments import add_data_arguments, describe_rows, load_mixture, parse_list, read_options
from .write import check_outputs, write_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("model", help="a model file written by fit --out")
    add_data_arguments(parser)
    add = parser.add_argument
    add("--target", required=True, help="the feature to predict, or several, by name or number")
    add("--quantiles", default="0.05,0.5,0.95", help="probabilities (0.05,0.5,0.95), or none")
    add("--out", help="file for the CSV (default: stdout)")


def run(arguments: argparse.Namespace) -> int:
    """Print the mean, the standard deviation and quantiles of targets given the other features.

    The output is CSV with a line for each row of the data. With --drop-missing, the lines of
    incomplete rows are blank. If there are several targets, the columns begin with their names. The
    data have the model's other features as columns, which are found by name if both the model and
    the data name them.
    """
    check_outputs(arguments.out, inputs=[arguments.model, arguments.data])
    probabilities = _parse_probabilities(arguments.quantiles)
    mixture, features = load_mixture(arguments.model)
    targets = _parse_targets(arguments.target, mixture.n_features, features)
    given = [i for i in range(mixture.n_features) if i not in targets]
    rows = _load_inputs(arguments, given, features)
    names, columns = [], []
    for target in targets:
        # The other targets are left out: they are neither given nor predicted here.
        part = jaxgmm.marginal(mixture, [*given, target])
        found = jaxgmm.regress(part, list(range(len(given))), rows.x)
        parts = [np.asarray(found.mean), np.asarray(found.standard_deviation)]
        if probabilities:
            parts.append(np.asarray(found.quantile(probabilities)))
        columns += parts
        of_target = (features[target] if features else f"feature_{target + 1}") + "_"
        before = of_target if len(targets) > 1 else ""
        statistics = ["mean", "standard_deviation", *(f"quantile_{p:g}" for p in probabilities)]
        names += [before + statistic for statistic in statistics]
    lines = np.full((len(rows.complete), len(names)), np.nan)
    lines[rows.complete] = np.hstack(columns)
    write_table(names, lines, arguments.out)
    return 0


def _parse_probabilities(text: str) -> list[float]:
    """Return the probabilities in "0.05,0.5", or none of them for "none"."""
    if text.strip().lower() in ("", "none"):
        return []
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = [np.nan]
    if not all(0 < value < 1 for value in values):
        raise ValueError(
            f"--quantiles is {text!r}: write probabilities above 0 and below 1, e.g. 0.05,0.5,0.95."
        )
    return values


def _parse_targets(text: str, d: int, features: list[str] | None) -> list[int]:
    """Return the numbers of the targets, from 0, by their names or their numbers from 1."""
    targets = []
    for part in parse_list(text, "--target") or []:
        if features is not None and part in features:
            targets.append(features.index(part))
        elif part.isascii() and part.isdecimal() and 1 <= int(part) <= d:
            targets.append(int(part) - 1)
        else:
            known = ", ".join(features) if features else "numbers, because it stores no names"
            raise ValueError(
                f"the model has no feature {part!r}: write --target with one of its {d} features "
                f"({known})."
            )
    checks.not_repeated(targets, "--target")
    if len(targets) == d:
        raise ValueError(f"--target lists all {d} features: leave at least one to predict from.")
    return targets


def _load_inputs(
    arguments: argparse.Namespace, given: list[int], features: list[str] | None
) -> Records:
    """Return the rows of the data file with the columns of the given features."""
    names = None if features is None else [features[i] for i in given]
    rows = read_table(arguments.data, read_options(arguments), names)
    if rows.x.shape[1] != len(given):
        of_model = ", ".join(names) if names else ", ".join(str(i + 1) for i in given)
        raise ValueError(
            f"{arguments.data} has {rows.x.shape[1]} columns, and {len(given)} are needed: pass "
            f"the model's features {of_model} by --columns, in this order."
        )
    describe_rows(rows, arguments)
    return rows
