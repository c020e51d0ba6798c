"""The inverse information on the free directions of a mixture, and Newton's step.

Some directions of the relative coordinates do not change the mixture's density: the common shift of
all logits, the parameters of absent components, and whatever a family's own coordinates describe
twice. They are *held*.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..data.summable_rows import SummableRows
from ..internal.trees import where
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.products import matmul
from .curvature import free_directions
from .information import Information, information, offsets_of
from .prior import Prior

# A Newton step is made only if it is shorter than this, in relative coordinates.
LONGEST_STEP = 0.5


def held_directions(mixture: Mixture, slopes: jax.Array) -> jax.Array:
    """Return the projector (p, p) onto the directions that do not change the density.

    `slopes` (p, s) is the matrix G of `Information`, whose rows are dependent where a family's
    coordinates describe the same covariances more than once.
    """
    free, shift = free_directions(mixture)
    held = jnp.diag(1 - free) + matmul(shift.T, shift)
    k, d = mixture.n_components, mixture.n_features
    logits_and_means = k + k * d
    redundant = len(free) - logits_and_means - mixture.covariance.n_parameters(k, d)
    if redundant > 0:
        own = slopes[logits_and_means:]
        size = jnp.sqrt(jnp.sum(own**2, axis=1, keepdims=True))
        vectors = lapack.eigh(matmul(own, own.T)[None] / jnp.max(size) ** 2)[1][0][:, :redundant]
        inside = matmul(vectors, vectors.T)
        held = held.at[logits_and_means:, logits_and_means:].add(inside)
        values, vectors = (part[0] for part in lapack.eigh(held[None]))
        kept = vectors * (values > 0.5)[None]  # absent components may be held twice
        held = matmul(kept, kept.T)
    return held


def restrict(matrix: jax.Array, held: jax.Array) -> jax.Array:
    """Return P A P (p, p), where P projects onto the directions that are not held."""
    inside = matrix - matmul(held, matrix)
    return inside - matmul(inside, held)


def smallest_eigenvalue(matrix: jax.Array, held: jax.Array) -> jax.Array:
    """Return the smallest eigenvalue () of a symmetric matrix (p, p) in the other directions."""
    inside = restrict(matrix, held)
    above = 2 * jnp.linalg.norm(inside) + 1
    return lapack.eigvalsh((inside + above * held)[None])[0, 0]


def inverse_on_free(matrix: jax.Array, held: jax.Array) -> jax.Array:
    """Return the inverse (p, p) on the directions that are not held, and 0 on those that are.

    It is NaN if the matrix is not positive definite there.
    """
    inside = restrict(matrix, held)
    size = jax.lax.stop_gradient(jnp.trace(inside) / len(inside))
    root = lapack.cholesky((inside + size * held)[None])
    inverse = lapack.inverse(root)[0]
    return restrict(matmul(inverse.T, inverse), held)


class Evaluation(NamedTuple):
    """The information near a mixture, one Newton step towards the maximum.

    Attributes:
      point: the mixture at which the information was computed.
      found: the information there.
      first: the gradient and the statistics at the given mixture.
    """

    point: Mixture
    found: Information
    first: Any


def newton_step(found: Information, mixture: Mixture) -> tuple[jax.Array, jax.Array]:
    """Return Newton's step (p,), 0 where it is not to be made, and its length ()."""
    held = held_directions(mixture, found.slopes)
    step = matmul(inverse_on_free(found.observed, held), found.gradient)
    length = jnp.linalg.norm(step)
    good = length < LONGEST_STEP  # false for NaN
    return jnp.where(good, step, 0), jnp.where(good, length, 0)


def evaluate_near(
    rows: Rows | SummableRows, mixture: Mixture, prior: Prior | None, *clusters: Any
) -> Evaluation:
    """Compute the information one Newton step further, which takes two passes.

    At the default tolerance of a fit, standard errors at the given mixture are wrong by about
    2e-3 of their value, and one Newton step further by 3e-6. Where the step is too short to
    matter, the second pass is left out.
    """
    one_pass = lambda at: information(rows, at, prior, *clusters)
    shortest = jnp.finfo(mixture.dtype).eps ** 0.5

    def unfinished(state: tuple[Any, ...]) -> jax.Array:
        return state[0] < 2

    def evaluate(state: tuple[Any, ...]) -> tuple[Any, ...]:
        number, point, _, first = state
        found = one_pass(point)
        first = where(number == 0, (found.gradient, found.sums), first)
        step, length = newton_step(found, point)
        again = (number == 0) & (length > shortest)
        moved = where(again, offsets_of(point)[1](step), point)
        return jnp.where(again, jnp.int32(1), jnp.int32(2)), moved, found, first

    shapes = jax.eval_shape(one_pass, mixture)
    found = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    begin = (jnp.int32(0), mixture, found, (found.gradient, found.sums))
    _, point, found, first = jax.lax.while_loop(unfinished, evaluate, begin)
    return Evaluation(point, found, first)
