"""The commands of `python -m jaxgmm`: fit, score, sample and compare.

Results are printed on stdout and messages on stderr. The exit status is 0 for success, 1 if every
fit failed, and 2 for a bad argument or file, which is reported in one line on stderr before
anything is written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

import jax
import numpy as np

import jaxgmm

from ..algorithms.registry import by_name
from ..families.registry import family_class
from ..internal import checks
from ..reports.progress import ProgressReport
from ..reports.storage import feature_names
from .read_table import Records, parse_columns, read_table, refuse_constant_columns
from .write import check_outputs, save_figure, write_table

FIT_COLUMNS = ("family", "K", "log-likelihood", "AIC", "BIC", "ICL")
FIT_COUNTS = ("at best", "failed", "spurious")
COMPARE_COLUMNS = (
    "algorithm", "objective", "at best", "steps", "passes", "passes to 1e-6", "seconds", "failed",
)  # fmt: skip


# ---- commands ----------------------------------------------------------------------------------


def run_fit(arguments: argparse.Namespace) -> int:
    """Fit mixtures for each K and family, and report the best one.

    The best fit by the criterion is summarized, and optionally saved and plotted. Nothing is saved
    if every fit failed.
    """
    check_outputs(arguments.out, plot=arguments.plot, inputs=[arguments.data])
    rows = refuse_constant_columns(load_rows(arguments), arguments.data)
    families = arguments.family.split(",")
    for family in families:
        family_class(family)
    held_out = arguments.criterion == "held-out"
    with show_progress(arguments) as report:
        found = jaxgmm.sweep(
            make_key(arguments),
            rows.x,
            parse_whole_numbers(arguments.k),
            restarts=arguments.restarts,
            families=families,
            weight=rows.weight,
            algorithm=by_name(arguments.algorithm),
            folds=5 if held_out else 0,
            features=rows.names,
            callback=report,
        )
        best = found.best(arguments.criterion)
    columns = (*FIT_COLUMNS, *(["held-out"] if held_out else []), *FIT_COUNTS)
    print(jaxgmm.Table({name: row[name] for name in columns} for row in found.table()))
    print()
    print(best.summary(rows.x, weight=rows.weight, features=rows.names))
    failed = best.status in (jaxgmm.Status.NONFINITE, jaxgmm.Status.DEGENERATE)
    if arguments.out and not failed:
        jaxgmm.save(arguments.out, best, features=rows.names if rows.named else None)
    if arguments.plot and not failed:
        from .. import plot

        axes = plot.pairs(best.mixture, rows.x, names=rows.names, weight=rows.weight)
        save_figure(axes[0, 0].figure, arguments.plot)
    return int(failed)


def run_score(arguments: argparse.Namespace) -> int:
    """Print log p(x), the most likely component and the responsibilities of each row, as CSV.

    If both the model and the data name their columns, the model's features are found by name.
    """
    check_outputs(arguments.out, inputs=[arguments.model, arguments.data])
    mixture, features = load_mixture(arguments.model)
    rows = load_rows(arguments, features)
    log_probs = np.asarray(jaxgmm.log_prob(mixture, rows.x))
    responsibilities = np.asarray(jaxgmm.responsibilities(mixture, rows.x))
    k = responsibilities.shape[1]
    names = ["log_prob", "component", *(f"responsibility_{i + 1}" for i in range(k))]
    likeliest = responsibilities.argmax(axis=1) + 1
    lines = zip(log_probs, likeliest, *responsibilities.T, strict=True)
    write_table(names, lines, arguments.out)
    total = np.sum(log_probs if rows.weight is None else rows.weight * log_probs)
    n = len(log_probs) if rows.weight is None else rows.weight.sum()
    print_message(f"log-likelihood {total:.4f} of {n:g} rows, {total / n:.6f} per row")
    return 0


def run_sample(arguments: argparse.Namespace) -> int:
    """Print rows drawn from a model and the component of each row, as CSV."""
    check_outputs(arguments.out, inputs=[arguments.model])
    mixture, features = load_mixture(arguments.model)
    x, component = jaxgmm.sample(make_key(arguments), mixture, arguments.n)
    names = features or [f"feature_{i + 1}" for i in range(mixture.n_features)]
    lines = zip(*np.asarray(x).T, np.asarray(component) + 1, strict=True)
    write_table([*names, "component"], lines, arguments.out)
    return 0


def run_compare(arguments: argparse.Namespace) -> int:
    """Compare several algorithms from the same starts."""
    check_outputs(plot=arguments.plot, inputs=[arguments.data])
    rows = refuse_constant_columns(load_rows(arguments), arguments.data)
    found = jaxgmm.compare(
        make_key(arguments),
        rows.x,
        arguments.k,
        arguments.algorithms.split(","),
        restarts=arguments.restarts,
        family=arguments.family,
        weight=rows.weight,
        features=rows.names,
    )
    print(jaxgmm.Table({name: row[name] for name in COMPARE_COLUMNS} for row in found.table()))
    if arguments.plot:
        from .. import plot

        save_figure(plot.comparison(found)[0].figure, arguments.plot)
    return int(all((fits.status >= jaxgmm.Status.NONFINITE).all() for fits in found.fits.values()))


# ---- shared parts of the commands --------------------------------------------------------------


def load_rows(arguments: argparse.Namespace, features: list[str] | None = None) -> Records:
    """Return the rows of the data file, with the columns of the model's features if given."""
    columns = None if arguments.columns is None else parse_columns(arguments.columns)
    rows = read_table(arguments.data, columns, arguments.weight, arguments.drop_missing, features)
    if (
        features is not None
        and rows.named
        and len(rows.names) == len(features) != len(set(rows.names) & set(features))
    ):
        print_message(
            f"columns {', '.join(rows.names)} are used as the model's features "
            f"{', '.join(features)}"
        )
    if rows.dropped:
        print_message(f"{rows.dropped} incomplete rows were dropped, {len(rows.x)} rows remain")
    return rows


def make_key(arguments: argparse.Namespace) -> jax.Array:
    """Return a JAX random key for --seed."""
    return jax.random.key(checks.whole(arguments.seed, "--seed", 0, 2**63 - 1))


def load_mixture(path: str) -> tuple[jaxgmm.Mixture, list[str] | None]:
    """Return the mixture of a model file in float64, and its features' names or None."""
    loaded = jaxgmm.load(path)
    mixture = loaded if isinstance(loaded, jaxgmm.Mixture) else loaded.mixture
    checks.one_mixture(mixture)
    return jax.tree.map(lambda leaf: leaf.astype(np.float64), mixture), feature_names(path)


def parse_whole_numbers(text: str) -> list[int]:
    """Return the numbers in "3", "1:10" (both ends included) or "1,2,5"."""
    numbers: list[int] = []
    for part in text.split(","):
        ends = part.split(":")
        if len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
            raise ValueError(f"--k is {text!r}: write 3, 1:10 or 1,2,5.")
        numbers += range(int(ends[0]), int(ends[-1]) + 1)
    if not numbers:
        raise ValueError(f"--k is {text!r}, which contains no number: write 3, 1:10 or 1,2,5.")
    return numbers


def show_progress(
    arguments: argparse.Namespace,
) -> contextlib.AbstractContextManager[ProgressReport | None]:
    """Return a progress report if stderr is a terminal or --progress is set, else an empty one."""
    wanted = arguments.progress or sys.stderr.isatty()
    return jaxgmm.progress() if wanted else contextlib.nullcontext()


def print_message(text: str) -> None:
    """Print a message on stderr."""
    print(f"jaxgmm: {text}", file=sys.stderr)


# ---- command line ------------------------------------------------------------------------------


class OneLineParser(argparse.ArgumentParser):
    """Parser that reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        print_message(f"error: {message} (see {self.prog} --help)")
        raise SystemExit(2)


def make_parser() -> OneLineParser:
    """Return the parser of the command line."""
    parser = OneLineParser(
        prog="python -m jaxgmm", description="Gaussian mixtures from the command line."
    )
    parser.add_argument("--version", action="version", version=f"jaxgmm {jaxgmm.__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="fit|score|sample|compare"
    )

    def add_command(
        name: str, function: Callable[[argparse.Namespace], int], data: bool, model: bool
    ) -> OneLineParser:
        documentation = function.__doc__ or ""  # None under python -OO
        command = commands.add_parser(
            name, help=documentation.split("\n")[0], description=documentation
        )
        command.set_defaults(run=function)
        if model:
            command.add_argument("model", help="a model file written by fit --out")
        if data:
            command.add_argument("data", help="a CSV, .npy or .parquet file, or - for CSV on stdin")
            command.add_argument(
                "--columns", help="names or numbers of columns, separated by commas (default: all)"
            )
            command.add_argument("--weight", help="the column with row weights", metavar="COLUMN")
            command.add_argument(
                "--drop-missing", action="store_true", help="leave out incomplete rows"
            )
        return command

    families, algorithms = ", ".join(jaxgmm.FAMILIES), ", ".join(jaxgmm.ALGORITHMS)
    fit = add_command("fit", run_fit, data=True, model=False)
    fit.add_argument("--k", default="1:6", help="numbers of components: 3, 1:10 or 1,2,5 (1:6)")
    fit.add_argument("--family", default="full", help=f"any of {families}, separated by commas")
    fit.add_argument("--restarts", type=int, default=16, help="number of starts for each K (16)")
    fit.add_argument("--algorithm", default="em", help=f"one of {algorithms}")
    fit.add_argument("--criterion", default="bic", choices=["bic", "aic", "icl", "held-out"])
    fit.add_argument("--out", help="file for the best fit (.npz)")
    fit.add_argument("--plot", help="file for a plot of the best fit (.png, .pdf, .svg)")
    fit.add_argument("--progress", action="store_true", help="show progress on stderr")
    score = add_command("score", run_score, data=True, model=True)
    score.add_argument("--out", help="file for the CSV (default: stdout)")
    sample = add_command("sample", run_sample, data=False, model=True)
    sample.add_argument("--n", type=int, default=1000, help="number of rows (1000)")
    sample.add_argument("--out", help="file for the CSV (default: stdout)")
    compare = add_command("compare", run_compare, data=True, model=False)
    compare.add_argument("--k", type=int, required=True, help="number of components")
    compare.add_argument("--family", default="full", help=f"one of {families}")
    compare.add_argument(
        "--algorithms", default="em,squarem,lbfgs", help=f"any of {algorithms}, separated by commas"
    )
    compare.add_argument("--restarts", type=int, default=10, help="number of starts (10)")
    compare.add_argument("--plot", help="file for a plot of the comparison (.png, .pdf, .svg)")
    for command in (fit, sample, compare):
        command.add_argument("--seed", type=int, default=0, help="seed of all random numbers (0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command in float64 and return its exit status.

    Args:
      argv: the arguments of the command line, or None for those of the process.
    """
    # A terminal whose encoding lacks a character such as ± must not lose the whole result.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        arguments = make_parser().parse_args(argv)
    except SystemExit as error:  # --help, or invalid arguments
        return int(error.code or 0)
    try:
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print_message(f"warning: {message}")
            status = arguments.run(arguments)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
    except BrokenPipeError:  # the reader, e.g. head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print_message(f"error: {error.filename or 'stdout'}: {error.strerror or error}")
    except (ValueError, ImportError) as error:
        print_message("error: " + " ".join(str(error).split()))
    except KeyboardInterrupt:
        print_message("interrupted")
        return 130
    return 2
