"""EM as textbooks program it, number for number: for teaching, and for reproducing old results.

It differs from `fit(..., EM(), prior=None)` in three ways. The weighted covariance divides as
`numpy.cov` does with `aweights` (by mass − Σr²/mass, not by mass); `epsilon` is added to its
diagonal; and it stops when the mean log-likelihood changes by less than `epsilon`. Its updates
maximize no objective: with the diagonal added after each M-step the log-likelihood may fall. Use
`fit` for anything else.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..families.full import Full
from ..internal import checks
from ..mixture.inputs import check_mixture_and_array, over_rows, row_log_joint
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
from .degeneracy import finite
from .fit import trim_history
from .result import Fit
from .status import Status


class _Loop(NamedTuple):
    mixture: Mixture
    change: jax.Array
    steps: jax.Array
    good: jax.Array
    history: jax.Array


@functools.partial(jax.jit, static_argnames="max_steps")
def _run(mixture, x, epsilon, max_steps):
    d = x.shape[1]

    def expectation(mixture):
        joint = over_rows(row_log_joint, mixture, x)
        return jnp.sum(jax.nn.logsumexp(joint, axis=1)), jax.nn.softmax(joint, axis=1)

    def maximization(responsibilities):
        mass = jnp.sum(responsibilities, axis=0)
        means = matmul(responsibilities.T, x) / mass[:, None]
        apart = x[None] - means[:, None, :]
        scatter = matmul(jnp.swapaxes(responsibilities.T[..., None] * apart, 1, 2), apart)
        divisor = mass - jnp.sum(responsibilities**2, axis=0) / mass
        covariances = scatter / divisor[:, None, None] + epsilon * jnp.eye(d, dtype=x.dtype)[None]
        return Mixture(jnp.log(mass / jnp.sum(mass)), means, Full.from_own(covariances, jnp))

    def step(loop):
        likelihood, responsibilities = expectation(loop.mixture)
        moved = maximization(responsibilities)
        previous = jnp.where(loop.steps > 0, loop.history[loop.steps - 1], -jnp.inf)
        good = finite(moved)
        return _Loop(
            jax.tree.map(lambda new, old: jnp.where(good, new, old), moved, loop.mixture),
            jnp.abs(likelihood - previous) / len(x),
            loop.steps + good,
            good,
            loop.history.at[loop.steps].set(likelihood),
        )

    start = _Loop(
        mixture, jnp.array(jnp.inf, x.dtype), jnp.int32(0), jnp.array(True),
        jnp.zeros(max_steps + 1, x.dtype),
    )  # fmt: skip
    end = jax.lax.while_loop(
        lambda loop: loop.good & (loop.change >= epsilon) & (loop.steps < max_steps), step, start
    )
    likelihood, _ = expectation(end.mixture)
    status = jnp.where(end.change < epsilon, Status.CONVERGED, Status.MAX_STEPS)
    status = jnp.where(end.good, status, Status.NONFINITE).astype(jnp.int32)
    index = jnp.arange(max_steps + 1)
    history = jnp.where(index >= end.steps, likelihood, end.history)
    passes = jnp.minimum(index, end.steps) + 1
    return Fit(
        end.mixture, likelihood, likelihood, end.steps, end.steps + 1, status, end.change,
        history, passes,
    )  # fmt: skip


def textbook_em(x, mixture: Mixture, *, epsilon: float = 1e-5, max_steps: int = 200) -> Fit:
    """EM as a course notebook writes it (see this module's first lines for how it differs).

    Args:
      x: (n, d) rows; every row counts once.
      mixture: the start, of family "full".
      epsilon: added to the covariances' diagonal, in squared units of the data, and the threshold
        on the change of the mean log-likelihood.
      max_steps: updates at the most.

    Returns:
      A `Fit` of the mixture after the last update, in the wider dtype of x and start.
      history[t] / n is what the notebook sees in its iteration t, history[-1] belongs to the
      mixture returned, `em_gain` is the last change of the mean log-likelihood, and `objective` is
      the log-likelihood. It has derivatives in forward mode (`jax.jvp`), those of the steps made;
      in reverse mode JAX refuses the loop.

    Raises:
      ValueError: for an argument that is not as said.

    (Bishop 2006, sec. 9.2.2, with his remark on singularities, p. 434.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.textbook_em(x, start)
    >>> bool(found.converged), found.history.shape == (found.steps + 1,)
    (True, True)
    """
    mixture, x, _ = check_mixture_and_array(mixture, x)
    if type(mixture.covariance) is not Full:
        raise ValueError(
            f"the textbook's EM has family 'full'; this mixture is {mixture.family!r}."
        )
    checks.not_negative(epsilon, "epsilon")
    max_steps = checks.whole(max_steps, "max_steps", 0)
    return trim_history(_run(mixture, x, jnp.asarray(epsilon, x.dtype), max_steps), max_steps)
