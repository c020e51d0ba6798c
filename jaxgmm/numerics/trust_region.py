"""Maximization of a quadratic model within a ball, by truncated conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

# A correction of rank one is made if its denominator is at least this fraction of the product of
# the norms in it.
LEAST_DENOMINATOR = 1e-8


class TruncatedStep(NamedTuple):
    """The result of `truncated_step`.

    Attributes:
      step: (p,) the step s.
      length: () |s|.
      gain: () the increase gᵀs − ½ sᵀAs of the model, which is not negative.
      products: () the number of products with A.
      at_boundary: () whether the step ends at the boundary of the ball.
    """

    step: jax.Array
    length: jax.Array
    gain: jax.Array
    products: jax.Array
    at_boundary: jax.Array


def truncated_step(
    product: Callable[[jax.Array], jax.Array],
    gradient: jax.Array,
    radius: jax.Array,
    tolerance: jax.Array,
    most_products: int,
) -> TruncatedStep:
    """Increase the model gᵀs − ½ sᵀAs within |s| ≤ radius, by conjugate gradients from s = 0.

    The iterations end when the residual |g − As| is at most tolerance · |g|, when `most_products`
    are made, or at the boundary of the ball. The step goes to the boundary if an iterate would
    leave the ball, or if the model curves up along a direction. The first iterate is the maximum
    along the gradient, and each further one is higher, so the gain is at least that of the best
    step along the gradient.

    Args:
      product: the product with the symmetric matrix A, which may be indefinite.
      gradient: (p,) g.
      radius: () the radius of the ball.
      tolerance: () the relative size of the residual at which the iterations end.
      most_products: the largest number of products.

    Source: Steihaug 1983, SIAM J. Numer. Anal. 20, sec. 2.
    """
    zero = jnp.zeros_like(gradient)
    square = jnp.sum(gradient**2)
    enough = tolerance**2 * square
    # The state: step, residual, direction, |residual|², products made, at the boundary, gain.
    begin = (zero, gradient, gradient, square, jnp.int32(0), jnp.array(False), 0 * square)

    def unfinished(state: tuple[Any, ...]) -> jax.Array:
        _, _, _, square, products, at_boundary, _ = state
        return (square > enough) & (products < most_products) & ~at_boundary

    def iterate(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, residual, direction, square, products, _, gain = state
        image = product(direction)
        curvature = jnp.sum(direction * image)
        curves_down = curvature > 0
        length = square / jnp.where(curves_down, curvature, 1)
        inside = jnp.sum((step + length * direction) ** 2) < radius**2
        ends = ~(curves_down & inside)
        length = jnp.where(ends, _to_boundary(step, direction, radius), length)
        gain = gain + length * (square - length * curvature / 2)
        step, residual = step + length * direction, residual - length * image
        after = jnp.sum(residual**2)
        direction = residual + after / square * direction
        return step, residual, direction, after, products + 1, ends, gain

    step, _, _, _, products, at_boundary, gain = jax.lax.while_loop(unfinished, iterate, begin)
    return TruncatedStep(step, jnp.linalg.norm(step), gain, products, at_boundary)


def _to_boundary(step: jax.Array, direction: jax.Array, radius: jax.Array) -> jax.Array:
    """Return the τ ≥ 0 with |step + τ direction| = radius."""
    square, along = jnp.sum(direction**2), jnp.sum(step * direction)
    left = jnp.maximum(radius**2 - jnp.sum(step**2), 0)
    # This form does not cancel: `along` is not negative in conjugate gradients from 0.
    return left / (along + jnp.sqrt(along**2 + square * left))


def symmetric_rank_one(
    matrix: jax.Array,
    product: Callable[[jax.Array], jax.Array],
    step: jax.Array,
    image: jax.Array,
) -> jax.Array:
    """Return A + r rᵀ / rᵀs with r = y − As, whose product with the step s is the image y.

    It is A itself where rᵀs is too small, and where y is not finite.

    Args:
      matrix: (p, p) the symmetric matrix A.
      product: the product with A.
      step: (p,) s.
      image: (p,) y.

    Source: Nocedal & Wright 2006, eqs. 6.24 and 6.26.
    """
    residual = image - product(step)
    denominator = jnp.sum(residual * step)
    norms = jnp.linalg.norm(residual) * jnp.linalg.norm(step)
    corrects = jnp.abs(denominator) > LEAST_DENOMINATOR * norms  # False for NaN
    residual = jnp.where(corrects, residual, 0)
    return matrix + jnp.outer(residual, residual) / jnp.where(corrects, denominator, 1)
