"""The rows of a sweep, checked, on a device and on the host."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from ..data import row_checks
from ..data.arrays import ArrayData
from ..data.column_rounding_warnings import warn_of_coarse_columns
from ..data.columns import Columns
from ..data.observed import Observed, pack, table_of
from ..data.open_data import pad_array
from ..data.rows import Rows
from ..internal import derivatives
from ..objective.data_covariance import fill_rows


class OpenRows(NamedTuple):
    """Checked rows on a device, and on the host.

    Attributes:
      data: the rows on a device, with padding.
      x: (n, d) the features, with missing values filled.
      filled: the same on the device with padding, or None if all rows are fully observed.
      weight: (n,) row weights or None.
      order: the positions in `x` of the rows as the user passed them.
      table: the table with the names of the features, or whatever the user passed.
    """

    data: ArrayData
    x: np.ndarray
    filled: jax.Array | None
    weight: np.ndarray | None
    order: Any
    table: Any


def open_rows(key: jax.Array, x: Any, weight: Any, prior: Any, tolerance: Any) -> OpenRows:
    """Check rows and weights, and put them on a device.

    Rows that are not fully observed are packed, and ordered by how many of their values are
    missing. Other rows stay in their order. Raises ValueError if anything is traced.
    """
    order: Any = slice(None)
    columns: Columns | None = None
    if isinstance(x, Observed):
        packed = pack(x, warn_of_columns=warn_of_coarse_columns)
        array, dtype = packed.x, packed.dtype
        if not packed.columns.plain:
            columns = packed.columns
            derivatives.on_host("sweep", array, weight)
            by_gaps = np.argsort(packed.counts, kind="stable")  # type: ignore[arg-type]
            weight = row_checks.weights_of_rows(weight, len(array), dtype)
            weight = None if weight is None else np.asarray(weight)[by_gaps]
            array, order = array[by_gaps], np.argsort(by_gaps)
    else:
        array, dtype = row_checks.check_rows(x, warn_of_columns=warn_of_coarse_columns)
    derivatives.on_host("sweep", key, array, weight, prior, tolerance)
    data = pad_array(array, weight, dtype, columns=columns)
    filled = None if columns is None else data.compute_once(_fill)
    return OpenRows(
        data=data,
        x=np.asarray(data.features if filled is None else filled)[: data.n],
        filled=filled,
        weight=None if weight is None else np.asarray(data.weight)[: data.n],
        order=order,
        table=table_of(x),
    )


def _fill(rows: Rows) -> jax.Array:
    return fill_rows(rows).x
