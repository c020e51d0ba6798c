"""The M-step of `Universal`: scales and plane rotations for all lanes together.

In this file, arrays have the axes (d, d, k, lanes) or (1|d, 1|k, lanes), and the numbers of a
`Code` are (1, 1, lanes). With the lanes last, a CPU computes with long vectors instead of many
small matrices. That takes a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.extend
import jax.numpy as jnp
from jax.interpreters import batching, mlir

from ..internal.one_cpu_function import as_one_cpu_function
from ..numerics.logarithms import exponential_excess, logarithm_and_excess
from ..numerics.rotations import rounds
from ..numerics.short_axis_sums import fold
from .universal_rotations import (
    Code,
    diagonal,
    largest_of,
    move_axes,
    product,
    sweep,
    total,
    unit,
)

# Repeats of the volumes and the common shape, which determine each other, in one fit of scales.
REPEATS_OF_SHAPE = 3
# Repeats of scales and rotations in an M-step, and in that of a start. Components' own axes
# converge quadratically near the end of a fit, common ones by about a digit a repeat.
REPEATS, REPEATS_OF_STARTS = 2, 30


class Climbed(NamedTuple):
    """The result of an M-step, relative to the present member.

    Attributes:
      log_volume, log_shape: (k,) and (k, d) the logarithms of the relative variances.
      move: (k, d, d) what is added to the axes D: D V − D for a rotation V, without the rounding
        errors of D V.
      gain: (k,) the increase of the likelihood, see `Family.maximize`.
    """

    log_volume: jax.Array
    log_shape: jax.Array
    move: jax.Array
    gain: jax.Array


def climb(
    moments: jax.Array, mass: jax.Array, scale: jax.Array, axes: jax.Array, code: jax.Array
) -> Climbed:
    """Make the M-step, which improves scales and axes in turn.

    Under vmap, all lanes repeat this as often as the one that needs it most.

    Args:
      moments: (k, d, d) second moments in residual units.
      mass: (k,) masses; components of mass 0 do not count.
      scale: (k, d) the present scales w.
      axes: (k, d, d) the present axes, as columns.
      code: (6,) the numbers of a `Code`.
    """
    return Climbed(*_climb.bind(moments, mass, scale, axes, code))


# A primitive, since `jax.custom_batching` would also trace the computation for a single lane.
_climb = jax.extend.core.Primitive("climb")
_climb.multiple_results = True


@_climb.def_abstract_eval
def _(moments: Any, mass: Any, scale: Any, axes: Any, code: Any) -> Climbed:
    return Climbed(log_volume=mass, log_shape=scale, move=axes, gain=mass)


def _climb_lanes(arguments: Sequence[jax.Array], dimensions: Sequence[int | None]) -> Any:
    """Compute a batch, with the axes of lanes at `dimensions`, or None for what all lanes share."""
    sizes = (a.shape[i] for a, i in zip(arguments, dimensions, strict=True) if i is not None)
    lanes = next(sizes)
    first = [
        jnp.broadcast_to(argument[None], (lanes, *argument.shape))
        if dimension is None
        else jnp.moveaxis(argument, dimension, 0)
        for argument, dimension in zip(arguments, dimensions, strict=True)
    ]
    results = _climb_batch(*first)
    return results, [0] * len(results)


def _climb_one(*arguments: jax.Array) -> list[jax.Array]:
    """Compute a single lane."""
    return [result[0] for result in _climb_batch(*(argument[None] for argument in arguments))]


batching.primitive_batchers[_climb] = _climb_lanes
mlir.register_lowering(_climb, mlir.lower_fun(_climb_one, multiple_results=True))
_climb.def_impl(jax.jit(_climb_one))


class _Given(NamedTuple):
    """What the M-step's loop does not change: the moments in the units of the data, and more.

    It is part of the loop's state so that XLA computes it once. Otherwise XLA would compute it
    again, from all that leads to it, wherever it is used after the loop.
    """

    moments: jax.Array
    scale: jax.Array
    masses: jax.Array


class _Climbing(NamedTuple):
    """The state of the M-step's loop: the moments about the turned axes, and the rotation."""

    given: _Given
    number: jax.Array
    moments: jax.Array
    change: jax.Array
    log_volume: jax.Array
    log_shape: jax.Array
    largest: jax.Array


@as_one_cpu_function
def _climb_batch(*arguments: jax.Array) -> Climbed:
    """Compute `climb` for arguments and results with lanes on their first axis.

    The lanes become the last axis within the function of machine code. Outside of it, XLA would
    compute all that the arguments come from in this order too, which takes more time there.
    """
    results = _climb_lanes_last(*(jnp.moveaxis(argument, 0, -1) for argument in arguments))
    return Climbed(*(jnp.moveaxis(result, -1, 0) for result in results))


def _climb_lanes_last(
    moments: jax.Array, mass: jax.Array, scale: jax.Array, axes: jax.Array, code: jax.Array
) -> Climbed:
    """Compute `climb` for arguments with lanes on their last axis, and return such results."""
    words = Code(*(number[None, None] for number in code))
    turns = jnp.any(words.turns > 0)
    repeats = jnp.where(jnp.any(words.to_the_end > 0), REPEATS_OF_STARTS, REPEATS)
    moments, axes = (jnp.moveaxis(matrices, 0, 2) for matrices in (moments, axes))
    mass, scale, d = mass[None], jnp.moveaxis(scale, 0, 1), len(moments)
    used = mass > 0
    count = jnp.where(used, mass, 1)
    share = jnp.where(used, mass / fold(jnp.add, mass, axis=1), 0)

    def unfinished(state: _Climbing) -> jax.Array:
        small = jnp.finfo(moments.dtype).eps ** (2 / 3)
        # A lane that is not finite does not end the loop of the others. Axes turn at least once.
        moves = jnp.any(state.largest > small) | (state.number <= turns)
        return (state.number <= repeats) & moves

    def improve(state: _Climbing) -> _Climbing:
        given, is_first = state.given, state.number == 0
        # Scales are fitted before the first rotation, since equal ones would turn nothing.
        rotations = jnp.where(turns & ~is_first, len(rounds(d)[0]), 0)
        precision = given.scale**2 * jnp.exp(-(state.log_volume + state.log_shape))
        precision = jnp.where(used, precision, 1)
        present = jnp.where(is_first, given.moments, state.moments)
        turned, change, largest = sweep(present, precision, state.change, words, rotations)
        variances = jnp.where(used, given.scale**2 * diagonal(turned), given.masses)
        volume, shape = _fit_scales(variances, given.masses, share, state.log_volume, words)
        largest = jnp.maximum(largest, largest_of(volume - state.log_volume))
        return _Climbing(given, state.number + 1, turned, change, volume, shape, largest)

    # In the units of the data, about the axes.
    unscaled = jnp.where(used[None], moments / (scale[:, None] * scale[None]), 0)
    zero = jnp.zeros_like(moments)
    begin = _Climbing(
        _Given(unscaled, scale, count), jnp.int32(0), zero, zero, jnp.zeros_like(count),
        jnp.zeros_like(scale), jnp.zeros_like(mass[0, 0]),
    )  # fmt: skip
    end = jax.lax.while_loop(unfinished, improve, begin)
    logarithm = -(end.log_volume + end.log_shape) / 2
    move = jnp.moveaxis(move_axes(axes, end.change), 2, 0)
    return Climbed(
        end.log_volume[0],
        jnp.moveaxis(end.log_shape, 0, 1),
        move,
        _gain(end.change, logarithm, end.given),
    )


# As a function of its own, since XLA would compute the logarithms again for each of their uses.
_logarithm_and_excess = as_one_cpu_function(logarithm_and_excess)


def _gain(rotation: jax.Array, logarithm: jax.Array, given: _Given) -> jax.Array:
    """Return `Climbed.gain` as (k, lanes), per unit of mass.

    It is computed as `Family.gain` and `turned.change_of_factors` do it.
    """
    scale = given.scale
    moments = given.moments * (scale[:, None] * scale[None]) / given.masses[None]
    ratio = (scale * jnp.exp(logarithm))[:, None] / scale[None]
    identity = unit(rotation)
    change = ratio * jnp.swapaxes(rotation, 0, 1) + jnp.expm1(logarithm)[:, None] * identity
    along = diagonal(rotation) * jnp.exp(logarithm)
    bend = -total(exponential_excess(logarithm) + along)[0]
    terms = change * (2 * (moments - identity) + product(change, moments))
    return 2 * bend - total(total(terms)[0])[0]


def _fit_scales(
    moments: jax.Array, count: jax.Array, share: jax.Array, log_volume: jax.Array, words: Code
) -> tuple[jax.Array, jax.Array]:
    """Return the logarithms of the likeliest volumes (1, k, lanes) and shapes (d, k, lanes).

    A variance is the product of a volume and a shape. Given the shapes B, the own volumes are the
    means over j of v_j / B_j with v = s / N, and the common volume is their weighted mean.

    Args:
      moments: s (d, k, lanes), the diagonals of the moments in the present units.
      count: the masses N (1, k, lanes), or 1 for components of mass 0.
      share: N / ΣN (1, k, lanes), or 0 for components of mass 0.
      log_volume: (1, k, lanes) a guess of the volumes' logarithms.
      words: what the families' letters say.
    """
    variances = moments / count
    pooled = lambda values: fold(jnp.add, share * values, axis=1)
    mean = lambda values: total(values) / len(moments)

    def next_volume(_: Any, volume: jax.Array) -> jax.Array:
        return mean(variances / pooled(variances / volume))

    volume = jax.lax.fori_loop(0, REPEATS_OF_SHAPE, next_volume, jnp.exp(log_volume))
    volume = jnp.where(words.own_volume > 0, volume, 1)
    # Each component's own shape is that of s / N, and the common one that of their pooled ratio.
    own = words.own_shape > 0
    shape = jnp.where(own, moments, pooled(variances / volume)), jnp.where(own, count, 1)
    log_shape = _logarithm_and_excess(*jnp.broadcast_arrays(*shape))[0]
    log_shape = jnp.where(words.round > 0, 0, log_shape - mean(log_shape))
    # Logarithms that are far from their mean 0 have rounding errors of another mean. It would move
    # a volume that components share, and be a gain or a loss of first order.
    log_shape = log_shape - mean(log_shape)
    volume = mean(variances * jnp.exp(-log_shape))
    volume = jnp.where(words.own_volume > 0, volume, pooled(volume))
    return _logarithm_and_excess(volume, jnp.ones_like(volume))[0], log_shape
