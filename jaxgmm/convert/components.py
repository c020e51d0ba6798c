"""Functions that every conversion uses: components of a mixture, and the import of a library."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algebra.covariance_factors import triangular_whitening
from ..internal import checks
from ..mixture.mixture import Mixture
from ..numerics.triangular import inverse


class Components(NamedTuple):
    """The components that are present: logits (k,), means (k, d) and Cholesky factors (k, d, d)."""

    logits: jax.Array
    means: jax.Array
    roots: jax.Array

    @property
    def covariances(self) -> np.ndarray:
        """Dense covariances (k, d, d) in float64."""
        roots = np.asarray(self.roots, np.float64)
        return roots @ np.swapaxes(roots, 1, 2)

    @property
    def weights(self) -> np.ndarray:
        """Weights (k,) in float64, which sum to 1."""
        logits = np.asarray(self.logits, np.float64)
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()


def components_of(mixture: Mixture) -> Components:
    """Return the components of a mixture. Absent ones are left out, except under jit and vmap.

    Raises:
      ValueError: if `mixture` is not a single mixture with finite parameters.
    """
    checks.one_mixture(mixture)
    found = Components(mixture.log_weights, mixture.means, _roots(mixture))
    if checks.traced(mixture):
        return found
    present = np.flatnonzero(np.asarray(mixture.present))
    return Components(*(part[present] for part in found))


@jax.jit
def _roots(mixture: Mixture) -> jax.Array:
    k, d = mixture.means.shape
    return jnp.broadcast_to(inverse(triangular_whitening(mixture), often=False), (k, d, d))


def mixture_of(logits: Any, means: Any, covariances: Any, family: str = "full") -> Mixture:
    """Return the mixture with these logits or log-weights (k,), means and dense covariances.

    Raises:
      ValueError: if they are not of a mixture.
    """
    if checks.traced(logits, means, covariances):
        weights = jax.nn.softmax(jnp.asarray(logits))
    else:
        values = np.asarray(logits, np.float64)
        weights = np.exp(values - values.max())
        weights = weights / weights.sum()
    return Mixture.from_parameters(weights, means, covariances, family)


def require(module: str, package: str) -> Any:
    """Return a module of an optional library.

    Raises:
      ImportError: if it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"this conversion needs {package}, and {error.name} is not installed: "
            f"python -m pip install {package}."
        ) from None
