"""`compare`: several algorithms on one objective, from the same starts, under one stopping rule and
one clock."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ..algorithms.protocol import Algorithm
from ..algorithms.registry import resolve_algorithms as named_algorithms
from ..data import row_checks, source_checks
from ..data.column_precision import warn_of_coarse_columns
from ..data.dependence import explain_dependence
from ..data.open_data import open_data
from ..families.registry import family_class
from ..fitting.fit import MOST_STEPS, capacity, run, trim_history
from ..fitting.loop import LoopSettings
from ..fitting.result import Fit
from ..fitting.status import Status
from ..fitting.stopping import STOPPING
from ..internal import checks, derivatives
from ..internal.feature_names import resolve_feature_names
from ..kernels.choice import KERNELS, resolve_kernel
from ..objective import prior as priors
from ..objective.prior import Prior
from ..starts.initialization import initialize
from ..starts.methods import METHODS
from .evaluation import evaluate_fits, forward_price
from .result import Comparison


def compare(
    key: jax.Array,
    x,
    n_components: int,
    algorithms: Sequence[Algorithm | str] | Mapping[str, Algorithm | str],
    *,
    restarts: int = 10,
    family: str = "full",
    weight=None,
    prior: Prior | str | None = "default",
    method: str = "k-means++",
    tolerance: float = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    side_by_side: bool = False,
    features: Sequence[str] | None = None,
    callback: Callable[[str, int, Fit], None] | None = None,
) -> Comparison:
    """Runs every algorithm from every start.

    Args:
      key: a JAX random key. Start r is initialize(jax.random.split(key, restarts)[r], x,
        n_components).
      x: (n, d) rows: an array, which stays on one device, or `Blocks`, `Shards` or a `Stream`.
      n_components: k.
      algorithms: instances, e.g. [EM(), SQUAREM(), Gradient(optax.lbfgs)], or names in
        `ALGORITHMS`; a dict gives them names of your own.
      restarts: how many starts.
      family: a name in `FAMILIES`.
      method: how starts are made, as for `initialize`.
      weight, prior, tolerance, max_steps, kernel, stopping: as for `fit`, the same for every
        algorithm. "auto" is settled once for all: whitened up to 4096 rows, else by `fit`'s rule.
      side_by_side: False runs the starts one after another, which is the fair clock. True runs them
        under vmap, which can be quicker in all; but then every start waits for the slowest, a line
        search for the longest, and the time is shared out by passes. Not for a `Stream`.
      features: names of the d features, for messages; default: the columns of x if it is a table
        with names, else numbers.
      callback: called on the host with (name, start, `Fit`) after each fit.

    Returns:
      A `Comparison`, in NumPy arrays. The best known optimum is the best end of all, polished in
      float64, and every end is judged there in float64. A fit that fails keeps its place, with its
      status.

    Warns:
      UserWarning: where float32 numbers lie too far apart for a column's spread; where every fit
        failed.

    Raises:
      ValueError: for an argument that is not as said; for an unknown algorithm, or two that share a
        name.

    >>> x = jaxgmm.simulate(jax.random.key(0), 900, 2, 3, separation=2.0).x
    >>> compared = jaxgmm.compare(jax.random.key(1), x, 3, ["em", "squarem"], restarts=5)
    >>> compared
    Comparison(em, squarem; 5 starts)
    >>> [row["algorithm"] for row in compared.table()]
    ['em', 'squarem']
    >>> compared.cost("em").shape
    (5,)
    """
    checks.random_key(key)
    family_class(family)
    k = checks.whole(n_components, "n_components", 1)
    contenders = named_algorithms(algorithms)
    restarts = checks.whole(restarts, "restarts", 1)
    # The fair clock is that of one device, unless x says otherwise.
    data = open_data(
        x, weight, devices=jax.local_devices()[:1], warn_of_columns=warn_of_coarse_columns
    )
    derivatives.on_host("compare", key, data, prior, tolerance)
    if side_by_side:
        source_checks.in_memory(data)
    prior = priors.resolve_prior(prior, data)
    row_checks.weights_count_rows(weight)
    checks.choice(method, "method", METHODS)
    tolerance = checks.not_negative(tolerance, "tolerance")
    max_steps = checks.whole(max_steps, "max_steps", 0, MOST_STEPS)
    checks.choice(kernel, "kernel", ("auto", *KERNELS))
    checks.choice(stopping, "stopping", STOPPING)
    checks.callback(callback)
    row_checks.extent_fits(*data.extent())
    row_checks.enough_distinct_in(data.pieces(), k)

    kernel = resolve_kernel(kernel, data.n)
    starts = [
        initialize(each, x, k, family=family, method=method, weight=weight)
        for each in jax.random.split(key, restarts)
    ]
    clock = _together if side_by_side else _one_by_one
    fits, seconds, compile_seconds = {}, {}, {}
    for name, algorithm in contenders.items():
        plan = LoopSettings(algorithm, stopping, kernel, capacity(max_steps), None)

        def climb_from(start, most, plan=plan):
            return data.compute(run, start, prior, tolerance, most, plan=plan)

        found, seconds[name], compile_seconds[name] = clock(climb_from, starts, max_steps)
        for start, one in enumerate(found):
            if callback is not None:
                callback(name, start, one)
        fits[name] = _stack([jax.device_get(one) for one in found])

    if all((found.status >= Status.NONFINITE).all() for found in fits.values()):
        first, _ = next(iter(data.pieces()))
        names = resolve_feature_names(features, x, data.n_features)
        warnings.warn(
            explain_dependence("Every fit failed", np.asarray(first), names), stacklevel=2
        )

    total = float(data.n if weight is None else np.sum(np.asarray(weight, np.float64)))
    ends = evaluate_fits(data, total, prior, fits)
    forward = {name: _forward_passes(contenders[name], fits[name]) for name in fits}
    blind = any(passes.any() for passes in forward.values())
    return Comparison(
        fits=fits,
        starts=_stack([jax.device_get(start) for start in starts]),
        **ends._asdict(),
        seconds=seconds,
        compile_seconds=compile_seconds,
        forward_passes=forward,
        forward_price=forward_price(data, starts[0]) if blind else np.nan,
        total_weight=total,
    )


def _forward_passes(algorithm: Algorithm, fits: Fit) -> np.ndarray:
    """How many of the passes needed the log-likelihood alone, where an algorithm has such."""
    count = getattr(algorithm, "forward_passes", None)
    return np.zeros(len(fits.status)) if count is None else count(fits.steps, fits.passes)


def _stack(trees: list):
    """NumPy leaves along a new leading axis; histories as long as the longest, the last value
    repeated."""
    longest = max((len(one.history) for one in trees if isinstance(one, Fit)), default=0)

    def padded(*leaves):
        leaves = [np.asarray(leaf) for leaf in leaves]
        if leaves[0].ndim == 1 and len({len(leaf) for leaf in leaves}) > 1:
            leaves = [np.pad(leaf, (0, longest - len(leaf)), "edge") for leaf in leaves]
        return np.stack(leaves)

    return jax.tree.map(padded, *trees)


def _one_by_one(climb_from, starts, max_steps):
    """The fits, the seconds of each, and those of compiling."""
    began = time.perf_counter()
    jax.block_until_ready(climb_from(starts[0], 0))
    compiled = time.perf_counter() - began
    found, seconds = [], []
    for start in starts:
        began = time.perf_counter()
        one = jax.block_until_ready(climb_from(start, max_steps))
        seconds.append(time.perf_counter() - began)
        found.append(trim_history(one, max_steps))
    return found, np.array(seconds), compiled


def _together(climb_from, starts, max_steps):
    """As `_one_by_one`, for starts side by side: the seconds are shared out by passes."""
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    every = jax.vmap(climb_from, in_axes=(0, None))
    began = time.perf_counter()
    jax.block_until_ready(every(batch, 0))
    compiled = time.perf_counter() - began
    began = time.perf_counter()
    fits = jax.device_get(every(batch, max_steps))
    elapsed = time.perf_counter() - began
    found = [
        trim_history(jax.tree.map(lambda leaf, i=i: leaf[i], fits), max_steps)
        for i in range(len(starts))
    ]
    return found, elapsed * fits.passes / np.sum(fits.passes), compiled
