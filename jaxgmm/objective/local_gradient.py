"""The gradient of the objective at a mixture, in units of its own components."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..internal.trees import where_each
from ..mixture.mixture import Mixture
from .prior import Prior
from .pseudo_rows import add_pseudo_rows
from .statistics import Statistics


def local_gradient(mixture: Mixture, sums: Statistics, prior: Prior | None) -> Mixture:
    """Return the objective's gradient at `mixture`, from the statistics there, without a pass.

    It is with respect to the logits, the means in standard deviations, and the coordinates of
    locals (see `Family.coordinates`). By Fisher's identity it is that of the expected complete-data
    objective. Absent components have gradient 0.

    Source: Salakhutdinov, Roweis & Ghahramani 2003, ICML, sec. 2 (Fisher's identity).
    """
    totals = add_pseudo_rows(mixture, sums, prior)
    logits = totals.counts - jnp.sum(totals.counts) * mixture.weights
    covariance = mixture.covariance.gradient(
        totals.spread, totals.covariance_mass, mixture.n_features
    )
    used = mixture.frame.pool(mixture.present) > 0
    covariance = where_each(used, covariance, jax.tree.map(jnp.zeros_like, covariance))
    return Mixture(logits, totals.shift, covariance)
