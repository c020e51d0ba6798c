"""The inverse information on the free directions of a mixture, and Newton's step.

Some directions of the relative coordinates do not change the mixture's density: the common shift of
all logits, the parameters of absent components, and whatever a family's own coordinates describe
twice. They are *held*.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..data.summable_rows import SummableRows
from ..internal.trees import where
from ..kernels.pair_moments import error_of_products
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.cholesky import cholesky_and_inverse
from ..numerics.conjugate_gradients import conjugate_gradients
from ..numerics.eigenvalues import Held, project, restrict
from ..numerics.products import matmul
from .curvature import free_directions, slope_of
from .expected_derivatives import offsets_of
from .information import Information, gradient_along, information
from .prior import Prior
from .statistics import Statistics, about_mixture, statistics

# With more parameters than this, equations are solved without a matrix. For p = 400 that already
# takes half of the time, but only a matrix tells every saddle from a maximum.
MOST_PARAMETERS = 1000
# Where components overlap, a step of this length in relative coordinates changes standard errors by
# a thousandth of their value.
SHORTEST_STEP = 5e-5
# An information with errors up to this size, per unit of weight, may determine steps.
ROUGH_ERROR = 1e-3
# A Newton step is made only if it is shorter than this, in relative coordinates.
LONGEST_STEP = 0.5


def held_directions(mixture: Mixture, slopes: jax.Array) -> Held:
    """Return the directions that do not change the density.

    `slopes` (p, s) is the matrix G of `Information`, whose rows are dependent where a family's
    coordinates describe the same covariances more than once.
    """
    held = Held(*free_directions(mixture))
    k, d = mixture.n_components, mixture.n_features
    logits_and_means = k + k * d
    redundant = len(held.free) - logits_and_means - mixture.covariance.n_parameters(k, d)
    if redundant > 0:
        own = slopes[logits_and_means:]
        size = jnp.sqrt(jnp.sum(own**2, axis=1, keepdims=True))
        vectors = lapack.eigh(matmul(own, own.T)[None] / jnp.max(size) ** 2)[1][0][:, :redundant]
        inside = matmul(vectors, vectors.T)
        projector = held.projector.at[logits_and_means:, logits_and_means:].add(inside)
        values, vectors = (part[0] for part in lapack.eigh(projector[None]))
        kept = vectors * (values > 0.5)[None]  # absent components may be held twice
        held = Held(jnp.ones_like(held.free), kept.T)
    return held


def inverse_on_free(matrix: jax.Array, held: Held) -> jax.Array:
    """Return the inverse (p, p) on the directions that are not held, and 0 on those that are.

    It is NaN if the matrix is not positive definite there.
    """
    return _inverse_of_root(_root_on_free(matrix, held), held)


def _root_on_free(matrix: jax.Array, held: Held) -> jax.Array:
    """Return L⁻ᵀ (p, p) for the matrix L Lᵀ that is the given one on the free directions."""
    inside = restrict(matrix, held)
    size = jax.lax.stop_gradient(jnp.trace(inside) / len(inside))
    return cholesky_and_inverse((inside + size * held.projector)[None], often=False)[1][0].T


def _inverse_of_root(root: jax.Array, held: Held) -> jax.Array:
    return restrict(matmul(root, root.T), held)


def _solve(root: jax.Array, held: Held, vector: jax.Array) -> jax.Array:
    """Return the product of the inverse information, by its root, with a vector (p,)."""
    return project(matmul(root, matmul(root.T, project(vector, *held))), *held)


class NewtonSystem(NamedTuple):
    """The gradient (p,) of the objective, and the product of the inverse information with a vector.

    The product is NaN if the information is not positive definite on the free directions.
    """

    gradient: jax.Array
    solve: Callable[[jax.Array], jax.Array]

    def step(self) -> jax.Array:
        """Return Newton's step (p,), 0 where it is not to be made."""
        return short_step(self.solve(self.gradient))[0]


def newton_system(rows: Rows | SummableRows, mixture: Mixture, prior: Prior | None) -> NewtonSystem:
    """Return what Newton's step is computed from, with derivatives by the rows and the prior.

    Up to 1000 parameters the information is a matrix, from one pass. Beyond them, equations are
    solved by conjugate gradients with products of three passes. In relative coordinates, the
    complete-data information is near the identity, so the condition number is about 1 / (1 − ρ)
    with EM's rate ρ, and no further preconditioning is needed.
    """
    zero = offsets_of(mixture)[0]
    if len(zero) <= MOST_PARAMETERS:
        found = information(rows, mixture, prior, scores=False)
        held = jax.lax.stop_gradient(held_directions(mixture, found.slopes))
        inverse = inverse_on_free(found.observed, held)
        return NewtonSystem(found.gradient, lambda vector: matmul(inverse, vector))
    free, shift = jax.lax.stop_gradient(free_directions(mixture))
    inside = lambda vector: project(vector, free, shift)

    def product(vector: jax.Array) -> jax.Array:
        along = inside(vector)
        return vector - along - inside(gradient_along(rows, mixture, prior, along)[1])

    gradient = gradient_along(rows, mixture, prior, zero)[0]
    return NewtonSystem(gradient, lambda vector: conjugate_gradients(product, inside(vector)))


class Evaluation(NamedTuple):
    """The information near a mixture, one Newton step towards the maximum.

    Attributes:
      point: the mixture at which the information was computed.
      found: the information there.
      held: its held directions.
      inverse: the inverse information on the others; NaN where it is not positive definite.
      first: the statistics at the given mixture.
    """

    point: Mixture
    found: Information
    held: Held
    inverse: jax.Array
    first: Statistics


def short_step(step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return Newton's step (p,) and its length (), both 0 where the step is not to be made."""
    length = jnp.linalg.norm(step)
    good = length < LONGEST_STEP  # false for NaN
    return jnp.where(good, step, 0), jnp.where(good, length, 0)


def chord_steps(
    rows: Rows | SummableRows, mixture: Mixture, prior: Prior | None, shortest: float
) -> tuple[Mixture, Statistics]:
    """Make steps with one approximate information and exact gradients.

    It returns the mixture after them, and the statistics at the given one. The information is
    computed in float32, from fourth moments, which takes half of the time of float64. A step that
    is shorter than the one before by a factor leaves an error that is smaller than itself by about
    this factor. Steps end where this is less than `shortest`, or where one is not half as long as
    the one before.

    Source: Kelley 1995, Iterative Methods for Linear and Nonlinear Equations, sec. 5.4.1.
    """
    # The natural kernel in float64 is accurate where moments in float64 are.
    natural = mixture.dtype == jnp.float64 and rows.columns is None
    kernel = "natural" if natural else "whitened"

    @jax.jit  # so that it is traced once
    def gradient_at(point: Mixture) -> tuple[jax.Array, Statistics]:
        zero, mixture_at = offsets_of(point)
        sums = statistics(*about_mixture(point, rows), kernel)  # type: ignore[arg-type]
        return slope_of(mixture_at, zero, sums, prior), sums

    def move(point: Mixture, gradient: jax.Array) -> Mixture:
        rounded = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (point, prior))
        found = information(rows, *rounded, scores=False, moments="float32")
        held = held_directions(rounded[0], found.slopes)
        root = _root_on_free(found.observed, held)

        def step_from(point: Mixture, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
            size = jnp.linalg.norm(gradient)
            unit = (gradient / size).astype(root.dtype)
            return short_step(size * _solve(root, held, unit).astype(gradient.dtype))

        def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
            point, before, _ = state
            step, length = step_from(point, gradient_at(point)[0])
            smaller = length < before / 2
            moved = where(smaller, offsets_of(point)[1](step), point)
            return moved, length, smaller & (length**2 > shortest * before)

        step, length = step_from(point, gradient)
        state = offsets_of(point)[1](step), length, length > shortest
        return jax.lax.while_loop(lambda state: state[-1], advance, state)[0]

    # The complete-data information is near the identity per unit of weight, and the observed one is
    # smaller. So a step is at least about as long as the gradient.
    gradient, sums = gradient_at(mixture)
    matters = jnp.linalg.norm(gradient) > shortest * jnp.sum(sums.mass)
    matters &= error_of_products(mixture, "float32") <= ROUGH_ERROR
    return jax.lax.cond(matters, move, lambda point, _: point, mixture, gradient), sums


def evaluate_near(
    rows: Rows | SummableRows,
    mixture: Mixture,
    prior: Prior | None,
    *clusters: Any,
    scores: bool = True,
    moments: str | None = None,
) -> Evaluation:
    """Compute the information one Newton step further, which takes two passes.

    At the default tolerance of a fit, standard errors at the given mixture are wrong by about
    2e-3 of their value, and one Newton step further by 3e-6. Where the step is too short to
    matter, the second pass is left out. With moments in float64 the first pass is a faster one in
    float32 (see `chord_steps`), and errors are then wrong by about 1e-7. The arguments are those of
    `information`.
    """
    shortest = min(float(jnp.finfo(mixture.dtype).eps) ** 0.5, SHORTEST_STEP)

    @jax.jit  # so that it is traced once, here for its shapes and in the loop
    def one_pass(point: Mixture) -> Evaluation:
        """Return the evaluation with the root of the inverse in place of the inverse itself."""
        found = information(rows, point, prior, *clusters, scores=scores, moments=moments)
        held = held_directions(point, found.slopes)
        return Evaluation(point, found, held, _root_on_free(found.observed, held), found.sums)

    def unfinished(state: tuple[jax.Array, Mixture, Evaluation]) -> jax.Array:
        return state[0] < 2

    def evaluate(state: tuple[jax.Array, Mixture, Evaluation]) -> tuple[Any, ...]:
        number, point, before = state
        here = one_pass(point)
        first = where(number == 0, here.first, before.first)
        step, length = short_step(_solve(here.inverse, here.held, here.found.gradient))
        again = (number == 0) & (length > shortest)
        moved = where(again, offsets_of(point)[1](step), point)
        number = jnp.where(again, jnp.int32(1), jnp.int32(2))
        return number, moved, here._replace(first=first)

    start, first = mixture, None
    if moments == "float64":
        start, first = chord_steps(rows, mixture, prior, shortest)
    shapes = jax.eval_shape(one_pass, mixture)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    last = jax.lax.while_loop(unfinished, evaluate, (jnp.int32(0), start, nothing))[2]
    first = last.first if first is None else first
    return last._replace(inverse=_inverse_of_root(last.inverse, last.held), first=first)
