"""EM as course notebooks implement it, for teaching and for reproducing their numbers.

It differs from `fit(..., EM(), prior=None)` in three ways. The weighted covariance divides as
`numpy.cov` does with `aweights`, by mass − Σr²/mass instead of mass; `epsilon` is added to the
diagonal of each covariance; and the loop stops when the mean log-likelihood changes by less than
`epsilon`. These updates maximize no objective: with the diagonal added after each M-step, the
log-likelihood may fall. Use `fit` for everything else.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ..families.full import Full
from ..internal import checks
from ..internal.trees import finite, where
from ..mixture.inputs import check_mixture_and_array, over_rows, row_log_joint
from ..mixture.mixture import Mixture
from ..numerics.products import matmul
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
def _run(mixture: Mixture, x: jax.Array, epsilon: jax.Array, max_steps: int) -> Fit:
    d = x.shape[1]

    def expectation(mixture: Mixture) -> tuple[jax.Array, jax.Array]:
        joint = over_rows(row_log_joint, mixture, x)
        return jnp.sum(jax.nn.logsumexp(joint, axis=1)), jax.nn.softmax(joint, axis=1)

    def maximization(responsibilities: jax.Array) -> Mixture:
        mass = jnp.sum(responsibilities, axis=0)
        means = matmul(responsibilities.T, x) / mass[:, None]
        deviations = x[None] - means[:, None, :]
        weighted = responsibilities.T[..., None] * deviations
        scatter = matmul(jnp.swapaxes(weighted, 1, 2), deviations)
        divisor = mass - jnp.sum(responsibilities**2, axis=0) / mass
        covariances = scatter / divisor[:, None, None] + epsilon * jnp.eye(d, dtype=x.dtype)[None]
        return Mixture(jnp.log(mass / jnp.sum(mass)), means, Full.from_own(covariances, jnp))

    def step(loop: _Loop) -> _Loop:
        likelihood, responsibilities = expectation(loop.mixture)
        new = maximization(responsibilities)
        previous = jnp.where(loop.steps > 0, loop.history[loop.steps - 1], -jnp.inf)
        good = finite(new)
        return _Loop(
            mixture=where(good, new, loop.mixture),
            change=jnp.abs(likelihood - previous) / len(x),
            steps=loop.steps + good,
            good=good,
            history=loop.history.at[loop.steps].set(likelihood),
        )

    start = _Loop(
        mixture=mixture,
        change=jnp.array(jnp.inf, x.dtype),
        steps=jnp.int32(0),
        good=jnp.array(True),
        history=jnp.zeros(max_steps + 1, x.dtype),
    )
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
        mixture=end.mixture,
        log_likelihood=likelihood,
        objective=likelihood,
        steps=end.steps,
        passes=end.steps + 1,
        status=status,
        em_gain=end.change,
        history=history,
        history_passes=passes,
    )


def textbook_em(
    x: ArrayLike, mixture: Mixture, *, epsilon: ArrayLike = 1e-5, max_steps: int = 200
) -> Fit:
    """Run EM as course notebooks implement it.

    The weighted covariance divides as `numpy.cov` does with `aweights`, by mass − Σr²/mass;
    `epsilon` is added to the diagonal of each covariance; and the loop stops when the mean
    log-likelihood changes by less than `epsilon`. The log-likelihood may fall. Use `fit` for
    everything but teaching and reproducing old results.

    Args:
      x: (n, d) rows; every row counts once.
      mixture: the start, of family "full".
      epsilon: the number added to the diagonal of each covariance, in squared units of the data. It
        is also the threshold on the change of the mean log-likelihood.
      max_steps: largest number of updates.

    Returns:
      A `Fit` of the mixture after the last update, in the wider dtype of x and the start.
      history[t] / n is the mean log-likelihood that the notebook computes in its iteration t, and
      history[-1] belongs to the returned mixture. `em_gain` is the last change of the mean
      log-likelihood, and `objective` is the log-likelihood. Derivatives of the steps made are
      available in forward mode (`jax.jvp`); in reverse mode JAX raises an error.

    Raises:
      ValueError: for an invalid argument.

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
            f"textbook_em needs a mixture of family 'full', but this one is {mixture.family!r}: "
            "use fit, or initialize a full mixture."
        )
    checks.not_negative(epsilon, "epsilon")
    max_steps = checks.whole(max_steps, "max_steps", 0)
    return trim_history(_run(mixture, x, jnp.asarray(epsilon, x.dtype), max_steps), max_steps)
