"""`python -m jaxgmm sample`."""

from __future__ import annotations

import argparse

import numpy as np

import jaxgmm

from .arguments import add_seed_argument, load_mixture, make_key
from .write import check_outputs, write_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument("model", help="a model file written by fit --out")
    parser.add_argument("--n", type=int, default=1000, help="number of rows (1000)")
    parser.add_argument("--out", help="file for the CSV (default: stdout)")
    add_seed_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print rows drawn from a model and the component of each row, as CSV."""
    check_outputs(arguments.out, inputs=[arguments.model])
    mixture, features = load_mixture(arguments.model)
    x, component = jaxgmm.sample(make_key(arguments), mixture, arguments.n)
    names = features or [f"feature_{i + 1}" for i in range(mixture.n_features)]
    lines = np.column_stack([np.asarray(x), np.asarray(component) + 1])
    write_table([*names, "component"], lines, arguments.out)
    return 0
