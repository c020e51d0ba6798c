"""`bures`, `mw2` and `mw2_plan`: optimal transport between mixtures."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy.typing as npt

from ..algebra.covariance_factors import covariance_roots, of_whitening, whitening_of_root
from ..algebra.pairs import check_pair, matmul_pairs, squared_bures
from ..internal import checks
from ..internal.pytrees import pytree
from ..mixture.inputs import check_mixture_and_array, over_rows, row_log_joint
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from ..numerics.transport import transport


def bures(a: Mixture, b: Mixture) -> jax.Array:
    """Return squared Wasserstein distances between the components of two mixtures.

    For Gaussians the squared distance is |μ − μ'|² + tr Σ + tr Σ' − 2 tr (Σ^½ Σ' Σ^½)^½. With
    Σ = L Lᵀ it is |μ − μ'|² + ‖L − L'U‖², where U is the orthogonal factor of L'ᵀL: a sum of
    squares without matrix square roots of products. Its derivatives are finite for equal
    components too. The function works under jit, vmap and grad.

    Args:
      a: a mixture of k components.
      b: a mixture of l components in the same features.

    Returns:
      The squared distances (k, l), in squared units of the data and in the wider dtype.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features.

    See Bhatia, Jain & Lim (2019), Expositiones Mathematicae 37, eqs. 1 and 3.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[9.0]]])
    >>> np.asarray(jaxgmm.bures(m, m)).round(3)
    array([[ 0., 20.],
           [20.,  0.]], dtype=float32)
    """
    return _bures(*check_pair(a, b))


@jax.jit
def _bures(a: Mixture, b: Mixture) -> jax.Array:
    return squared_bures(a, b)[0]


def mw2(a: Mixture, b: Mixture) -> jax.Array:
    """Return the mixture-Wasserstein distance MW₂ of two mixtures.

    MW₂² is the least mean squared distance of transport plans that are Gaussian mixtures
    themselves: the discrete optimal transport between the components with the costs `bures`. It is
    a metric, and at least the Wasserstein distance W₂. The transport problem is solved exactly on
    the host, by POT where it is installed and by SciPy's linear programming elsewhere. The function
    works under jit, vmap and grad. At distance 0, where it has a kink, its derivatives are 0, as
    are those of its square.

    Args:
      a: a mixture of k components.
      b: a mixture of l components in the same features.

    Returns:
      The distance (), in units of the data and in the wider dtype.

    Raises:
      ValueError: if one of them is not a single mixture with finite parameters, or they have
        different numbers of features; or for a second derivative.

    See Delon & Desolneux (2020), SIAM J. Imaging Sciences 13, prop. 4.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[9.0]]])
    >>> moved = m.translate(jnp.array([3.0]))
    >>> print(f"{jaxgmm.mw2(m, moved):.3f}")
    3.000
    """
    return _mw2(*check_pair(a, b))


@jax.jit
def _mw2(a: Mixture, b: Mixture) -> jax.Array:
    return _root(transport(squared_bures(a, b)[0], a.weights, b.weights)[0])


def _root(square: jax.Array) -> jax.Array:
    """Return the square root, whose derivative at 0 is 0 instead of infinity."""
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0 * square)


@pytree
@dataclasses.dataclass(frozen=True, repr=False)
class Plan:
    """An optimal transport between two mixtures; the result of `mw2_plan`.

    Attributes:
      value: () the distance MW₂.
      plan: (k, l) the probability that moves from each component of a to each of b. At most
        k + l − 1 entries are not 0.
      a: the first mixture.
      b: the second mixture.
    """

    value: jax.Array
    plan: jax.Array
    a: Mixture
    b: Mixture

    def __repr__(self) -> str:
        """Return a one-line summary."""
        k, l = self.plan.shape[-2:]
        if self.value.shape or isinstance(self.value, jax.core.Tracer):
            return f"Plan({k} × {l} components)"
        return f"Plan({k} × {l} components, MW2 = {float(self.value):.6g})"

    def map(self, x: npt.ArrayLike) -> jax.Array:
        """Return where the plan moves rows of a, on average.

        A row belongs to component i with probability r_i(x). The component's mass goes to each j in
        the plan's proportion, by the optimal map between the two Gaussians. The result is the mean
        of these images (the barycentric projection; Delon & Desolneux 2020, eq. 6.3).

        Args:
          x: (n, d) finite rows, in the units of the mixtures.

        Returns:
          The images (n, d).

        Raises:
          ValueError: if x is not such rows.
        """
        a, x, _ = check_mixture_and_array(self.a, x)
        return _map(self, a, x)

    def mixture(self, t: npt.ArrayLike) -> Mixture:
        """Return the mixture a fraction t of the way from a to b.

        It has a component for each entry of the plan: the interpolation (1 − t) x + t T(x) of the
        Gaussian i, with T its optimal map to j. These mixtures form a geodesic: MW₂ from a to the
        mixture at t is t times MW₂ from a to b.

        Args:
          t: a number from 0 to 1.

        Returns:
          The mixture of k·l components, those of a's first component first. Components without mass
          in the plan are absent.

        Raises:
          ValueError: if t is not such a number.
        """
        if not checks.traced(t):
            checks.between(t, "t", 0, 1)
        return _between(self, jnp.asarray(t, self.plan.dtype))


def mw2_plan(a: Mixture, b: Mixture) -> Plan:
    """Return the optimal transport between the components of two mixtures, see `mw2`.

    Args:
      a: a mixture of k components.
      b: a mixture of l components in the same features.

    Returns:
      A `Plan` with the distance `value`, the `plan` (k, l), the method `map`, which moves rows, and
      the method `mixture`, which moves the whole mixture. The plan is a constant under
      differentiation, and `value` has the derivatives of `mw2`.

    Raises:
      ValueError: as `mw2` does.

    >>> m = jaxgmm.Mixture.from_parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[9.0]]])
    >>> found = jaxgmm.mw2_plan(m, m.translate(jnp.array([3.0])))
    >>> found
    Plan(2 × 2 components, MW2 = 3)
    >>> np.asarray(found.map([[0.0], [5.0]])).round(3)
    array([[3.],
           [8.]], dtype=float32)
    >>> np.asarray(jaxgmm.moments(found.mixture(0.5))[0]).round(3)
    array([3.5], dtype=float32)
    """
    return _mw2_plan(*check_pair(a, b))


@jax.jit
def _mw2_plan(a: Mixture, b: Mixture) -> Plan:
    square, plan = transport(squared_bures(a, b)[0], a.weights, b.weights)
    return Plan(_root(square), plan, a, b)


def _moved_roots(plan: Plan) -> tuple[jax.Array, jax.Array]:
    """Return the roots L (k, 1, d, d) of a's covariances and their images L'U (k, l, d, d)."""
    k, l, d = len(plan.a.means), len(plan.b.means), plan.a.n_features
    one, other = (
        jnp.broadcast_to(covariance_roots(m), (len(m.means), d, d)) for m in (plan.a, plan.b)
    )
    rotation = squared_bures(plan.a, plan.b)[1]
    images = jnp.broadcast_to(other[None], (k, l, d, d))
    return one[:, None], images if rotation is None else matmul_pairs(images, rotation)


@jax.jit
def _map(plan: Plan, a: Mixture, x: jax.Array) -> jax.Array:
    images = _moved_roots(plan)[1]
    weights = jnp.where(a.present, a.weights, 1)
    shares = plan.plan / weights[:, None]  # of a component's mass, to each component of b
    roots = jnp.sum(shares[:, :, None, None] * images, axis=1)  # (k, d, d)
    means = matmul(shares, plan.b.means)

    def move(a: Mixture, row: jax.Array) -> jax.Array:
        r = jax.nn.softmax(row_log_joint(a, row))
        y = a.frame.whiten(row[None] - a.means)
        return jnp.sum(r[:, None] * (means + matmul(roots, y[..., None])[..., 0]), axis=0)

    return over_rows(move, a, x)


@jax.jit
def _between(plan: Plan, t: jax.Array) -> Mixture:
    k, l, d = len(plan.a.means), len(plan.b.means), plan.a.n_features
    start, end = _moved_roots(plan)
    root = ((1 - t) * start + t * end).reshape(k * l, d, d)
    means = (1 - t) * plan.a.means[:, None] + t * plan.b.means[None]
    mass = plan.plan.reshape(-1)
    logits = jnp.where(mass > 0, jnp.log(jnp.where(mass > 0, mass, 1)), -jnp.inf)
    covariance = of_whitening(whitening_of_root(root), shared=False)
    return Mixture(logits, means.reshape(k * l, d), covariance)
