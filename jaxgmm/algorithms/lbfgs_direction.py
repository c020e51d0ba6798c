"""The limited-memory BFGS direction, with EM's step as the initial approximation."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..internal.trees import where
from ..numerics import lapack
from ..numerics.products import matmul
from .coordinate_chart import push

# A pair is kept if the curvature along it, relative to that of the complete data, is at least this.
LEAST_CURVATURE = 1e-6


class Memory(NamedTuple):
    """The last pairs of a step and the change of the gradient along it, newest first.

    Attributes:
      steps: (m, p) differences of positions; rows of zeros are unused.
      falls: (m, p) by how much the gradient fell along each.
    """

    steps: jax.Array
    falls: jax.Array

    @classmethod
    def empty(cls, size: int, zero: jax.Array) -> Memory:
        """Return a memory without pairs, of vectors like `zero` (p,)."""
        nothing = jnp.zeros((size, *zero.shape), zero.dtype)
        return cls(nothing, nothing)

    @property
    def has_pairs(self) -> jax.Array:
        """Whether there is a pair: ()."""
        return jnp.any(self.steps[0] != 0)

    def after(self, step: jax.Array, fall: jax.Array) -> Memory:
        """Return the memory with a further pair, if the objective is concave along the step."""
        is_concave = jnp.sum(step * fall) > LEAST_CURVATURE * jnp.sum(fall * fall)
        return where(is_concave, Memory(push(self.steps, step), push(self.falls, fall)), self)

    def direction(self, gradient: jax.Array, em_step: jax.Array) -> jax.Array:
        """Return the quasi-Newton direction (p,) at a point, from the gradient and EM's step there.

        EM's step is the gradient times the inverse information of the complete data. It takes the
        place of the initial inverse Hessian in the two loops of L-BFGS. The falls in memory are
        vectors of a chart in which this information is about the identity, so they need no such
        product.

        The direction is scaled by sᵀy / yᵀy of the newest pair (s, y), which is how much longer a
        Newton step is there than EM's. It is 1 or more, because information is missing.

        Source: Nocedal & Wright 2006, algorithm 7.4 and eq. 7.20.
        """
        # The two loops of algorithm 7.4, as products with triangular matrices.
        products = matmul(self.steps, self.falls.T)
        used = jnp.diagonal(products) > 0
        curvature = jnp.where(used, jnp.diagonal(products), 0)
        triangle = jnp.tril(products, -1) + jnp.diag(jnp.where(used, curvature, 1))
        inverse = lapack.inverse(triangle[None])[0]
        alphas = matmul(inverse, matmul(self.steps, gradient))
        size = jnp.sum(self.falls[0] ** 2)
        longer = jnp.where(size > 0, products[0, 0] / jnp.where(size > 0, size, 1), 1)
        first = jnp.maximum(longer, 1) * (em_step - matmul(alphas, self.falls))
        rest = curvature * alphas - matmul(self.falls, first)
        return first + matmul(matmul(rest, inverse), self.steps)
