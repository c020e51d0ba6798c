"""`python -m jaxgmm score`."""

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
from .messages import print_message
from .write import check_outputs, write_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print log p(x), the most likely component and the responsibilities of each row, as CSV.

    Each row of the data has a line. Of a row with missing values, the density is that of what is
    there. With --drop-missing, the lines of incomplete rows are blank.
    If both the model and the data name their columns, the model's features are found by name.
    """
    check_outputs(arguments.out, inputs=[arguments.model, arguments.data])
    mixture, features = load_mixture(arguments.model)
    rows = load_rows_of_model(arguments, mixture, features)
    x = observed_rows(rows, arguments)
    log_probs = np.asarray(jaxgmm.log_prob(mixture, x))
    responsibilities = np.asarray(jaxgmm.responsibilities(mixture, x))
    likeliest = responsibilities.argmax(axis=1) + 1
    lines = np.full((len(rows.complete), 2 + responsibilities.shape[1]), np.nan)
    lines[rows.complete] = np.column_stack([log_probs, likeliest, responsibilities])
    numbered = [f"responsibility_{i + 1}" for i in range(responsibilities.shape[1])]
    write_table(["log_prob", "component", *numbered], lines, arguments.out)
    total = np.sum(log_probs if rows.weight is None else rows.weight * log_probs)
    n = len(log_probs) if rows.weight is None else rows.weight.sum()
    print_message(f"log-likelihood {total:.4f} of {n:g} rows, {total / n:.6f} per row")
    return 0
