"""The objective of every algorithm, and its rounding error."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..mixture.mixture import Mixture
from .prior import Prior, log_prior
from .statistics import Statistics


def objective_value(mixture: Mixture, statistics: Statistics, prior: Prior | None) -> jax.Array:
    """Return the log-likelihood + log prior at a mixture, from its statistics."""
    return statistics.log_likelihood + log_prior(mixture, prior)


def rounding_error(objective: Any, dtype: Any) -> Any:
    """Return how far two values of one objective, computed in `dtype`, may differ by rounding."""
    return 8 * np.finfo(dtype).eps * abs(objective)
