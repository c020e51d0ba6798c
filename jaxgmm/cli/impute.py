"""`python -m jaxgmm impute`."""

from __future__ import annotations

import argparse

import numpy as np

import jaxgmm

from .arguments import (
    add_model_arguments,
    load_mixture,
    load_rows_of_model,
    observed_rows,
)
from .write import check_outputs, write_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the rows with their missing values filled, and values with noise denoised, as CSV.

    A value is replaced by its mean given what is there of its row. If both the model and the data
    name their columns, the model's features are found by name.
    """
    check_outputs(arguments.out, inputs=[arguments.model, arguments.data])
    mixture, features = load_mixture(arguments.model)
    rows = load_rows_of_model(arguments, mixture, features)
    x = observed_rows(rows, arguments)
    filled = np.asarray(jaxgmm.impute(mixture, x)) if isinstance(x, jaxgmm.Observed) else rows.x
    lines = np.full((len(rows.complete), filled.shape[1]), np.nan)
    lines[rows.complete] = filled
    write_table(rows.names, lines, arguments.out)
    return 0
