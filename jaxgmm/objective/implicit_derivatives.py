"""A maximum of the objective as a differentiable function of the rows, weights and prior.

At a maximum the gradient g(θ; x, w, prior) is 0. The implicit function theorem gives the derivative
of θ along a change of the data: θ̇ = I⁻¹ ġ, with the observed information I, in relative coordinates
about θ. The rule is a `jax.custom_jvp` that is linear in the change. JAX transposes it for reverse
mode, and nothing is computed where no derivative is taken. Higher derivatives follow, because the
rule differentiates the same function.

At the tolerance at which fits stop by default, derivatives would have relative errors of about
3e-3. The rule therefore takes everything, the value included, one Newton step further. A derivative
of any function of the maximum is then evaluated there, and not at the mixture where the fit
stopped.

Source: Krantz & Parks 2002, The Implicit Function Theorem; Blondel et al. 2022, NeurIPS 35.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ..data.rows import Rows
from ..data.sources import Data
from ..internal.derivatives import refuse_derivatives
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .curvature import slope_of
from .expected_derivatives import offsets_of
from .log_likelihood import Layout, expected, value_of_array
from .newton_system import evaluate_near, newton_system
from .prior import Prior, log_prior
from .statistics import about_mixture, statistics

OF_DATA = (
    "second derivatives through a fit of Shards or a Stream are not available: pass an array (n, "
    "d)."
)


class Solved(NamedTuple):
    """A maximum of the objective, its log-likelihood (), and its objective ()."""

    mixture: Mixture
    log_likelihood: jax.Array
    objective: jax.Array


Arrays = tuple[jax.Array, jax.Array | None, Prior | None]  # x (n, d), row weights (n,), prior


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def attach_derivatives(layout: Layout, solved: Solved, arrays: Arrays) -> Solved:
    """Return `solved`, with its derivatives by the rows, row weights and prior.

    Where a derivative is taken, the value is `solved` one Newton step further. The derivative by
    the argument `solved` itself is 0: another start leads to the same maximum.
    """
    return solved


@functools.partial(attach_derivatives.defjvp, symbolic_zeros=True)
def _(layout, primals, tangents):
    solved, arrays = primals
    moving, changes, rebuild = _moving_leaves(arrays, tangents[1])
    if not moving:  # only the start moves
        found = attach_derivatives(layout, solved, arrays)
        return found, jax.tree.map(jnp.zeros_like, found)
    point = _maximum(layout, _polish(layout, solved.mixture, arrays), arrays)
    along = _along(layout, point, arrays, tangents[1])

    def values(moving: list[jax.Array]) -> tuple[jax.Array, jax.Array]:
        x, weight, prior = rebuild(moving)
        return value_of_array(layout, point, x, weight), log_prior(point, prior)

    # The objective has no derivative by the mixture (the envelope theorem).
    (likelihood, prior_value), (by_rows, by_prior) = jax.jvp(values, (moving,), (changes,))
    x, weight, _ = arrays
    value_at = lambda mixture: value_of_array(layout, mixture, x, weight)
    by_mixture = jax.jvp(value_at, (point,), (along,))[1]
    value = Solved(point, likelihood, likelihood + prior_value)
    return value, Solved(along, by_rows + by_mixture, by_rows + by_prior)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _maximum(layout: Layout, mixture: Mixture, arrays: Arrays) -> Mixture:
    """Return a mixture with its derivatives as a maximum, evaluated at the mixture itself."""
    return mixture


@functools.partial(_maximum.defjvp, symbolic_zeros=True)
def _(layout, primals, tangents):
    mixture, arrays = primals
    point = _maximum(layout, mixture, arrays)
    return point, _along(layout, point, arrays, tangents[1])


def _polish(layout: Layout, mixture: Mixture, arrays: Arrays) -> Mixture:
    """Return the mixture one Newton step further, as a constant."""
    mixture, (x, weight, prior) = jax.lax.stop_gradient((mixture, arrays))
    step = newton_system(Rows.of(x, weight, *layout), mixture, prior).step()
    return jax.lax.stop_gradient(offsets_of(mixture)[1](step))


def _along(layout: Layout, point: Mixture, arrays: Arrays, changes: Any) -> Mixture:
    """Return the derivative of the maximum along changes of the arrays."""
    x, weight, prior = arrays
    moving, changes, rebuild = _moving_leaves(arrays, changes)
    if not moving:
        return jax.tree.map(jnp.zeros_like, point)
    system = newton_system(Rows.of(x, weight, *layout), point, prior)
    zero, mixture_at = offsets_of(point)

    def slope(moving: list[jax.Array]) -> jax.Array:
        x, weight, prior = rebuild(moving)
        centered, rows = about_mixture(point, Rows.of(x, weight, *layout))
        return slope_of(mixture_at, zero, statistics(centered, rows, "whitened"), prior)

    change = jax.jvp(slope, (moving,), (changes,))[1]
    return jax.jvp(mixture_at, (zero,), (system.solve(change),))[1]


def _moving_leaves(
    arrays: Any, changes: Any
) -> tuple[list[jax.Array], list[jax.Array], Callable[[list[jax.Array]], Any]]:
    """Return the leaves that change, their changes, and the map from such leaves to all arrays."""
    is_zero = lambda leaf: isinstance(leaf, SymbolicZero)
    leaves, structure = jax.tree.flatten(arrays)
    slopes = jax.tree.leaves(changes, is_leaf=is_zero)
    places = [i for i, slope in enumerate(slopes) if not is_zero(slope)]

    def rebuild(moving: list[jax.Array]) -> Any:
        replaced = dict(zip(places, moving, strict=True))
        return jax.tree.unflatten(structure, [replaced.get(i, old) for i, old in enumerate(leaves)])

    return [leaves[i] for i in places], [slopes[i] for i in places], rebuild


# ---- rows that are not in one array ------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def attach_derivatives_of_data(data: Data, solved: Solved, prior: Prior | None) -> Solved:
    """Return `solved`, with its derivatives by the prior; the rows are never traced.

    The value is `solved` one Newton step further where a derivative is taken.
    """
    return solved


@functools.partial(attach_derivatives_of_data.defjvp, symbolic_zeros=True)
def _(data, primals, tangents):
    solved, prior = primals
    moving, changes, rebuild = _moving_leaves(prior, tangents[1])
    if not moving:
        return solved, jax.tree.map(jnp.zeros_like, solved)
    fixed = refuse_derivatives((solved.mixture, prior), OF_DATA)
    near = data.compute(evaluate_near, *fixed)
    point = near.point
    zero, mixture_at = offsets_of(point)
    slope = lambda moving: jax.grad(lambda o: log_prior(mixture_at(o), rebuild(moving)))(zero)
    change = jax.jvp(slope, (moving,), (changes,))[1]
    along = jax.jvp(mixture_at, (zero,), (matmul(near.inverse, change),))[1]
    prior_at = lambda moving: log_prior(point, rebuild(moving))
    prior_value, by_prior = jax.jvp(prior_at, (moving,), (changes,))
    likelihood = lambda mixture: expected(mixture, point, near.found.sums)
    by_mixture = jax.jvp(likelihood, (point,), (along,))[1]
    value = near.found.sums.log_likelihood
    return Solved(point, value, value + prior_value), Solved(along, by_mixture, by_prior)
