"""`marginal`: the marginal distribution of some of the features."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np

from ..mixture.mixture import Mixture
from .covariance_factors import diagonal_part, is_diagonal, of_whitening, triangular_whitening
from .features import Features, resolve_features


def marginal(
    mixture: Mixture, features: Features, *, names: Sequence[str] | None = None
) -> Mixture:
    """Return the marginal distribution of some of the features.

    If the chosen features come first, the whitening factor of their marginal is the upper left
    block of the lower triangular W. Otherwise one QR factorization of W reorders them. The function
    works under jit, vmap and grad.

    Args:
      mixture: a single mixture with finite parameters.
      features: the numbers of the features, counted from 0, or their names; or a single one.
      names: the names of the mixture's features, if `features` contains names. `load` returns a
        mixture without them.

    Returns:
      The mixture of these features, in the order given and in the mixture's dtype. The components,
      absent ones included, and their weights are the same. Full, tied, diagonal and spherical
      covariances keep their family. Other diagonal families become diagonal, and all others full or
      tied.

    Raises:
      ValueError: if a feature is repeated or unknown, there are none, or `mixture` is not such a
        mixture.

    See Bishop (2006), Pattern Recognition and Machine Learning, eq. 2.98.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.3, 0.7], [[0.0, 5.0], [3.0, 1.0]], [[2.0, 1.0], [1.0, 1.0]], family="tied"
    ... )
    >>> one = jaxgmm.marginal(m, "height", names=["width", "height"])
    >>> one, np.asarray(one.means)[:, 0]
    (Mixture(tied, K = 2, d = 1, float32), array([5., 1.], dtype=float32))
    """
    return marginal_of(mixture, features=resolve_features(mixture, features, names))


@jax.jit(static_argnames="features")
def marginal_of(mixture: Mixture, features: tuple[int, ...]) -> Mixture:
    """Return the marginal over features that are already resolved."""
    if is_diagonal(mixture):
        covariance = diagonal_part(mixture, features)
    else:
        rest = tuple(i for i in range(mixture.n_features) if i not in features)
        factor = triangular_whitening(mixture, features + rest)
        j = len(features)
        covariance = of_whitening(factor[:, :j, :j], mixture.frame.shared)
    return Mixture(mixture.logits, mixture.means[:, np.array(features)], covariance)
