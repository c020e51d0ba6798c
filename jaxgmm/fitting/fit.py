"""`fit`: one loop for every algorithm."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.em import EM
from ..algorithms.protocol import Algorithm
from ..data import row_checks, source_checks
from ..data.open_data import open_data
from ..data.rows import Rows
from ..internal import checks, derivatives
from ..kernels.choice import KERNELS, resolve_kernel
from ..mixture.component_precision import warn_of_coarse_components
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.prior import Prior
from .checkpoint import run_with_checkpoints
from .loop import DataSummary, LoopSettings, LoopState, run_loop, start_loop, summarize_rows
from .result import Fit
from .stopping import STOPPING

LEAST_CAPACITY = 1024
MOST_STEPS = 10_000_000  # the history takes eight bytes for each


def trim_history(found: Fit, max_steps: int) -> Fit:
    """The fit with its history cut to the steps made; to max_steps + 1 entries if it is traced."""
    if checks.traced(found):
        history, passes = found.history[: max_steps + 1], found.history_passes[: max_steps + 1]
    else:  # by NumPy: slicing a JAX array, and jnp.asarray, compile once for every length
        made = int(found.steps) + 1
        history, passes = (
            jax.device_put(np.asarray(values)[:made])
            for values in (found.history, found.history_passes)
        )
    return dataclasses.replace(found, history=history, history_passes=passes)


def capacity(max_steps: int) -> int:
    """Entries of a history that nearby max_steps share, so that they share a program."""
    return max(LEAST_CAPACITY, 1 << max_steps.bit_length())


def run(rows: Rows, mixture: Mixture, prior, tolerance, max_steps, *, plan: LoopSettings) -> Fit:
    """The climb as one program: `fit` after its checks."""
    rows, frame = summarize_rows(rows, prior, plan)
    course = start_loop(rows, frame, mixture, tolerance, max_steps, plan, goes_on=True)
    return fit_of_state(run_loop(rows, frame, course, tolerance, max_steps, plan), frame)


def fit_of_state(course: LoopState, frame: DataSummary) -> Fit:
    """The result of a climb, in the data's coordinates."""
    end, history = course
    steps = jnp.maximum(end.steps, 0)  # −1 where the first pass failed
    beyond = jnp.arange(len(history.passes)) > steps
    return Fit(
        end.mixture.translate(frame.center), end.sums.log_likelihood, end.objective, steps,
        end.passes, end.status, end.em_step.em_gain,
        jnp.where(beyond, end.objective, history.objective),
        jnp.where(beyond, end.passes, history.passes),
    )  # fmt: skip


_fit_of_state = jax.jit(fit_of_state)


def fit(
    x,
    mixture: Mixture,
    algorithm: Algorithm = EM(),
    *,
    weight=None,
    prior: Prior | str | None = "default",
    tolerance: float = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    callback: Callable | None = None,
    devices: Sequence | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_every: int = 100,
) -> Fit:
    """Climbs ℓ(θ) + log prior(θ) from `mixture` until the stopping rule is met.

    Args:
      x: (n, d) rows, finite; any array, list or table of real numbers, or `Blocks`, `Shards` or a
        `Stream`.
      mixture: the start.
      algorithm: `EM()`, `Gradient(optimizer)`, or anything that keeps `Algorithm`.
      weight: (n,) row weights, or None for ones. A row of weight 0 is padding.
      prior: a `Prior`; None for maximum likelihood; "default" for `Prior.from_data(x, weight)`.
      tolerance: the rule's threshold, strict: 0.0 runs exactly max_steps steps.
      max_steps: steps at the most; 0 returns the start with its likelihood.
      kernel: how a pass is computed. "whitened" is accurate for every mixture; "natural" is faster,
        and accurate where no component is narrow and far from the mean of the rows; "auto" takes
        whitened for up to 4096 rows, beyond that natural where a bound on its rounding allows it.
        The bound is for rows in random order: in float32, where rows are sorted so that a
        component's few rows come first and many rows of others follow, the natural kernel changes
        that component's moments by up to 2e-4 of themselves. Shuffle such rows, or take "whitened".
      stopping: "em-gain" stops when D(θ) < tolerance, D being what one EM step would gain in the
        expected complete-data objective per unit of weight (the same for every algorithm and
        parametrization); "relative" when the objective changes by less than tolerance times itself;
        "absolute" when it changes by less than tolerance, in nats.
      callback: called on the host after each step with (step, objective, D), e.g. `progress()`;
        every so many steps if it has an attribute `every`. The same function object does not
        compile again. Under vmap it is called for every lane, at every step.
      devices: which devices share an array of many rows; all local ones by default.
      checkpoint: a file (.npz) that keeps mixture, state and history, written every
        `checkpoint_every` steps. Where it exists the fit goes on from it, to the same result as if
        it had not been broken off; max_steps may have grown. With several processes all must see
        it, and one writes.
      checkpoint_every: steps between two checkpoints.

    Returns:
      A `Fit`, in the dtype of x (float16: float32; whole numbers: that of the mixture). Derivatives
      through a fit are not available yet, and raise ValueError in forward and in reverse mode:
      differentiate `log_likelihood` and `log_prior` at the fitted mixture, or hold what enters the
      fit fixed with `jax.lax.stop_gradient`.

    Warns:
      UserWarning: once, where float32 does not hold a component to 1 %: it is too narrow for how
        far from zero it lies, or its covariance is nearly singular. Under jit and vmap there are no
        values to judge, and nothing is said.

    Raises:
      ValueError: for an invalid argument; for a start that is not finite (under jit and vmap such a
        lane ends as NONFINITE); for more components than distinct rows; for a checkpoint of other
        rows, another start or other settings. Inside the loop nothing raises: see `Fit.status`.

    (EM: Dempster, Laird & Rubin 1977; D as stopping rule: Kunstner, Kumar & Schmidt 2021, sec. 4.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> start = jaxgmm.initialize(jax.random.key(1), x, 2)
    >>> found = jaxgmm.fit(x, start)
    >>> found
    Fit(Mixture(full, K = 2, d = 2, float32): CONVERGED, objective -64...)
    >>> bool(found.converged), found.history.shape == (found.steps + 1,)
    (True, True)
    """
    checks.one_mixture(mixture, "start")
    beside = (mixture, prior, tolerance)
    data = open_data(x, weight, like=mixture.dtype, devices=devices, beside=beside, judge=None)
    row_checks.same_features(mixture.n_features, data.n_features)
    mixture = jax.tree.map(lambda leaf: jnp.asarray(leaf, data.dtype), mixture)
    tolerance = jnp.asarray(checks.not_negative(tolerance, "tolerance"), data.dtype)
    max_steps = checks.whole(max_steps, "max_steps", 0, MOST_STEPS)
    checks.callback(callback)
    checks.choice(kernel, "kernel", ("auto", *KERNELS))
    checks.choice(stopping, "stopping", STOPPING)
    checks.algorithm(algorithm)
    traced = checks.traced(data)
    if not traced:
        extent = data.extent()
        row_checks.extent_fits(*extent)
    if not traced and not checks.traced(mixture):
        present = int(np.sum(np.asarray(mixture.logits) > -np.inf))
        row_checks.enough_distinct_in(data.pieces(), present)
    data, mixture, prior, tolerance = derivatives.refuse((data, mixture, prior, tolerance))
    prior = priors.resolve_prior(prior, data)
    if prior is not None:
        row_checks.weights_count_rows(weight)

    plan = LoopSettings(
        algorithm, stopping, resolve_kernel(kernel, data.n), capacity(max_steps), callback
    )
    if checkpoint is None:
        found = data.compute(run, mixture, prior, tolerance, max_steps, plan=plan)
    else:
        source_checks.untraced_checkpoint(data, mixture, prior, tolerance)
        every = checks.whole(checkpoint_every, "checkpoint_every", 1)
        found = _fit_of_state(
            *run_with_checkpoints(
                data, mixture, prior, tolerance, max_steps, plan, checkpoint, every
            )
        )
    if not traced and not checks.traced(found):
        warn_of_coarse_components(found.mixture, extent, kernel=kernel)
    # An algorithm may close over a value that is differentiated, such as a learning rate.
    return derivatives.refuse(trim_history(found, max_steps))
