"""`python -m jaxgmm compare`."""

from __future__ import annotations

import argparse

import jaxgmm

from ..algorithms.registry import by_name
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
    show_progress,
)
from .write import check_outputs, save_figure

COLUMNS = (
    "algorithm", "objective", "at best", "steps", "passes", "passes to 1e-6", "interval", "winner",
    "seconds", "failed",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    families, algorithms = ", ".join(jaxgmm.FAMILIES), ", ".join(jaxgmm.ALGORITHMS)
    add_data_arguments(parser)
    add_evidence_arguments(parser)
    add = parser.add_argument
    add("--k", type=int, required=True, help="number of components")
    add("--family", default="full", help=f"one of {families}, factors-2, ppca-2")
    add(
        "--algorithms", default="em,squarem,lbfgs", help=f"any of {algorithms}, separated by commas"
    )
    add("--restarts", type=int, default=10, help="number of starts (10)")
    add("--budget", help="the cost at which each fit ends, e.g. '200 passes' or '1.5 seconds'")
    add("--checkpoint", help="file of finished fits, from which an interrupted run continues")
    add("--out", help="file for the comparison (.npz), which jaxgmm.load reads")
    add("--plot", help="file for a plot of the comparison (.png, .pdf, .svg)")
    add_fitting_arguments(parser)
    add_seed_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare several algorithms from the same starts."""
    check_outputs(plot=arguments.plot, out=arguments.out, inputs=[arguments.data])
    checks.whole(arguments.k, "--k", 1)
    checks.whole(arguments.restarts, "--restarts", 1)
    settings = fitting_settings(arguments)
    key, algorithms = make_key(arguments), arguments.algorithms.split(",")
    for name in algorithms:
        by_name(name)
    rows = load_rows_to_fit(arguments)
    x = observed_rows(rows, arguments)
    with show_progress(arguments) as report:
        found = jaxgmm.compare(
            key,
            x,
            arguments.k,
            algorithms,
            restarts=arguments.restarts,
            family=arguments.family,
            weight=rows.weight,
            features=rows.names,
            budget=arguments.budget,
            checkpoint=arguments.checkpoint,
            callback=report,
            **settings,
        )
    if arguments.out:
        found.save(arguments.out)
    print(jaxgmm.Table({name: row[name] for name in COLUMNS} for row in found.table()))
    if arguments.plot:
        from .. import plot

        save_figure(plot.comparison(found)[0].figure, arguments.plot)
    return int(all((fits.status >= jaxgmm.Status.NONFINITE).all() for fits in found.fits.values()))
