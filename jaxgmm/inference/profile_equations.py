"""The equations of the best mixtures for each value of a function g.

Among the mixtures with the same value of g, the objective is at a maximum where its gradient is a
multiple of ∇g, and where the second derivative of the Lagrangian is negative in the directions that
do not change g. For all values of g these mixtures form a path.

Source: Venzon & Moolgavkar 1988, Applied Statistics 37; Nocedal & Wright 2006, Numerical
Optimization, sec. 18.1, for the multiplier.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..data.rows import Rows
from ..mixture.mixture import Mixture
from ..numerics import lapack
from ..numerics.eigenvalues import project, restrict
from ..numerics.products import matmul
from ..objective.expected_derivatives import offsets_of
from ..objective.information import information
from ..objective.newton_system import held_directions
from ..objective.prior import Prior, log_prior


class Problem(NamedTuple):
    """What determines the path and its end.

    Attributes:
      rows: the rows.
      prior: the prior, or None.
      g: the function.
      sign: () whether the path leads to larger values of g (1) or to smaller ones (−1).
      best: () the objective at the estimate.
      quantile: () at the end, the objective is `best` − quantile²/2.
      noise: () the rounding error of the equations at the end.
    """

    rows: Rows
    prior: Prior | None
    g: Callable[[Mixture], Any]
    sign: jax.Array
    best: jax.Array
    quantile: jax.Array
    noise: jax.Array


class Equations(NamedTuple):
    """The path's equations at a mixture, and the steps that solve their linearization.

    Attributes:
      value: () that of g.
      slope: () the length of ∇g.
      excess: () the objective minus the one at the end.
      by_normal: () the derivative of the objective by the unit vector along ∇g.
      across: (p,) the gradient of the objective in the directions that do not change g.
      gradient: (p,) the whole gradient.
      correction: (p,) the step back to the path, in the directions that do not change g.
      along: (p,) the path's derivative by the length along ∇g.
      maximum: () whether the objective is concave in the directions that do not change g.
      fewest_rows: () the smallest mass of a present component.
    """

    value: jax.Array
    slope: jax.Array
    excess: jax.Array
    by_normal: jax.Array
    across: jax.Array
    gradient: jax.Array
    correction: jax.Array
    along: jax.Array
    maximum: jax.Array
    fewest_rows: jax.Array

    def step_to_value(self, aim: jax.Array) -> jax.Array:
        """Return the step (p,) to the point of the path with this value of g."""
        return self.correction + (aim - self.value) / self.slope * self.along

    def step_to_end(self) -> jax.Array:
        """Return the step (p,) to the end of the path."""
        gap = -self.excess - inner(self.gradient, self.correction)
        return self.correction + gap / inner(self.gradient, self.along) * self.along


def inner(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return the inner product () of two vectors (p,) in full precision."""
    return jnp.vdot(a, b, precision="highest")


def evaluate(problem: Problem, here: Mixture) -> Equations:
    """Evaluate the equations of the path, which takes a pass over the rows."""
    found = information(problem.rows, here, problem.prior, scores=False)
    zero, mixture_at = offsets_of(here)
    of_offsets = lambda offsets: problem.g(mixture_at(offsets))
    value, slope = jax.value_and_grad(of_offsets)(zero)
    bend = jax.hessian(of_offsets)(zero)
    held = held_directions(here, found.slopes)
    slope = project(slope, *held)
    size = jnp.linalg.norm(slope)
    normal = slope / size
    by_normal = inner(found.gradient, normal)
    # The second derivative of the Lagrangian, objective + λ g with ∇g·(∇objective + λ ∇g) = 0.
    matrix = -found.observed - by_normal / size * bend
    held = held._replace(shift=jnp.concatenate([held.shift, normal[None]]))
    scale = jnp.trace(found.observed) / len(zero)
    inside = restrict(matrix, held) - jnp.abs(scale) * held.projector
    values, vectors = (part[0] for part in lapack.eigh(inside[None]))
    # Where the objective is convex, a step of the opposite sign leads uphill.
    solve = lambda vector: project(
        matmul(vectors, matmul(vector, vectors) / jnp.abs(values)), *held
    )
    objective = found.sums.log_likelihood + log_prior(here, problem.prior)
    return Equations(
        value=value,
        slope=size,
        excess=objective - problem.best + problem.quantile**2 / 2,
        by_normal=by_normal,
        across=project(found.gradient, *held),
        gradient=found.gradient,
        correction=solve(found.gradient),
        along=normal + solve(matmul(matrix, normal)),
        maximum=jnp.all(values < 0),
        fewest_rows=jnp.min(jnp.where(here.present, found.sums.mass, jnp.inf)),
    )
