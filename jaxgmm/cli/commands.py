"""The command line: `python -m jaxgmm fit | score | sample | compare`.

Results go to stdout, all else to stderr. Exit status: 0; 1 where every fit failed; 2 for a bad
argument or file, in one line on stderr, before anything is written.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings

import jax
import numpy as np

import jaxgmm

from ..families.registry import family_class
from ..internal import checks
from ..reports.storage import feature_names
from .read_table import Records, parse_columns, read_table, refuse_constant_columns
from .write import check_outputs, save_figure, write_table

SHOWN = ("family", "K", "log-likelihood", "AIC", "BIC", "ICL", "at best", "failed", "spurious")
COMPARED = (
    "algorithm", "objective", "at best", "steps", "passes", "passes to 1e-6", "seconds", "failed",
)  # fmt: skip


# ---- commands ----------------------------------------------------------------------------------


def fit(given) -> int:
    """Every K and family from many starts; the best by a criterion is told, and, unless every fit
    failed, kept and drawn."""
    check_outputs(given.out, plot=given.plot, inputs=[given.data])
    rows = refuse_constant_columns(table(given), given.data)
    families = given.family.split(",")
    for family in families:
        family_class(family)
    with watch_progress(given) as report:
        found = jaxgmm.sweep(
            key_of(given), rows.x, whole_numbers(given.k), restarts=given.restarts,
            families=families, weight=rows.weight, algorithm=by_name(given.algorithm),
            folds=5 if given.criterion == "held-out" else 0, features=rows.names, callback=report,
        )  # fmt: skip
        best = found.best(given.criterion)
    shown = (*SHOWN[:6], *(["held-out"] if given.criterion == "held-out" else []), *SHOWN[6:])
    lines = jaxgmm.Table({name: row[name] for name in shown} for row in found.table())
    print(lines, "", best.summary(rows.x, weight=rows.weight, features=rows.names), sep="\n")
    failed = best.status in (jaxgmm.Status.NONFINITE, jaxgmm.Status.DEGENERATE)
    if given.out and not failed:
        jaxgmm.save(given.out, best, features=rows.names if rows.named else None)
    if given.plot and not failed:
        from .. import plot

        axes = plot.pairs(best.mixture, rows.x, names=rows.names, weight=rows.weight)
        save_figure(axes[0, 0].figure, given.plot)
    return int(failed)


def score(given) -> int:
    """log p(x) of each row, its likeliest component, and its responsibilities, as CSV. Where model
    and data name their columns, the model's are found by name."""
    check_outputs(given.out, inputs=[given.model, given.data])
    mixture, features = model(given.model)
    rows = table(given, features)
    each = np.asarray(jaxgmm.log_prob(mixture, rows.x))
    shares = np.asarray(jaxgmm.responsibilities(mixture, rows.x))
    names = ["log_prob", "component", *(f"responsibility_{k + 1}" for k in range(shares.shape[1]))]
    lines = zip(each, shares.argmax(axis=1) + 1, *shares.T, strict=True)
    write_table(names, lines, given.out)
    total = np.sum(each if rows.weight is None else rows.weight * each)
    n = len(each) if rows.weight is None else rows.weight.sum()
    say(f"log-likelihood {total:.4f} of {n:g} rows, {total / n:.6f} for each")
    return 0


def sample(given) -> int:
    """Rows drawn from a mixture, under its features' names, with the component each came from, as
    CSV."""
    check_outputs(given.out, inputs=[given.model])
    mixture, features = model(given.model)
    x, component = jaxgmm.sample(key_of(given), mixture, given.n)
    names = features or [f"feature_{i + 1}" for i in range(mixture.n_features)]
    lines = zip(*np.asarray(x).T, np.asarray(component) + 1, strict=True)
    write_table([*names, "component"], lines, given.out)
    return 0


def compare(given) -> int:
    """Several algorithms from the same starts."""
    check_outputs(plot=given.plot, inputs=[given.data])
    rows = refuse_constant_columns(table(given), given.data)
    found = jaxgmm.compare(
        key_of(given), rows.x, given.k, given.algorithms.split(","),
        restarts=given.restarts, family=given.family, weight=rows.weight, features=rows.names,
    )  # fmt: skip
    print(jaxgmm.Table({name: row[name] for name in COMPARED} for row in found.table()))
    if given.plot:
        from .. import plot

        save_figure(plot.comparison(found)[0].figure, given.plot)
    return int(all((fits.status >= jaxgmm.Status.NONFINITE).all() for fits in found.fits.values()))


# ---- what they share ---------------------------------------------------------------------------


def table(given, features: list[str] | None = None) -> Records:
    """The rows; for a model, the columns that stand for its features."""
    columns = None if given.columns is None else parse_columns(given.columns)
    rows = read_table(given.data, columns, given.weight, given.drop_missing, features)
    if (
        features is not None
        and rows.named
        and len(rows.names) == len(features) != len(set(rows.names) & set(features))
    ):
        say(f"{', '.join(rows.names)} stand for the model's {', '.join(features)}")
    if rows.dropped:
        say(f"{rows.dropped} incomplete rows left out, {len(rows.x)} kept")
    return rows


def key_of(given) -> jax.Array:
    return jax.random.key(checks.whole(given.seed, "--seed", 0, 2**63 - 1))


def model(path: str) -> tuple[jaxgmm.Mixture, list[str] | None]:
    """The mixture in a file, and its features' names if it has them."""
    found = jaxgmm.load(path)
    mixture = found if isinstance(found, jaxgmm.Mixture) else found.mixture
    checks.one_mixture(mixture)
    return jax.tree.map(lambda leaf: leaf.astype(np.float64), mixture), feature_names(path)


def whole_numbers(text: str) -> list[int]:
    """ "3", "1:10" (both ends included) or "1,2,5"."""
    found = []
    for part in text.split(","):
        ends = part.split(":")
        if len(ends) > 2 or not all(end.strip().isdecimal() for end in ends):
            raise ValueError(f"--k is {text!r}: write 3, 1:10 or 1,2,5.")
        found += range(int(ends[0]), int(ends[-1]) + 1)
    if not found:
        raise ValueError(f"--k is {text!r}, which is no number at all: write 3, 1:10 or 1,2,5.")
    return found


def by_name(algorithm: str):
    checks.choice(algorithm, "algorithm", jaxgmm.ALGORITHMS)
    return jaxgmm.ALGORITHMS[algorithm]


def watch_progress(given):
    """The progress, shown where somebody looks."""
    wanted = given.progress or sys.stderr.isatty()
    return jaxgmm.progress() if wanted else contextlib.nullcontext()


def say(text: str) -> None:
    print(f"jaxgmm: {text}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message):
        say(f"error: {message} ({self.prog} --help tells more)")
        raise SystemExit(2)


def parser() -> Parser:
    top = Parser(prog="python -m jaxgmm", description="Gaussian mixtures from the command line.")
    top.add_argument("--version", action="version", version=f"jaxgmm {jaxgmm.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="fit|score|sample|compare")

    def command(function, data: bool, model: bool):
        one = commands.add_parser(
            function.__name__, help=function.__doc__, description=function.__doc__
        )
        one.set_defaults(run=function)
        if model:
            one.add_argument("model", help="a file that fit --out wrote")
        if data:
            one.add_argument("data", help="CSV, .npy or .parquet; - is CSV on stdin")
            one.add_argument("--columns", help="names or numbers, by commas (default: all)")
            one.add_argument("--weight", help="the column with row weights", metavar="COLUMN")
            one.add_argument(
                "--drop-missing", action="store_true", help="leave incomplete rows out"
            )
        return one

    one = command(fit, data=True, model=False)
    one.add_argument("--k", default="1:6", help="numbers of components: 3, 1:10 or 1,2,5 (1:6)")
    one.add_argument("--family", default="full", help=f"of {', '.join(jaxgmm.FAMILIES)}, by commas")
    one.add_argument("--restarts", type=int, default=16, help="starts for each K (16)")
    one.add_argument("--algorithm", default="em", help=f"of {', '.join(jaxgmm.ALGORITHMS)}")
    one.add_argument("--criterion", default="bic", choices=["bic", "aic", "icl", "held-out"])
    one.add_argument("--out", help="where to save the best fit (.npz)")
    one.add_argument("--plot", help="where to draw it (.png, .pdf, .svg)")
    one.add_argument("--progress", action="store_true", help="show progress on stderr")
    score_ = command(score, data=True, model=True)
    score_.add_argument("--out", help="where to write the CSV (default: stdout)")
    drawn = command(sample, data=False, model=True)
    drawn.add_argument("--n", type=int, default=1000, help="how many rows (1000)")
    drawn.add_argument("--out", help="where to write the CSV (default: stdout)")
    several = command(compare, data=True, model=False)
    several.add_argument("--k", type=int, required=True, help="number of components")
    several.add_argument("--family", default="full", help=f"of {', '.join(jaxgmm.FAMILIES)}")
    several.add_argument("--algorithms", default="em,squarem,lbfgs", help="by commas")
    several.add_argument("--restarts", type=int, default=10, help="starts (10)")
    several.add_argument("--plot", help="where to draw it (.png, .pdf, .svg)")
    for random in (one, drawn, several):
        random.add_argument("--seed", type=int, default=0, help="of all random numbers (0)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Runs a command, in float64. Returns the exit status."""
    if hasattr(sys.stdout, "reconfigure"):  # else a terminal without ± would lose a whole result
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        given = parser().parse_args(arguments)
    except SystemExit as ended:  # --help and bad arguments
        return int(ended.code or 0)
    try:
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            status = given.run(given)
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
    except BrokenPipeError:  # head and its like have seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        say(f"error: {error.filename or 'stdout'}: {error.strerror or error}")
    except (ValueError, ImportError) as error:
        say("error: " + " ".join(str(error).split()))
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    return 2
