"""`fit`: one loop for every algorithm."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..algorithms.em import EM
from ..algorithms.protocol import Algorithm
from ..algorithms.registry import by_name
from ..data import row_checks, source_checks
from ..data.distinct_rows import enough_distinct_in
from ..data.open_data import open_data
from ..data.rows import Rows
from ..data.sources import Data
from ..internal import checks, derivatives
from ..internal.compiling import is_little_for_one_fit
from ..kernels.choice import check_kernel, residual_numbers
from ..mixture import parameter_checks
from ..mixture.component_rounding_warnings import warn_of_coarse_components
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.prior import Prior
from .checkpoint import run_with_checkpoints
from .division import LEAST_STEPS, divide_rows, with_division
from .loop import LoopSettings, LoopState, RowConstants, prepare_rows, run_loop, start_loop
from .result import Fit
from .settings import Settings
from .solution import with_derivatives
from .units import Rise, choose_exponent, enter_unit, leave_unit


def trim_history(result: Fit, max_steps: int) -> Fit:
    """Return the fit with histories of length steps + 1, or max_steps + 1 if it is traced."""
    if checks.traced(result):
        history, passes = result.history[: max_steps + 1], result.history_passes[: max_steps + 1]
    else:  # by NumPy: slicing a JAX array, and jnp.asarray, compile once for every length
        entries = int(result.steps) + 1
        history, passes = (
            jax.device_put(np.asarray(values)[:entries])
            for values in (result.history, result.history_passes)
        )
    return dataclasses.replace(result, history=history, history_passes=passes)


def run(
    rows: Rows,
    mixture: Mixture,
    prior: Prior | None,
    tolerance: jax.Array,
    max_steps: jax.Array,
    rise: Rise | None = None,
    *,
    settings: LoopSettings,
) -> Fit:
    """Run a whole fit in one program, without any checks."""
    rows, constants = prepare_rows(rows, prior, rise)
    rows = divide_rows(rows, constants, mixture, settings)
    loop_state = start_loop(
        rows, constants, mixture, tolerance, max_steps, settings, defer_first_pass=True
    )
    loop_state = run_loop(rows, constants, loop_state, tolerance, max_steps, settings)
    return fit_of_state(loop_state, constants)


def fit_of_state(loop_state: LoopState, constants: RowConstants) -> Fit:
    """Return the result of a loop that has ended, in the coordinates of the data."""
    end, history = loop_state
    steps = jnp.maximum(end.steps, 0)  # −1 where the first pass failed
    beyond = jnp.arange(len(history.passes)) > steps
    return Fit(
        mixture=end.mixture.translate(constants.center),
        log_likelihood=end.sums.log_likelihood,
        objective=end.objective,
        steps=steps,
        passes=end.passes,
        status=end.status,
        em_gain=end.em_step.em_gain,
        history=jnp.where(beyond, end.objective, history.objective),
        history_passes=jnp.where(beyond, end.passes, history.passes),
    )


_fit_of_state = jax.jit(fit_of_state)


def fit(
    x: Any,
    mixture: Mixture,
    algorithm: Algorithm | str = EM(),
    *,
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    tolerance: ArrayLike = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    callback: Callable[..., object] | None = None,
    devices: Sequence[jax.Device] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 100,
) -> Fit:
    """Fit a mixture: maximize ℓ(θ) + log prior(θ) from a start until the stopping rule is met.

    Args:
      x: (n, d) finite rows: any array, list or table of real numbers (of NumPy, JAX, pandas,
        polars, pyarrow, xarray or PyTorch), `Observed` rows, `Blocks`, `Shards` or a `Stream`. If
        the start's scales are above 3000 or below 1/3000, whose logarithms have fewer digits, the
        fit runs on rows times a power of two, for which an array is copied.
      mixture: the start, e.g. from `initialize`.
      algorithm: a name in `ALGORITHMS`, such as "squarem" or "lbfgs"; or `EM()`,
        `Gradient(optimizer)`, or any other object with the methods of `Algorithm`.
      weight: (n,) row weights, or None for ones. A row of weight 0 is padding.
      prior: a `Prior`; None for maximum likelihood; or "default" for `Prior.from_data(x, weight)`.
      tolerance: threshold of the stopping rule. The comparison is strict, so that 0.0 runs exactly
        max_steps steps.
      max_steps: largest number of steps; 0 returns the start with its likelihood.
      kernel: how a pass is computed. "whitened" is accurate for every mixture. "natural" is faster,
        and accurate unless a component is narrow and far from the mean of the rows. "double" is the
        natural kernel in float64, for float32 rows (for float64 rows it is as accurate as
        "natural"). "auto" uses "whitened" for little work, which is up to 4096 rows and
        n k d ≤ 2²². For more work it uses "natural" if a bound on its rounding error allows it;
        else "double" for diagonal and spherical covariances in float32 on devices that are fast in
        float64, if a bound allows that; else "whitened". The bound for "natural" assumes rows in
        random order. In float32, sorted rows can change a component's moments by up to 3e-4 of
        their value, if its few rows come first and many rows of other components follow. Shuffle
        such rows, or use "double" or "whitened".
      stopping: "em-gain" stops when D(θ) < tolerance, where D is the increase of the expected
        complete-data objective by one EM step, per unit of row weight. It is the same for every
        algorithm and parametrization. "relative" stops when the objective changes by less than
        tolerance times its own size; "absolute" when it changes by less than tolerance, in nats.
      callback: a function, such as `progress()`, that is called on the host as
        callback(step, objective, D) after each step; or after every nth step if it has an attribute
        `every` with the value n. Passing the same function object again does not compile again.
        Under vmap it is called for every lane at every step.
      devices: the devices that share an array of many rows; by default all local ones.
      checkpoint: a file (.npz) that contains the mixture, the state and the history, and is written
        every `checkpoint_every` steps. Where the file exists, the fit resumes from it, with the
        same result as a fit that was not interrupted; max_steps may be larger than before. With
        several processes, all must have access to the file, and one of them writes it.
      checkpoint_every: number of steps between two checkpoints.

    Returns:
      A `Fit`, in the dtype of x (float32 for float16; the dtype of the mixture for integers).
      Its mixture, log-likelihood and objective are differentiable in forward and in reverse mode,
      with respect to x, weight and prior, as functions of the maximum that was reached; see
      `jaxgmm.solution`. Where a derivative is taken, these three are those of one Newton step
      further, so that the tolerance hardly matters. The start, the tolerance and the other fields
      have derivative 0. For `Shards` and a `Stream`, only the derivatives with respect to the prior
      are available.

    Warns:
      UserWarning: once, if float32 cannot represent a component to within 1 %: the component is too
        narrow for its distance from zero, or its covariance is nearly singular. Under jit and vmap
        this is not checked, because there are no values.

    Raises:
      ValueError: for an invalid argument; for a start that is not finite, or of which the frame of
        a family of your own is not (under jit and vmap such a lane ends as NONFINITE); for more
        components than distinct rows; for a checkpoint of other rows, another start or other
        settings. Nothing raises inside the loop: see `Fit.status`.

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
    algorithm = by_name(algorithm)
    beside = (mixture, prior, tolerance)
    data = open_data(
        x, weight, like=mixture.dtype, devices=devices, operands=beside, warn_of_columns=None
    )
    row_checks.same_features(mixture.n_features, data.n_features)
    k, d = mixture.n_components, mixture.n_features
    parameter_checks.finite_frame(mixture.covariance, k, d, "start")
    if data.columns is not None:
        data.columns.check_components(mixture.n_components)
        check_kernel(kernel, data.columns)
    mixture = jax.tree.map(lambda leaf: jnp.asarray(leaf, data.dtype), mixture)
    settings = Settings(
        algorithms=(algorithm,),
        tolerance=tolerance,
        max_steps=max_steps,
        kernel=kernel,
        stopping=stopping,
        callback=callback,
    )
    threshold, max_steps = jnp.asarray(settings.tolerance, data.dtype), settings.max_steps
    traced = checks.traced(data)
    extent = None if traced else _check_values(data, mixture)
    maximized, maximized_prior = data, priors.resolve_prior(prior, data)  # with derivatives
    data, mixture, threshold = derivatives.stop((data, mixture, threshold))
    fixed_prior: Prior | None = derivatives.stop(maximized_prior)
    if fixed_prior is not None:
        row_checks.weights_count_rows(weight)
    exponent = choose_exponent(mixture)
    data, mixture, fixed_prior, rise = enter_unit(exponent, data, mixture, fixed_prior)

    loop_settings = settings.for_loop(algorithm, data.n, residual_numbers(mixture), callback)
    every = checks.whole(checkpoint_every, "checkpoint_every", 1)
    if checkpoint is None or every >= LEAST_STEPS:
        loop_settings = with_division(loop_settings, data, [mixture])
    if checkpoint is None:
        # Without None at the end, fits share their program with `compare`.
        limits = (threshold, max_steps) if rise is None else (threshold, max_steps, rise)
        quickly = is_little_for_one_fit(data.n, mixture.means)
        operands = mixture, fixed_prior, *limits
        result = data.compute(run, *operands, quickly=quickly, settings=loop_settings)
    else:
        source_checks.untraced_checkpoint(data, mixture, fixed_prior, threshold)
        loop_state, constants = run_with_checkpoints(
            data,
            mixture,
            fixed_prior,
            rise,
            tolerance=threshold,
            max_steps=max_steps,
            settings=loop_settings,
            path=checkpoint,
            every=every,
        )
        result = _fit_of_state(loop_state, constants)
    result = leave_unit(exponent, result, rise)
    if extent is not None and not checks.traced(result):
        warn_of_coarse_components(result.mixture, extent, kernel=kernel)
    # An algorithm may close over a value that is differentiated, such as a learning rate.
    result = derivatives.stop(trim_history(result, max_steps))
    return with_derivatives(result, maximized, maximized_prior)


def _check_values(data: Data, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Return the extent of the rows; raise ValueError for rows that cannot be fitted.

    These are rows of a size that the dtype cannot square, and fewer distinct rows than components.
    """
    extent = data.extent()
    row_checks.extent_fits(*extent)
    if not checks.traced(mixture):
        present = int(np.sum(np.asarray(mixture.logits) > -np.inf))
        enough_distinct_in(data.pieces(), present)
    return extent
