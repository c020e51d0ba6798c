"""`sweep`: fits for every number of components, from many starts, in several families."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from ..algorithms.em import EM
from ..algorithms.protocol import Algorithm
from ..algorithms.registry import by_name
from ..batches.lane_programs import DEVICES, LaneSettings
from ..batches.lane_records import LaneData
from ..data import row_checks, source_checks
from ..data.columns import Columns
from ..data.distinct_rows import distinct_rows, enough_distinct_rows
from ..families.family import Family
from ..families.registry import family_classes, family_name
from ..fitting.settings import Settings
from ..fitting.spurious import spacing_of
from ..internal import checks
from ..internal.feature_names import resolve_feature_names
from ..kernels.choice import check_kernel
from ..objective import prior as priors
from ..objective.prior import Prior
from ..starts.methods import METHODS
from .component_remarks import RowTable
from .open_rows import open_rows
from .run_families import Progress, run_families
from .schedules import STRATEGIES
from .sweep_result import Sweep

# The fields of a `Sweep` that have a key for each family.
FIELDS = ("fits", "entropy", "artifact", "outlier", "held_out", "seconds", "compile_seconds")


def sweep(
    key: jax.Array,
    x: Any,
    n_components: Sequence[int] | int,
    *,
    restarts: int = 16,
    families: Iterable[str | type[Family]] | str | type[Family] = ("full",),
    algorithm: Algorithm | str = EM(),
    weight: ArrayLike | None = None,
    prior: Prior | str | None = "default",
    strategy: str = "halving",
    folds: int = 0,
    method: str = "k-means++",
    tolerance: ArrayLike = 1e-9,
    max_steps: int = 1000,
    kernel: str = "auto",
    stopping: str = "em-gain",
    devices: Sequence[jax.Device] | None = None,
    features: Sequence[str] | None = None,
    callback: Callable[[Progress], object] | None = None,
) -> Sweep:
    """Fit mixtures of several numbers of components, from many starts, in one or more families.

    Args:
      key: a JAX random key. Restart r starts at
        initialize(jax.random.split(key, restarts)[r], x, K).
      x: (n, d) rows, or `Observed` rows. With labels, every K exceeds the largest label; smaller
        ones are left out.
      n_components: the numbers of components, e.g. range(1, 11).
      restarts: number of starts for each K.
      families: names in `FAMILIES` and families such as `factors(2)`. "all" stands for mclust's
        fourteen, or for "E" and "V" if there is one feature. If there is little work, five or more
        of the fourteen are fitted by one program, which takes less time to compile than one for
        each.
      algorithm: as for `fit`.
      weight: (n,) row weights, or None for ones.
      prior: as for `fit`.
      strategy: "halving" runs all starts for a few steps, the better ones for more, and the best
        ones to their end; it also starts each K from the best fit of K − 1 with one component
        split. "full" runs every start to its end.
      folds: 0, or a number of folds, at least 2, for cross-validation: every K is also fitted with
        each fold of the rows left out, and the log-likelihoods of the rows left out are summed.
      method: how starts are made, as for `initialize`.
      tolerance: as for `fit`.
      max_steps: as for `fit`.
      kernel: "whitened", "natural", "double", or "auto". With "auto", the fits of a batch share the
        features of the natural kernel if a step takes much work, and make their last steps by the
        rule of `fit` (without its preference for "whitened" for little work). A program of many
        families that runs for a short time uses only the double kernel.
      stopping: as for `fit`.
      devices: the devices that share the fits; by default all local ones.
      features: names of the d features, for messages; by default the columns of x if it is a table
        with names, else numbers.
      callback: a function that is called on the host with a `Progress`, ten times a second, or
        after every step of a batch where a step takes longer.

    Returns:
      A `Sweep`. A K larger than the number of distinct rows is listed there as impossible, and the
      others run.

    Warns:
      UserWarning: where float32 is too coarse for the spread of a column. Whether float32
        represents each component to 1 % is checked by `fit`, not here.

    Raises:
      ValueError: for an invalid argument; for an empty or repeated list of K; if every K is larger
        than the number of distinct rows.

    (Halving as in Jamieson & Talwalkar 2016, AISTATS; a split of a component as in Ueda, Nakano,
    Ghahramani & Hinton 2000, Neural Computation 12.)

    >>> x = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0).x
    >>> found = jaxgmm.sweep(jax.random.key(1), x, range(1, 4), restarts=4)
    >>> found
    Sweep(full; K = 1, 2, 3; 4 restarts)
    >>> found.best("bic").mixture
    Mixture(full, K = 2, d = 2, float32)
    >>> [row["K"] for row in found.table()], found.fits["full"].objective.shape
    ([1, 2, 3], (3, 8))
    """
    checks.random_key(key)
    ks = checks.distinct_wholes(n_components, "n_components", 1)
    restarts = checks.whole(restarts, "restarts", 1)
    algorithm = by_name(algorithm)
    found = open_rows(key, x, weight, prior, tolerance)
    d, columns, x, counts = found.data.n_features, found.data.columns, found.x, found.weight
    kinds = _family_classes(families, max(ks), d)
    names = resolve_feature_names(features, found.table, d)
    if columns is not None:
        ks = _enough_for_labels(ks, columns)
        check_kernel(kernel, columns)
    row_checks.weights_count_rows(counts)
    row_checks.squares_fit(x)
    default_prior = isinstance(prior, str)
    prior = _check_prior(prior, x)
    checks.choice(strategy, "strategy", STRATEGIES)
    checks.choice(method, "method", METHODS)
    settings = Settings(
        algorithms=(algorithm,), tolerance=tolerance, max_steps=max_steps, kernel=kernel,
        stopping=stopping, callback=callback,
    )  # fmt: skip
    folds = row_checks.folds(folds, len(x))
    source_checks.devices(devices)
    mesh = Mesh(np.array(jax.local_devices() if devices is None else devices), (DEVICES,))
    enough_distinct_rows(x, counts, min(ks))
    distinct = distinct_rows(x, counts, max(ks))
    possible = tuple(k for k in ks if k <= distinct)
    fold, most_in_folds = _assign_folds(key, x, counts, folds, max(ks))
    data = LaneData(
        x=found.data.x,
        weight=found.data.weight,
        fold=None if fold is None else np.pad(fold, (0, found.data.padding)),
        steps=spacing_of(x),
        prior=prior,
        tolerance=np.asarray(settings.tolerance, x.dtype),
        max_steps=np.int32(settings.max_steps),
        key=key,
        filled=found.filled,
    )

    lane_settings = LaneSettings(
        algorithm=algorithm, family=kinds[0], k=max(possible), restarts=restarts, method=method,
        kernel=settings.kernel, stopping=settings.stopping, default_prior=default_prior,
        folds=folds, mesh=mesh, columns=columns,
        splits=strategy == "halving" and any(k - 1 in possible for k in possible),
    )  # fmt: skip
    results = run_families(kinds, lane_settings, data, possible, strategy, callback)
    if folds:  # where a fold leaves fewer distinct rows than K, there is no fit of K
        for result in results.values():
            result["held_out"][np.array(possible) > most_in_folds] = np.nan
    return Sweep(
        **_by_field(results),
        total_weight=np.float64(len(x)) if counts is None else np.sum(counts, dtype=np.float64),
        n_components=possible,
        restarts=restarts,
        impossible=tuple(k for k in ks if k not in possible),
        rows=RowTable(x[found.order], names),
    )


def _family_classes(families: Any, k: int, d: int) -> list[type[Family]]:
    """Return the classes of the families; raise ValueError for an unknown or repeated one."""
    if not isinstance(families, Iterable | type):
        raise ValueError(f"families is {families!r}: give a name, or a list of names.")
    kinds = family_classes(families, k, d)
    checks.not_repeated([family_name(kind) for kind in kinds], "families")
    return kinds


def _enough_for_labels(ks: tuple[int, ...], columns: Columns) -> tuple[int, ...]:
    """Return the numbers of components that have one for every label.

    Raises:
      ValueError: if none has, or if what is known of the rows' components fixes another number.
    """
    for k in ks if columns.components else [max(ks)]:
        columns.check_components(k)
    return tuple(k for k in ks if k > columns.largest_label)


def _check_prior(prior: Prior | str | None, x: np.ndarray) -> Prior | None:
    """Return the validated prior; None for the default one, which is made for each fold."""
    if isinstance(prior, str):
        checks.choice(prior, "prior", ("default",))
        return None
    return priors.check_prior(prior, x.shape[1], x.dtype)


def _assign_folds(
    key: jax.Array, x: np.ndarray, weight: np.ndarray | None, folds: int, most: int
) -> tuple[np.ndarray | None, int]:
    """Return each row's fold (n,) from 1, and the least number of distinct rows without a fold.

    The fold is None without folds. Distinct rows are counted up to `most`.
    """
    if not folds:
        return None, most
    permute = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation
    fold = permute(1 + np.arange(len(x), dtype=np.int32) % folds)
    counts = np.ones(len(x)) if weight is None else weight
    distinct = lambda out: distinct_rows(x, np.where(fold == out, 0, counts), most)
    return fold, min(distinct(out) for out in range(1, folds + 1))


def _by_field(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the results of all families, as a dictionary of families for each field."""
    return {
        field: {family: result[field] for family, result in results.items()} for field in FIELDS
    }
