"""How jaxgmm's `GaussianMixture` climbs: to where scikit-learn's loop ends from the same start."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..algorithms.protocol import Algorithm
from ..data.rows import Rows
from ..fitting.fit import fit_of_state
from ..fitting.loop import LoopSettings, run_loop, start_loop, summarize_rows
from ..fitting.result import Fit
from ..fitting.status import Status
from ..internal.trees import where
from ..kernels.choice import resolve_kernel
from ..mixture.mixture import Mixture
from ..objective.prior import Prior


class EstimatorSettings(NamedTuple):
    """What a program is compiled for: the algorithm, and how many objectives its history holds."""

    algorithm: Algorithm
    capacity: int


class Until(NamedTuple):
    """When a climb stops: at a change of the objective below `tolerance` nats, or after `max_iter`
    E-steps (at least one). `previous` is the objective that the first one is compared with: −inf
    for a new fit, and where the last fit ended for one that goes on from there."""

    tolerance: jax.Array
    max_iter: jax.Array
    previous: jax.Array


def run_fits(
    settings: EstimatorSettings, x, weight, starts: Mixture, prior: Prior | None, until: Until
) -> Fit:
    """One climb from each start, side by side, as scikit-learn counts them.

    An iteration of scikit-learn is an E-step and the M-step that follows it, so the objective that
    stops the loop belongs to the mixture before the last M-step. The climb therefore stops after
    max_iter − 1 steps at the most, and its mixture is then the one after EM's next step, which the
    last E-step has already determined. `objective`, `history` and `steps` remain those before that
    step: a fit of `steps` steps took steps + 1 iterations. Where the next step collapses
    (DEGENERATE, NONFINITE), the mixture is the one before it.
    """

    def one(start: Mixture) -> Fit:
        plan = LoopSettings(
            settings.algorithm, "absolute", resolve_kernel("auto", len(x)), settings.capacity, None
        )
        rows, frame = summarize_rows(Rows.of(x, weight), prior, plan)
        bounds = until.tolerance, until.max_iter - 1
        course = start_loop(
            rows, frame, start, *bounds, plan, defer_first_pass=True, previous=until.previous
        )  # fmt: skip
        course = run_loop(rows, frame, course, *bounds, plan)
        end, found = course.fit_state, fit_of_state(course, frame)
        usable = (found.status == Status.CONVERGED) | (found.status == Status.MAX_STEPS)
        last = end.em_step.taken_from(end.mixture).translate(frame.center)
        return dataclasses.replace(found, mixture=where(usable, last, found.mixture))

    if len(starts.logits) > 1:
        return jax.vmap(one)(starts)
    # Alone, a fit may branch: it takes the quicker kernel where that is safe.
    found = one(jax.tree.map(lambda leaf: leaf[0], starts))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], found)
