"""The fits of `GaussianMixture`, which stop at the same iteration as scikit-learn's loop."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.protocol import Algorithm
from ..data.columns import Columns
from ..data.rows import Rows
from ..fitting.degeneracy import has_collapsed
from ..fitting.fit import fit_of_state
from ..fitting.loop import LoopSettings, prepare_rows, run_loop, start_loop
from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal.trees import where
from ..kernels.choice import residual_numbers, resolve_kernel
from ..mixture.mixture import Mixture
from ..objective.prior import Prior


class EstimatorSettings(NamedTuple):
    """The static settings of the compiled program.

    They are the algorithm, the length of the history, and what the columns of x hold if its rows
    are not fully observed.
    """

    algorithm: Algorithm
    capacity: int
    columns: Columns | None = None


class IterationLimits(NamedTuple):
    """The condition under which a fit stops.

    A fit stops when the objective changes by less than `tolerance` nats, or after `max_iter`
    E-steps (at least one). `previous` is the objective that the first one is compared with: −inf
    for a new fit, or the last objective of the fit that is resumed.
    """

    tolerance: jax.Array | np.ndarray
    max_iter: jax.Array | np.integer
    previous: jax.Array | np.ndarray


def run_fits(
    settings: EstimatorSettings,
    x: jax.Array,
    weight: jax.Array,
    starts: Mixture,
    prior: Prior | None,
    rule: IterationLimits,
) -> Fit:
    """Run one fit from each start in one batch, with iterations counted as scikit-learn does.

    An iteration of scikit-learn is an E-step and the M-step that follows it, so the objective that
    stops the loop belongs to the mixture before the last M-step. Each fit therefore stops after at
    most max_iter − 1 steps. The returned mixture is the one after EM's next step, which the last
    E-step has already determined. `objective`, `history` and `steps` are those before that step, so
    a fit of `steps` steps took steps + 1 iterations. If the next step collapses (DEGENERATE,
    NONFINITE), the returned mixture is the one before it.
    """
    # Under vmap, "auto" would compute every kernel for each fit.
    batch = len(starts.logits) > 1

    def run_one(start: Mixture) -> Fit:
        kernel = "whitened" if batch else "auto"
        loop_settings = LoopSettings(
            algorithm=settings.algorithm,
            stopping="absolute",
            kernel=resolve_kernel(kernel, len(x), residual_numbers(start)),
            capacity=settings.capacity,
            callback=None,
        )
        rows, constants = prepare_rows(
            Rows.of(x, weight, columns=settings.columns).ordered(), prior
        )
        tolerance, max_steps = jnp.asarray(rule.tolerance), jnp.asarray(rule.max_iter - 1)
        state = start_loop(
            rows,
            constants,
            start,
            tolerance,
            max_steps,
            loop_settings,
            defer_first_pass=True,
            previous=rule.previous,
        )
        state = run_loop(rows, constants, state, tolerance, max_steps, loop_settings)
        end, fit = state.fit_state, fit_of_state(state, constants)
        # The loop has not looked at the last mixture, since it ends before the pass there.
        last = end.em_step.after
        collapsed = has_collapsed(last, end.sums.mass, constants.prior, constants.resolution)
        usable = (fit.status == Status.CONVERGED) | (fit.status == Status.MAX_STEPS)
        mixture = where(usable & ~collapsed, last.translate(constants.center), fit.mixture)
        status = jnp.where(usable & collapsed, Status.DEGENERATE, fit.status)
        return dataclasses.replace(fit, mixture=mixture, status=status.astype(jnp.int32))

    if batch:
        return jax.vmap(run_one)(starts)
    fit = run_one(jax.tree.map(lambda leaf: leaf[0], starts))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], fit)
