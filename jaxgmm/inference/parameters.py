"""The readable parameters of a mixture, and a table of them with their errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..internal.text_table import Table
from ..mixture.mixture import Mixture


class Parameters(NamedTuple):
    """Numbers that belong to the parameters of a mixture, such as standard errors.

    Attributes:
      weights: (k,) those of the weights.
      means: (k, d) those of the means.
      covariances: (k, d, d) those of the entries of the dense covariances.
    """

    weights: jax.Array
    means: jax.Array
    covariances: jax.Array


def parameters_of(mixture: Mixture) -> Parameters:
    """Return the weights, means and dense covariances of a mixture."""
    return Parameters(mixture.weights, mixture.means, mixture.covariances)


def without_absent(mixture: Mixture, errors: Parameters) -> Parameters:
    """Return the errors, which are NaN for the means and covariances of absent components."""
    present = mixture.present
    return Parameters(
        errors.weights,
        jnp.where(present[:, None], errors.means, jnp.nan),
        jnp.where(present[:, None, None], errors.covariances, jnp.nan),
    )


def scale_of(name: str) -> str:
    """Return the scale on which a parameter's distribution is closest to normal."""
    return {"weight": "logit", "variance": "log"}.get(name.split()[0], "plain")


def parameter_table(
    mixture: Mixture, columns: dict[str, Parameters], names: Sequence[str], note: str = ""
) -> Table:
    """Return a table with a row for each parameter of each present component.

    Args:
      mixture: the mixture whose parameters are the estimates.
      columns: further columns, by their titles.
      names: the names of the d features.
      note: a sentence that is printed below the table.
    """
    values = jax.tree.map(lambda leaf: np.asarray(leaf, float), parameters_of(mixture))
    columns = {"estimate": values} | columns
    rows: list[dict[str, Any]] = []

    def add(component: int, name: str, entry: Any) -> None:
        numbers = {title: float(entry(column)) for title, column in columns.items()}
        rows.append({"component": component + 1, "parameter": name} | numbers)

    for k in np.flatnonzero(np.asarray(mixture.present)).tolist():
        add(k, "weight", lambda of, k=k: of.weights[k])
        for i, name in enumerate(names):
            add(k, f"mean of {name}", lambda of, k=k, i=i: of.means[k, i])
        for i, name in enumerate(names):
            for j, other in enumerate(names[: i + 1]):
                label = f"variance of {name}" if i == j else f"covariance of {other} and {name}"
                add(k, label, lambda of, k=k, i=i, j=j: of.covariances[k, i, j])
    return Table(rows, note)
