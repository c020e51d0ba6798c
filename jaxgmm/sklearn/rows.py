"""Rows as scikit-learn's estimators receive them: checks of values, names and features."""

from __future__ import annotations

import sys
from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from ..internal.array_like import to_array
from ..internal.data_frames import column_names


def plain_weight(sample_weight: Any) -> Any:
    """Return row weights of any kind as an array; None and a single number stay as they are."""
    if sample_weight is None or isinstance(sample_weight, Number):
        return sample_weight
    return to_array(sample_weight, "sample_weight")


def _with_names(X: Any, rows: np.ndarray) -> Any:
    """Return a table from which scikit-learn reads names of features, or rows without names.

    Only distinct strings are names: scikit-learn raises an error for others in some tables.
    """
    names = column_names(X)
    if not names or any(type(name) is not str for name in names) or len({*names}) < len(names):
        return rows
    # scikit-learn does not read the names of these two.
    if hasattr(X, "data_vars"):  # a Dataset of xarray
        return X.isel(dict.fromkeys(X.dims, slice(0))).to_dataframe()[names]
    if type(X).__name__ == "RecordBatch":
        return sys.modules["pyarrow"].Table.from_batches([X])  # its module is already imported
    return X


class RowsMixin:
    """An estimator whose X may be any array or table of numbers."""

    def _validate_rows(
        self,
        X: ArrayLike,
        reset: bool = True,
        ensure_min_samples: int = 1,
        allow_missing: bool = False,
    ) -> np.ndarray:
        """Return X as an array after scikit-learn's checks of values, names and features.

        It is converted first, because scikit-learn accepts fewer kinds of tables and arrays.
        """
        rows = check_array(
            to_array(X, "X"), dtype=[np.float64, np.float32], estimator=self, input_name="X",
            ensure_min_samples=ensure_min_samples,
            ensure_all_finite="allow-nan" if allow_missing else True,
        )  # fmt: skip
        validate_data(self, _with_names(X, rows), reset=reset, skip_check_array=True)
        return rows
