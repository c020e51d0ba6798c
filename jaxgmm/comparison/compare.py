"""`compare`: several algorithms on one objective, from the same starts, with one stopping rule."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..algorithms.protocol import Algorithm
from ..algorithms.registry import resolve_algorithms
from ..data import row_checks, source_checks
from ..data.column_precision import warn_of_coarse_columns
from ..data.dependence import explain_dependence
from ..data.observed import Observed, table_of
from ..data.open_data import open_data
from ..data.sources import Data
from ..families.family import Family
from ..families.registry import family_class
from ..fitting.fit import run, trim_history
from ..fitting.result import Fit
from ..fitting.settings import Settings
from ..fitting.status import Status
from ..internal import checks, derivatives
from ..internal.feature_names import resolve_feature_names
from ..internal.table_columns import column_names
from ..kernels.choice import check_kernel, residual_numbers
from ..mixture.mixture import Mixture
from ..objective import prior as priors
from ..objective.prior import Prior
from ..starts.initialization import initialize
from ..starts.methods import METHODS
from .evaluation import evaluate_fits, forward_price
from .result import Comparison

# A function of a start and a number of steps that runs one algorithm.
RunFrom = Callable[[Mixture, int], Fit]


def compare(
    key: jax.Array,
    x: Any,
    n_components: int,
    algorithms: Sequence[Algorithm | str] | Mapping[str, Algorithm | str],
    *,
    restarts: int = 10,
    family: str | type[Family] = "full",
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    method: str = "k-means++",
    tolerance: ArrayLike = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    side_by_side: bool = False,
    features: Sequence[str] | None = None,
    callback: Callable[[str, int, Fit], object] | None = None,
) -> Comparison:
    """Run every algorithm from every start.

    Args:
      key: a JAX random key. Start r is initialize(jax.random.split(key, restarts)[r], x,
        n_components).
      x: (n, d) rows: an array, which stays on one device, or `Blocks`, `Shards` or a `Stream`.
      n_components: number of components k.
      algorithms: instances, e.g. [EM(), SQUAREM(), Gradient(optax.lbfgs)], or names in
        `ALGORITHMS`. The keys of a dict replace their names.
      restarts: number of starts.
      family: a name in `FAMILIES`, or a family such as `factors(2)`.
      weight: (n,) row weights, or None for ones.
      prior: as for `fit`; this and the next four arguments are the same for every algorithm.
      method: how starts are made, as for `initialize`.
      tolerance: as for `fit`.
      max_steps: as for `fit`.
      kernel: as for `fit`. With `side_by_side`, "auto" means "whitened", because fits in one batch
        cannot choose kernels separately.
      stopping: as for `fit`.
      side_by_side: False runs the starts one after another, which gives fair times. True runs them
        under vmap, which can take less time in all. Every start then waits for the slowest one, and
        for the longest line search, and the time is divided by passes. Not for a `Stream`.
      features: names of the d features, for messages; by default the columns of x if it is a table
        with names, else numbers.
      callback: a function that is called on the host with (name, start, `Fit`) after each fit.

    Returns:
      A `Comparison`, in NumPy arrays. The best known optimum is the best of all ends, polished in
      float64, and every end is evaluated in float64. A fit that fails is included, with its status.

    Warns:
      UserWarning: where float32 is too coarse for the spread of a column; where every fit failed.

    Raises:
      ValueError: for an invalid argument; for an unknown algorithm, or two with the same name.

    >>> x = jaxgmm.simulate(jax.random.key(0), 500, 2, 3, separation=2.0).x
    >>> compared = jaxgmm.compare(jax.random.key(1), x, 3, ["em", "squarem"], restarts=5)
    >>> compared
    Comparison(em, squarem; 5 starts)
    >>> [row["algorithm"] for row in compared.table()]
    ['em', 'squarem']
    >>> compared.cost("em").shape
    (5,)
    """
    checks.random_key(key)
    k = checks.whole(n_components, "n_components", 1)
    family_class(family, k)
    by_name = resolve_algorithms(algorithms)
    restarts = checks.whole(restarts, "restarts", 1)
    table = table_of(x)
    if (
        not isinstance(x, Observed) and column_names(x) is not None
    ):  # it is converted once, not for every start
        x, _ = row_checks.check_rows(x, warn_of_columns=None)
    weight = None if weight is None else checks.array(weight, "weight")
    # Times are fair on one device; only Shards and a Stream choose their devices themselves.
    data = open_data(
        x, weight, devices=jax.local_devices()[:1], warn_of_columns=warn_of_coarse_columns
    )
    names = resolve_feature_names(features, table, data.n_features)
    if data.columns is not None:
        data.columns.check_components(k)
        check_kernel(kernel, data.columns)
    derivatives.on_host("compare", key, data, prior, tolerance)
    if side_by_side:
        source_checks.in_memory(data)
    prior = priors.resolve_prior(prior, data)
    row_checks.weights_count_rows(weight)
    checks.choice(method, "method", METHODS)
    settings = Settings(
        algorithms=tuple(by_name.values()),
        tolerance=tolerance,
        max_steps=max_steps,
        kernel="whitened" if side_by_side and kernel == "auto" else kernel,
        stopping=stopping,
        callback=callback,
    )
    row_checks.extent_fits(*data.extent())
    row_checks.enough_distinct_in(data.pieces(), k)

    new_start = lambda key: initialize(key, x, k, family=family, method=method, weight=weight)
    starts = [new_start(each) for each in jax.random.split(key, restarts)]
    run_starts = _run_batch if side_by_side else _run_one_by_one
    fits, seconds, compile_seconds = {}, {}, {}
    for name, algorithm in by_name.items():
        loop_settings = settings.for_loop(algorithm, data.n, residual_numbers(starts[0]))

        def run_from(start: Mixture, most: int, loop_settings=loop_settings) -> Fit:
            return data.compute(run, start, prior, settings.tolerance, most, settings=loop_settings)

        of_starts, seconds[name], compile_seconds[name] = run_starts(
            run_from, starts, settings.max_steps
        )
        for start, each in enumerate(of_starts):
            if callback is not None:
                callback(name, start, each)
        fits[name] = _stack([jax.device_get(each) for each in of_starts])

    _warn_if_all_failed(fits, data, names)
    total = float(data.n if weight is None else np.sum(np.asarray(weight), dtype=np.float64))
    ends = evaluate_fits(data, total, prior, fits)
    forward = {name: _forward_passes(by_name[name], fits[name]) for name in fits}
    has_forward = any(passes.any() for passes in forward.values())
    return Comparison(
        fits=fits,
        starts=_stack([jax.device_get(start) for start in starts]),
        **ends._asdict(),
        seconds=seconds,
        compile_seconds=compile_seconds,
        forward_passes=forward,
        forward_price=forward_price(data, starts[0]) if has_forward else np.nan,
        total_weight=total,
    )


def _warn_if_all_failed(fits: dict[str, Fit], data: Data, names: list[str]) -> None:
    """Warn if every fit failed, with a stack level that points at the user's line."""
    if not all((each.status >= Status.NONFINITE).all() for each in fits.values()):
        return
    first, _ = next(iter(data.pieces()))
    message = explain_dependence("Every fit failed", np.asarray(first), names)
    warnings.warn(message, stacklevel=3)


def _forward_passes(algorithm: Algorithm, fits: Fit) -> np.ndarray:
    """Return the number of passes for the log-likelihood alone, which only some algorithms make."""
    count = getattr(algorithm, "forward_passes", None)
    return np.zeros(len(fits.status)) if count is None else count(fits.steps, fits.passes)


def _stack(trees: list) -> Any:
    """Stack the leaves along a new leading axis, as NumPy arrays.

    Histories are extended to the longest one by repeating their last value.
    """
    longest = max((len(tree.history) for tree in trees if isinstance(tree, Fit)), default=0)

    def stack(*leaves: ArrayLike) -> np.ndarray:
        arrays = [np.asarray(leaf) for leaf in leaves]
        if arrays[0].ndim == 1 and len({len(array) for array in arrays}) > 1:
            arrays = [np.pad(array, (0, longest - len(array)), "edge") for array in arrays]
        return np.stack(arrays)

    return jax.tree.map(stack, *trees)


def _run_one_by_one(
    run_from: RunFrom, starts: list[Mixture], max_steps: int
) -> tuple[list[Fit], np.ndarray, float]:
    """Return the fits, the seconds of each, and the seconds of compilation and one pass."""
    began = time.perf_counter()
    jax.block_until_ready(run_from(starts[0], 0))
    compile_seconds = time.perf_counter() - began
    fits, seconds = [], []
    for start in starts:
        began = time.perf_counter()
        fit = jax.block_until_ready(run_from(start, max_steps))
        seconds.append(time.perf_counter() - began)
        fits.append(trim_history(fit, max_steps))
    return fits, np.array(seconds), compile_seconds


def _run_batch(
    run_from: RunFrom, starts: list[Mixture], max_steps: int
) -> tuple[list[Fit], np.ndarray, float]:
    """Return what `_run_one_by_one` does, from one batch whose time is divided by passes."""
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    run_all = jax.vmap(run_from, in_axes=(0, None))
    began = time.perf_counter()
    jax.block_until_ready(run_all(batch, 0))
    compile_seconds = time.perf_counter() - began
    began = time.perf_counter()
    batched = jax.device_get(run_all(batch, max_steps))
    elapsed = time.perf_counter() - began
    fits = [
        trim_history(jax.tree.map(lambda leaf, i=i: leaf[i], batched), max_steps)
        for i in range(len(starts))
    ]
    return fits, elapsed * batched.passes / np.sum(batched.passes), compile_seconds
