"""`Observed`: rows that are not fully observed, with missing values, noise or labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from ..internal import checks
from ..internal.pytrees import pytree
from . import observed_checks, row_checks
from .columns import Columns, bound_of_count
from .sources import Source


@pytree
@dataclasses.dataclass(frozen=True, eq=False)
class Observed(Source):
    """Rows with missing values, noise or labels; pass it in place of an array of rows.

    A row is evidence about a complete row and its component. Functions that accept `Observed`
    compute the likelihood of the observed values, and the E-step computes expectations of the
    others. Values are assumed to be missing at random: whether a value is missing may depend on the
    observed values of the row, but not on the value itself.

    Args:
      x: (n, d) rows, with NaN for each missing value: an array or a table, `Blocks`, `Shards`, or a
        `Stream`. The blocks of a stream may be `Observed` themselves.
      noise: the known noise of the measurements: Gaussian, with mean 0, and independent among
        rows. None for exact values; variances () or (d,) for all rows, or (n, d); or covariances
        (d, d) for all rows, or (n, d, d). They are variances, not standard deviations, in squared
        units of x. 0 is exact, and infinity is missing.
      labels: (n,) the component of each row, a whole number from 0 to k − 1, or −1 where it is
        unknown.
      allowed: (n, k) booleans: the components that each row may come from.
      log_odds: (n, k) numbers that are added to the log-joint: soft evidence about the component.
        −inf excludes a component.

    Labels, `allowed` and `log_odds` add up if they are given together. With labels, components keep
    their numbers: a start has component c on the rows with label c.

    The constructor checks nothing, so that `jax.grad` and `jax.vmap` may act on any part. Functions
    that receive an `Observed` raise ValueError for parts that are not valid.

    References: missing values, Ghahramani & Jordan 1994, NIPS 6; noise, Bovy, Hogg & Roweis 2011,
    Ann. Appl. Statist. 5, eqs. 16–17.

    >>> x = [[0.0, 0.1], [2.0, np.nan], [np.nan, 1.8], [0.2, 0.0], [1.9, 2.1]]
    >>> start = jaxgmm.initialize(jax.random.key(0), jaxgmm.Observed(x), 2)
    >>> fit = jaxgmm.fit(jaxgmm.Observed(x), start)
    >>> bool(fit.converged)
    True
    """

    x: Any
    noise: Any = None
    labels: Any = None
    allowed: Any = None
    log_odds: Any = None


def table_of(x: Any) -> Any:
    """Return what a user passed as rows, without what is known beside them."""
    return x.x if isinstance(x, Observed) else x


def as_observed(x: Any) -> Observed:
    """Return rows as `Observed`, whatever they are."""
    return x if isinstance(x, Observed) else Observed(x)


class Packed(NamedTuple):
    """An array (n, width) with the parts of an `Observed`, and what its columns hold.

    `counts` are the numbers of missing values (n,) of the rows, or None if they are traced.
    """

    x: np.ndarray | jax.Array
    columns: Columns
    dtype: np.dtype
    counts: np.ndarray | None


def pack(
    observed: Observed,
    like: DTypeLike | None = None,
    warn_of_columns: Callable[..., None] | None = None,
    whole: bool = True,
    dtype: np.dtype | None = None,
) -> Packed:
    """Check the parts of an `Observed` over one array, and pack them into one array.

    Args:
      observed: the rows; its x is an array.
      like: the dtype for whole numbers; None for JAX's default.
      warn_of_columns: see `row_checks.check_rows`.
      whole: whether these are all rows, so that each column must have a value.
      dtype: the dtype of the packed array; by default the one to compute in.
    """
    given = observed.x
    if isinstance(given, np.ma.MaskedArray):  # masked entries are missing
        given = np.ma.filled(given.astype(np.promote_types(given.dtype, np.float32)), np.nan)
    x, computed = row_checks.check_rows(
        given, like=like, warn_of_columns=warn_of_columns, missing=True
    )
    dtype = computed if dtype is None else dtype
    n, d = x.shape
    x, noise, shared = observed_checks.noise_of_rows(observed.noise, x)
    labels = observed_checks.labels(observed.labels, n)
    odds = observed_checks.log_odds(observed.allowed, observed.log_odds, n, dtype)
    parts = [part for part in (x, noise, labels, odds) if part is not None]
    traced = checks.traced(*parts)
    counts = None if checks.traced(x) else np.isnan(np.asarray(x)).sum(axis=1)
    if counts is not None and whole:
        observed_checks.every_column_has_a_value(x, observed.x)
    if not traced:
        observed_checks.every_row_is_allowed(labels, odds)
    columns = Columns(
        features=d,
        noise=0 if noise is None or shared else noise.shape[1],
        common_noise=noise.shape[1] if noise is not None and shared else 0,
        labeled=labels is not None,
        components=0 if odds is None else odds.shape[1],
        most=d if counts is None else bound_of_count(int(counts.max()), d),
        largest_label=-1 if labels is None or checks.traced(labels) else int(np.max(labels)),
    )
    table: Any
    if traced:
        table = jnp.concatenate([jnp.asarray(part, dtype).reshape(n, -1) for part in parts], axis=1)
    elif len(parts) == 1:
        table = checks.narrow(np.asarray(x), "x", dtype)
    else:
        table = np.empty((n, columns.width), dtype)
        narrow = [checks.narrow(np.asarray(part), "x", dtype).reshape(n, -1) for part in parts]
        np.concatenate(narrow, axis=1, out=table)
    return Packed(table, columns, dtype, counts)
