"""`python -m jaxgmm fit`."""

from __future__ import annotations

import argparse

import jaxgmm

from ..algorithms.registry import by_name
from ..families.registry import family_classes
from ..internal import checks
from .arguments import (
    add_data_arguments,
    add_evidence_arguments,
    add_fitting_arguments,
    add_seed_argument,
    fitting_settings,
    load_rows_to_fit,
    make_key,
    observed_rows,
    parse_whole_numbers,
    show_progress,
)
from .write import check_outputs, save_figure

COLUMNS = ("family", "K", "log-likelihood", "AIC", "BIC", "ICL")
COUNTS = ("at best", "failed", "spurious")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    families, algorithms = ", ".join(jaxgmm.FAMILIES), ", ".join(jaxgmm.ALGORITHMS)
    add_data_arguments(parser)
    add_evidence_arguments(parser)
    add = parser.add_argument
    add("--k", default="1:6", help="numbers of components: 3, 1:10, 1-10 or 1,2,5 (1:6)")
    some = "factors-2 and ppca-2 with any number of factors"
    add("--family", default="full", help=f"any of {families}, {some}, separated by commas; or all")
    add("--restarts", type=int, default=16, help="number of starts for each K (16)")
    add("--algorithm", default="em", help=f"one of {algorithms}")
    criteria = ["bic", "aic", "icl", "held-out"]
    add("--criterion", default="bic", choices=criteria, help="chooses the best fit (bic)")
    add("--out", help="file for the best fit (.npz)")
    add("--plot", help="file for a plot of the best fit (.png, .pdf, .svg)")
    add("--errors", action="store_true", help="show standard errors and 95 %% intervals")
    add_fitting_arguments(parser)
    add_seed_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fit mixtures for each K and family, and report the best one by the criterion.

    The best fit is summarized, and optionally saved and plotted. Nothing is saved if every fit
    failed.
    """
    check_outputs(arguments.out, plot=arguments.plot, inputs=[arguments.data])
    numbers, families = parse_whole_numbers(arguments.k), arguments.family.split(",")
    family_classes(families, max(numbers))
    checks.whole(arguments.restarts, "--restarts", 1)
    settings = fitting_settings(arguments)
    key, algorithm = make_key(arguments), by_name(arguments.algorithm)
    rows = load_rows_to_fit(arguments)
    x = observed_rows(rows, arguments)
    numbers = _enough_for_labels(numbers, len(rows.label_names))
    held_out = arguments.criterion == "held-out"
    with show_progress(arguments) as report:
        found = jaxgmm.sweep(
            key,
            x,
            numbers,
            restarts=arguments.restarts,
            families=families,
            weight=rows.weight,
            algorithm=algorithm,
            folds=5 if held_out else 0,
            features=rows.names,
            callback=report,
            **settings,
        )
        best = found.best(arguments.criterion)
    columns = (*COLUMNS, *(["held-out"] if held_out else []), *COUNTS)
    print(jaxgmm.Table({name: row[name] for name in columns} for row in found.table()))
    print()
    failed = best.status in (jaxgmm.Status.NONFINITE, jaxgmm.Status.DEGENERATE)
    errors = arguments.errors and not failed
    print(best.summary(x, weight=rows.weight, features=rows.names, errors=errors))
    if arguments.out and not failed:
        jaxgmm.save(arguments.out, best, features=rows.names if rows.named else None)
    if arguments.plot and not failed:
        from .. import plot

        axes = plot.pairs(best.mixture, x, names=rows.names, weight=rows.weight)
        save_figure(axes[0, 0].figure, arguments.plot)
    return int(failed)


def _enough_for_labels(numbers: list[int], labels: int) -> list[int]:
    """Return the numbers of components that are at least that of the labels."""
    enough = [k for k in numbers if k >= labels]
    if not enough:
        raise ValueError(
            f"there are {labels} different labels, and --k has no number as large: pass --k "
            f"{labels} or more."
        )
    return enough
