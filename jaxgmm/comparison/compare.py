"""`compare`: several algorithms on one objective, from the same starts, with one stopping rule."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, overload

import jax
from jax.typing import ArrayLike

from ..algorithms.protocol import Algorithm
from ..algorithms.registry import resolve_algorithms
from ..data import row_checks, source_checks
from ..data.column_rounding_warnings import warn_of_coarse_columns
from ..data.distinct_rows import enough_distinct_in
from ..data.observed import Observed, table_of
from ..data.open_data import open_data
from ..families.family import Family
from ..families.registry import family_class
from ..fitting.result import Fit
from ..fitting.settings import Settings
from ..internal import checks, derivatives
from ..internal.data_frames import column_names
from ..internal.feature_names import resolve_feature_names
from ..kernels.choice import check_kernel
from ..objective import prior as priors
from ..objective.prior import Prior
from ..starts.initialization import initialize
from ..starts.methods import METHODS
from .budget import Budget, parse_budget
from .checkpoint import FinishedFits
from .contest import Contest
from .result import Comparison
from .several import Comparisons


@overload
def compare(
    key: jax.Array,
    x: dict[str, Any],
    n_components: int | dict[str, int],
    algorithms: Sequence[Algorithm | str] | Mapping[str, Algorithm | str],
    *,
    restarts: int = 10,
    family: str | type[Family] = "full",
    weight: ArrayLike | dict[str, ArrayLike | None] | None = None,
    prior: Prior | str | dict[str, Prior | str | None] | None = "default",
    method: str = "k-means++",
    tolerance: ArrayLike = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    side_by_side: bool = False,
    budget: str | None = None,
    features: Sequence[str] | dict[str, Sequence[str] | None] | None = None,
    callback: Callable[[str, int, Fit], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Comparisons: ...


@overload
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
    budget: str | None = None,
    features: Sequence[str] | None = None,
    callback: Callable[[str, int, Fit], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Comparison: ...


def compare(
    key: jax.Array,
    x: Any,
    n_components: Any,
    algorithms: Sequence[Algorithm | str] | Mapping[str, Algorithm | str],
    *,
    restarts: int = 10,
    family: str | type[Family] = "full",
    weight: Any = None,
    prior: Any = "default",
    method: str = "k-means++",
    tolerance: ArrayLike = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    side_by_side: bool = False,
    budget: str | None = None,
    features: Any = None,
    callback: Callable[[str, int, Fit], object] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Comparison | Comparisons:
    """Run every algorithm from every start, on one data set or on several.

    Args:
      key: a JAX random key. Start r is initialize(jax.random.split(key, restarts)[r], x,
        n_components).
      x: (n, d) rows: an array, which stays on one device, or `Blocks`, `Shards` or a `Stream`. Or a
        dictionary of several data sets by name, which are compared one after another with the same
        key. `n_components`, `weight`, `prior` and `features` are then one value for all, or a
        dictionary with a value for each name.
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
      budget: the cost at which each fit ends, as a number and its unit: "200 passes" or
        "1.5 seconds". A fit that reaches it has the status MAX_STEPS. A move that has begun is
        completed, so a fit can exceed its passes by less than one move. The clock is read after
        every fiftieth of a budget in seconds. None sets no limit.
      features: names of the d features, for messages; by default the columns of x if it is a table
        with names, else numbers.
      callback: a function that is called on the host with (name, start, `Fit`) after each fit, such
        as `progress()`. With several data sets the name is "data: algorithm". If it has a method
        `expect`, that is called first with the number of fits.
      checkpoint: a file (.npz) to which finished fits are written as the comparison proceeds, at
        most once a second. Where the file exists, the comparison continues from it, with the same
        result as if it had not been interrupted.

    Returns:
      A `Comparison`, in NumPy arrays, or `Comparisons` by name for several data sets. The best
      known optimum is the best of all ends, polished in float64, and every end is evaluated in
      float64. A fit that fails is included, with its status.

    Warns:
      UserWarning: where float32 is too coarse for the spread of a column; where every fit failed.

    Raises:
      ValueError: for an invalid argument; for an unknown algorithm, or two with the same name; for
        a checkpoint of another comparison.

    >>> x = jaxgmm.simulate(jax.random.key(0), 500, 2, 3, separation=2.0).x
    >>> compared = jaxgmm.compare(jax.random.key(1), x, 3, ["em", "squarem"], restarts=5)
    >>> compared
    Comparison(em, squarem; 5 starts)
    >>> [row["algorithm"] for row in compared.table()]
    ['em', 'squarem']
    >>> compared.cost("em").shape
    (5,)
    """
    by_data = _by_data(x)
    options: dict[str, Any] = dict(
        family=family, method=method, tolerance=tolerance, max_steps=max_steps, kernel=kernel,
        stopping=stopping, side_by_side=side_by_side, budget=parse_budget(budget),
        callback=callback, restarts=checks.whole(restarts, "restarts", 1),
    )  # fmt: skip
    checks.random_key(key)
    by_name = resolve_algorithms(algorithms)
    contests = []
    for name, rows in by_data.items():
        own: dict[str, Any] = {
            "n_components": n_components,
            "weight": weight,
            "prior": prior,
            "features": features,
        }
        own = {what: _own(value, what, name, by_data) for what, value in own.items()}
        contests.append(_check(key, name, rows, by_name, **own, **options))
    _announce(callback, len(contests) * len(by_name) * contests[0].restarts)
    with FinishedFits(checkpoint) as finished:
        results = {each.name: each.run(key, finished) for each in contests}
    return Comparisons(results) if isinstance(x, dict) else results[""]


def _by_data(x: Any) -> dict[str, Any]:
    """Return data sets by name; rows alone have the name ""."""
    if not isinstance(x, dict):
        return {"": x}
    if not x or not all(isinstance(name, str) and name for name in x):
        raise ValueError(
            "x is a dictionary of data sets, and needs at least one: give each a name, e.g. "
            "{'iris': rows}."
        )
    return x


def _own(value: Any, what: str, name: str, names: Collection[str]) -> Any:
    """Return an argument's value for one data set; a dictionary has one for each."""
    if not isinstance(value, dict):
        return value
    if set(value) != set(names):
        raise ValueError(
            f"{what} has the names {sorted(map(str, value))}, and x has {sorted(names)}: give one "
            "value for each data set, or one for all."
        )
    return value[name]


def _announce(callback: Any, fits: int) -> None:
    """Tell a callback with a method `expect` how many fits there will be."""
    if hasattr(callback, "expect"):
        callback.expect(fits)


def _check(
    key: jax.Array,
    name: str,
    x: Any,
    by_name: dict[str, Algorithm],
    *,
    n_components: int,
    weight: ArrayLike | None,
    prior: Prior | str | None,
    features: Sequence[str] | None,
    restarts: int,
    family: str | type[Family],
    method: str,
    tolerance: ArrayLike,
    max_steps: int,
    kernel: str,
    stopping: str,
    side_by_side: bool,
    budget: Budget | None,
    callback: Callable[[str, int, Fit], object] | None,
) -> Contest:
    """Check the arguments of a comparison on one data set."""
    k = checks.whole(n_components, "n_components", 1)
    family_class(family, k)
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
        if budget is not None and budget.unit == "seconds":
            raise ValueError(
                "a budget in seconds needs starts that run one after another: give it in passes, "
                "or leave side_by_side out."
            )
    resolved = priors.resolve_prior(prior, data)
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
    enough_distinct_in(data.pieces(), k)
    return Contest(
        name=name, data=data, weight=weight, prior=resolved, restarts=restarts, by_name=by_name,
        new_start=lambda key: initialize(key, x, k, family=family, method=method, weight=weight),
        settings=settings, budget=budget, side_by_side=side_by_side, features=names,
    )  # fmt: skip
