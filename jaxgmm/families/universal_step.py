"""The M-step of `Universal`: scales and plane rotations for all lanes together.

In this file, arrays have the axes (d, d, k, lanes) or (1|d, 1|k, lanes), and the numbers of a
`Code` are (1, 1, lanes). With the lanes last, a CPU computes with long vectors instead of many
small matrices. That takes a quarter of the time.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from ..numerics.logarithms import logarithm_and_excess
from ..numerics.rotations import rounds

# Repeats of the volumes and the common shape, which determine each other, in one fit of scales.
REPEATS_OF_SHAPE = 3


class Code(NamedTuple):
    """What the three letters of a family say, as 0 or 1.

    Attributes:
      own_volume: whether each component has its own volume, or all have the same.
      own_shape: whether each component has its own shape.
      round: whether every shape is that of the unit matrix.
      own_axes: whether each component has its own axes.
      common_axes: whether all components have the same axes. Otherwise, without own axes, the
        features are the axes.
    """

    own_volume: Any
    own_shape: Any
    round: Any
    own_axes: Any
    common_axes: Any

    @property
    def all_common(self) -> Any:
        """Whether all components have the same covariance."""
        return (self.own_volume + self.own_shape + self.own_axes) == 0

    @property
    def coupled(self) -> Any:
        """Whether components have different covariances that share something."""
        all_own = self.own_shape * (1 - self.common_axes) + self.round
        return ~self.all_common & (self.own_volume * all_own == 0)


def climb(
    repeats: int, moments: jax.Array, mass: jax.Array, scale: jax.Array, code: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the scales and rotation of the M-step, after `repeats` of both in turn.

    Args:
      repeats: how often scales and rotations are improved at most.
      moments: (k, d, d) second moments in residual units.
      mass: (k,) masses; components of mass 0 do not count.
      scale: (k, d) the present scales w.
      code: (5,) the numbers of a `Code`.

    Returns:
      The logarithms of the relative variances, as those of the volume (k,) and of the shape (k, d),
      and the rotation as V − I (k, d, d).
    """

    @custom_vmap
    def one(*arguments: jax.Array) -> tuple[jax.Array, ...]:
        last = [argument[..., None] for argument in arguments]
        return tuple(result[..., 0] for result in _climb_batch(repeats, *last))

    @one.def_vmap
    def _(axis_size: int, in_batched: list[bool], *arguments: jax.Array) -> Any:
        last = [
            jnp.moveaxis(argument, 0, -1)
            if is_batched
            else jnp.broadcast_to(argument[..., None], (*argument.shape, axis_size))
            for argument, is_batched in zip(arguments, in_batched, strict=True)
        ]
        results = _climb_batch(repeats, *last)
        return tuple(jnp.moveaxis(result, -1, 0) for result in results), (True, True, True)

    return one(moments, mass, scale, code)


def _climb_batch(
    repeats: int, moments: jax.Array, mass: jax.Array, scale: jax.Array, code: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Compute `climb` for arguments with lanes on their last axis, and return such results."""
    words = Code(*(number[None, None] for number in code))
    moments, scale = jnp.moveaxis(moments, 0, 2), jnp.moveaxis(scale, 0, 1)
    mass = mass[None]
    used = mass > 0
    count = jnp.where(used, mass, 1)
    share = jnp.where(used, mass / jnp.sum(mass, axis=1, keepdims=True), 0)
    # In the units of the data, about the axes.
    moments = jnp.where(used[None], moments / (scale[:, None] * scale[None]), 0)

    def fit_scales(moments: jax.Array, log_volume: jax.Array) -> tuple[jax.Array, jax.Array]:
        variances = jnp.where(used, scale**2 * _diagonal(moments), count)
        return _fit_scales(variances, count, share, log_volume, words)

    def unfinished(state: tuple[Any, ...]) -> jax.Array:
        number, *_, move = state
        return (number < repeats) & (move > jnp.finfo(move.dtype).eps ** (2 / 3))

    def improve(state: tuple[Any, ...]) -> tuple[Any, ...]:
        number, moments, change, before, _ = state
        log_volume, log_shape = fit_scales(moments, before)
        precision = scale**2 * jnp.exp(-(log_volume + log_shape))
        precision = jnp.where(used, precision, 1)
        moments, change, move = _sweep(moments, precision, change, words)
        move = jnp.maximum(move, jnp.max(jnp.abs(log_volume - before)))
        return number + 1, moments, change, log_volume, move

    far = jnp.full((), jnp.inf, moments.dtype)
    begin = jnp.int32(0), moments, jnp.zeros_like(moments), jnp.zeros_like(count), far
    _, moments, change, log_volume, _ = jax.lax.while_loop(unfinished, improve, begin)
    log_volume, log_shape = fit_scales(moments, log_volume)
    return log_volume[0], jnp.moveaxis(log_shape, 0, 1), jnp.moveaxis(change, 2, 0)


def _diagonal(matrices: jax.Array) -> jax.Array:
    """Return the diagonals (d, k, lanes) of matrices (d, d, k, lanes)."""
    d = len(matrices)
    return matrices.reshape(d * d, *matrices.shape[2:])[:: d + 1]


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
    pooled = lambda values: jnp.sum(share * values, axis=1, keepdims=True)
    centered = lambda values: values - jnp.mean(values, axis=0, keepdims=True)

    def next_volume(_: Any, volume: jax.Array) -> jax.Array:
        return jnp.mean(variances / pooled(variances / volume), axis=0, keepdims=True)

    volume = jax.lax.fori_loop(0, REPEATS_OF_SHAPE, next_volume, jnp.exp(log_volume))
    volume = jnp.where(words.own_volume > 0, volume, 1)
    common = logarithm_and_excess(pooled(variances / volume))[0]
    own = logarithm_and_excess(moments, jnp.broadcast_to(count, moments.shape))[0]
    log_shape = centered(jnp.where(words.own_shape > 0, own, common))
    log_shape = jnp.where(words.round > 0, 0, log_shape)
    volume = jnp.mean(variances * jnp.exp(-log_shape), axis=0, keepdims=True)
    volume = jnp.where(words.own_volume > 0, volume, pooled(volume))
    return logarithm_and_excess(volume)[0], log_shape


def _sweep(
    moments: jax.Array, precision: jax.Array, change: jax.Array, words: Code
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Rotate every pair of axes once by its best angle, as `rotations.sweep` does.

    Angles are those of each component, of all components together, or 0, as the code says. Returns
    the moments, the rotation as V − I, and the largest sine of an angle.
    """
    d, largest = len(precision), jnp.zeros((), moments.dtype)
    if d == 1:
        return moments, change, largest
    partners, sides = (jnp.asarray(table) for table in rounds(d))
    unit = jnp.eye(d, dtype=moments.dtype)[:, :, None, None]

    def rotate(number: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        moments, change, largest = state
        partner = partners[number]
        side = sides[number].astype(moments.dtype)[:, None, None]

        def of_partner(values: jax.Array, axis: int = 0) -> jax.Array:
            return jnp.take(values, partner, axis=axis, mode="clip")

        diagonal = _diagonal(moments)
        entries = moments.reshape(d * d, *moments.shape[2:])
        beside = jnp.take(entries, d * jnp.arange(d) + partner, axis=0, mode="clip")
        contrast = precision - of_partner(precision)
        x = contrast * (diagonal - of_partner(diagonal)) / 2
        y = contrast * beside * side
        together = lambda values: words.common_axes * jnp.sum(values, axis=1, keepdims=True)
        x, y = (jnp.where(words.own_axes > 0, values, together(values)) for values in (x, y))
        cosine_less_one, sine = _half_angle(x, y)
        largest = jnp.maximum(largest, jnp.max(jnp.abs(sine)))
        sine = sine * side

        def turned(matrices: jax.Array, axis: int) -> jax.Array:
            """Return what the rotation adds to the rows or columns of matrices."""
            along = lambda values: jnp.expand_dims(values, 1 - axis)
            return along(cosine_less_one) * matrices + along(sine) * of_partner(matrices, axis)

        moments = moments + turned(moments, 0)
        moments = moments + turned(moments, 1)
        return moments, change + turned(change + unit, 1), largest

    return jax.lax.fori_loop(0, len(partners), rotate, (moments, change, largest))


def _half_angle(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return cos θ − 1 and sin θ for the θ that minimizes x cos 2θ + y sin 2θ, |θ| ≤ π/2.

    Square roots take less time than angles, and lose no digits of small ones.
    """
    length = jnp.sqrt(x**2 + y**2)
    turns = length > 0
    length = jnp.where(turns, length, 1)
    cosine, sine = jnp.where(turns, -x / length, 1), jnp.where(turns, -y / length, 0)
    acute = cosine >= 0
    large = jnp.sqrt((1 + jnp.abs(cosine)) / 2)
    small = jnp.abs(sine) / (2 * large)
    sign = jnp.where(sine < 0, -1, 1)
    half_cosine = jnp.where(acute, large, small)
    half_sine = sign * jnp.where(acute, small, large)
    return -(half_sine**2) / (1 + half_cosine), half_sine
