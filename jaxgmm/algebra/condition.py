"""`condition`: the conditional distribution of some features, given the values of the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from ..families.family import Family
from ..internal.pytrees import pytree
from ..mixture.inputs import row_log_joint
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..numerics.triangular import inverse
from .covariance_factors import diagonal_part, is_diagonal, of_whitening, triangular_whitening
from .features import Features, given_values, other_features, resolve_features


@pytree
@dataclasses.dataclass(frozen=True)
class Split:
    """A mixture as the marginal of the given features and the conditionals of the others.

    Each component's conditional has a mean that is linear in the given values, and a covariance
    that does not depend on them.

    Attributes:
      given: the marginal of the j given features.
      center: (e,) the mean of the other features.
      means: (k, e) their means in each component, relative to the center.
      slopes: (c, e, j) how the conditional means move with the given values.
      covariance: the conditional covariances, as a member of a family.
    """

    given: Mixture
    center: jax.Array
    means: jax.Array
    slopes: jax.Array
    covariance: Family

    def log_weights(self, values: jax.Array) -> jax.Array:
        """Return the logarithms (k,) of the weights given values (j,)."""
        return jax.nn.log_softmax(row_log_joint(self.given, values))

    def moved(self, values: jax.Array) -> jax.Array:
        """Return the conditional means (k, e) given values (j,), relative to the center."""
        distance = (values[None] - self.given.means)[..., None]
        return self.means + matmul(self.slopes, distance)[..., 0]

    def at(self, values: jax.Array) -> Mixture:
        """Return the mixture of the other features given values (j,)."""
        means = self.center[None] + self.moved(values)
        return Mixture(self.log_weights(values), means, self.covariance)


def split(mixture: Mixture, given: tuple[int, ...], rest: tuple[int, ...]) -> Split:
    """Split a mixture into the marginal of the given features and the conditionals of the rest.

    With the given features first, W = [A 0; B C]. The conditional whitening factor is C, and the
    conditional mean moves by −C⁻¹B.
    """
    j, e = len(given), len(rest)
    means = mixture.means[:, np.array(rest)]
    weights = jnp.where(mixture.present, mixture.weights, 0)
    center = jax.lax.stop_gradient(jnp.sum(weights[:, None] * means, axis=0))
    if is_diagonal(mixture):
        slopes = jnp.zeros((1, e, j), mixture.dtype)
        before, after = diagonal_part(mixture, given), diagonal_part(mixture, rest)
    else:
        factor, shared = triangular_whitening(mixture, given + rest), mixture.frame.shared
        slopes = -matmul(inverse(factor[:, j:, j:], often=False), factor[:, j:, :j])
        before = of_whitening(factor[:, :j, :j], shared)
        after = of_whitening(factor[:, j:, j:], shared)
    marginal = Mixture(mixture.logits, mixture.means[:, np.array(given)], before)
    return Split(marginal, center, means - center[None], slopes, after)


def condition(
    mixture: Mixture,
    features: Features,
    values: npt.ArrayLike,
    *,
    names: Sequence[str] | None = None,
) -> Mixture:
    """Return the conditional distribution of the other features, given the values of some.

    The covariance of each component's conditional follows from the whitening factor alone: no block
    of a covariance is inverted. The function works under jit, vmap and grad. For many rows use
    `jax.vmap(lambda row: condition(mixture, features, row))(rows)`, or `regress`, which stores no
    mixture for each row.

    Args:
      mixture: a single mixture with finite parameters.
      features: the numbers of the given features, counted from 0, or their names; or a single one.
      values: (j,) the value of each given feature, in the order of `features`; or a number for one.
      names: the names of the mixture's features, if `features` contains names.

    Returns:
      The mixture of the other features, in their original order and in the mixture's dtype. Its
      weights are the responsibilities of the components for the values. Absent components stay
      absent. Families change as in `marginal`.

    Raises:
      ValueError: if a feature is repeated or unknown; if none or all are given; if the values have
        another shape or are not finite; or if `mixture` is not such a mixture.

    See Bishop (2006), Pattern Recognition and Machine Learning, eqs. 2.81–2.82.

    >>> m = jaxgmm.Mixture.from_parameters(
    ...     [0.5, 0.5], [[0.0, 0.0], [4.0, 1.0]], [[1.0, 0.5], [0.5, 1.0]], family="tied"
    ... )
    >>> given = jaxgmm.condition(m, 0, [4.0])
    >>> given
    Mixture(tied, K = 2, d = 1, float32)
    >>> np.asarray(given.weights).round(3), np.asarray(given.means)[:, 0].round(3)
    (array([0., 1.], dtype=float32), array([2., 1.], dtype=float32))
    """
    given = resolve_features(mixture, features, names)
    rest = other_features(mixture, given)
    return _condition(mixture, given_values(values, given, 1, mixture), given=given, rest=rest)


@jax.jit(static_argnames=("given", "rest"))
def _condition(
    mixture: Mixture, values: jax.Array, given: tuple[int, ...], rest: tuple[int, ...]
) -> Mixture:
    return split(mixture, given, rest).at(values)
