"""Tables of pandas, polars, pyarrow and xarray: their columns, and the columns' names.

No such library is imported: a table is recognized by the module of its type.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .object_entries import (
    NotNumberError,
    is_missing,
    is_numeric_text,
    show,
    to_numbers,
)

LIBRARIES = ("pandas", "polars", "pyarrow", "xarray", "torch")
MOST_LISTED = 6  # an error lists up to so many columns
CATEGORIES = ("category", "categorical", "enum", "dictionary")

# What turns a column or an array {c} that holds something else into numbers.
CONVERSIONS = {
    "pandas": {
        "numeric text": "pandas.to_numeric({c})",
        "numeric categories": "{c}.astype(float)",
        "partly numeric text": 'pandas.to_numeric({c}, errors="coerce")',
        "dates": "({c} - {c}.min()) / pandas.Timedelta(days=1)",
        "time differences": "{c} / pandas.Timedelta(days=1)",
    },
    "polars": {
        "numeric text": "{c}.cast(polars.Float64)",
        "partly numeric text": "{c}.cast(polars.Float64, strict=False)",
        "dates": "({c} - {c}.min()).dt.total_seconds() / 86400",
        "time differences": "{c}.dt.total_seconds() / 86400",
    },
    "pyarrow": {"numeric text": '{c}.cast("float64")'},
    "numpy": {
        "numeric text": "{c}.astype(float)",
        "dates": '({c} - {c}.min()) / np.timedelta64(1, "D")',
        "time differences": '{c} / np.timedelta64(1, "D")',
    },
}


def library(values: Any) -> str:
    """Return the library of a value's type or of one of its bases, or "" if it is none of ours."""
    for base in type(values).__mro__:
        root = str(base.__module__).partition(".")[0]
        if root in LIBRARIES:
            return root
    return ""


def is_table(values: Any) -> bool:
    """Return whether values are a table with named columns of one of the known libraries."""
    attribute = {"pandas": "iloc", "polars": "get_columns", "pyarrow": "column_names"}
    own = library(values)
    if own == "pandas" and getattr(values, "ndim", 0) != 2:
        return False
    return hasattr(values, attribute.get(own, "data_vars")) and own != ""


def is_column(values: Any) -> bool:
    """Return whether values are a single column, such as a pandas Series or a pyarrow Array."""
    own = library(values)
    typed = own in ("pandas", "polars") and _type_of(values) is not None
    return typed or (own == "pyarrow" and hasattr(values, "null_count"))


def column_names(x: Any) -> list[Any] | None:
    """Return the names of a table's columns, or None if x has no named columns."""
    if is_table(x):
        attribute = {"pyarrow": "column_names", "xarray": "data_vars"}.get(library(x), "columns")
        return list(getattr(x, attribute))
    # A polars LazyFrame would have to be computed, and is not accepted as x.
    names = None if library(x) else getattr(x, "columns", None)
    return None if names is None or callable(names) else list(names)


def table_to_array(table: Any, name: str) -> np.ndarray:
    """Return a table of numbers as (n, d), in NumPy's result type of its columns.

    Raises:
      ValueError: if a column holds something else, or the variables of an xarray Dataset do not
        share one dimension.
    """
    if library(table) == "xarray":
        _check_dimensions(table, name)
    if library(table) == "pandas":
        dtypes = set(table.dtypes)
        plain = (isinstance(dtype, np.dtype) and dtype.kind in "fiub" for dtype in dtypes)
        if len(dtypes) == 1 and all(plain):
            return np.asarray(table)
    names, columns = column_names(table) or [], _columns(table)
    if not columns:
        return np.empty((len(table), 0))
    arrays = []
    for i, column in enumerate(columns):
        try:
            arrays.append(column_to_array(column))
        except NotNumberError as error:
            remedy = _table_remedy(table, i, error, variable_of(name))
            raise ValueError(
                f"column {names[i]!r} of {name} holds {error.what} ({show(error.value)} in row "
                f"{error.index[0]}): {remedy}."
            ) from None
    rows = np.empty((len(arrays[0]), len(arrays)), np.result_type(*arrays))
    for i, array in enumerate(arrays):
        rows[:, i] = array
    return rows


def column_to_array(column: Any) -> np.ndarray:
    """Return a column as numbers; missing entries become NaN.

    Raises:
      NotNumberError: if the column holds something else.
    """
    values = np.asarray(column)
    if str(_type_of(column)).lower().startswith(CATEGORIES):
        entries = values.tolist() or [None]
        there = lambda i: not is_missing(type(entries[i])) and entries[i] == entries[i]
        first = next(filter(there, range(len(entries))), 0)
        raise NotNumberError(entries[first], [first], "categories")
    if values.ndim != 1:
        raise NotNumberError(values[0].tolist() if len(values) else None, [0], "lists")
    return to_numbers(values)


def conversion(own: str, error: NotNumberError, values: np.ndarray, c: str) -> str | None:
    """Return the expression that turns a column or an array `c` into numbers, if there is one."""
    what = error.what
    if what == "text":
        texts = values.ravel().tolist()
        is_number = [is_numeric_text([text]) for text in texts]
        what = "numeric text" if all(is_number) else "partly numeric text"
        what = what if 2 * sum(is_number) > len(texts) else "text"
    if what == "categories" and is_numeric_text(values):
        what = "numeric categories"
    known = CONVERSIONS[own if own in CONVERSIONS else "numpy"]
    expression = known.get(what)
    return None if expression is None else expression.format(c=c)


def variable_of(name: str) -> str:
    """Return a name for an argument that can stand in an expression."""
    return name if name.isidentifier() else "x"


def _type_of(column: Any) -> Any:
    """Return the dtype of a column, as its library has it."""
    return getattr(column, "dtype", getattr(column, "type", None))


def _columns(table: Any) -> list[Any]:
    own = library(table)
    if own == "pandas":
        return [table.iloc[:, i] for i in range(table.shape[1])]
    if own == "polars":
        return table.get_columns()
    return list(table.columns) if own == "pyarrow" else list(table.data_vars.values())


def _check_dimensions(dataset: Any, name: str) -> None:
    """Check that all variables of an xarray Dataset have the same single dimension."""
    dims = {key: tuple(variable.dims) for key, variable in dataset.data_vars.items()}
    if len(set(dims.values())) > 1 or any(len(each) != 1 for each in dims.values()):
        found = ", ".join(f"{key!r} over {each}" for key, each in list(dims.items())[:MOST_LISTED])
        raise ValueError(
            f"the variables of {name} do not share one dimension ({found}): make a table with a "
            f"row for each point, {variable_of(name)}.to_dataframe()[{list(dims)}]."
        )


def _table_remedy(table: Any, i: int, error: NotNumberError, x: str) -> str:
    """Return what to do about column i, which does not hold numbers."""
    own, name = library(table), (column_names(table) or [])[i]
    column = _columns(table)[i]
    c = f"polars.col({name!r})" if own == "polars" else f"{x}[{name!r}]"
    values = np.asarray(column)
    if own == "pandas" and error.what == "dates" and column.dtype == object:
        c = f"pandas.to_datetime({c})"
    expression = conversion(own, error, values, c)
    keep = _selection(table, x)
    if expression is None:
        return keep or f"{x} has no column of numbers"
    if own == "polars":
        line = f"{x}.with_columns({expression})"
    elif own == "pyarrow":
        line = f"{x}.set_column({i}, {name!r}, {expression})"
    else:
        line = f"{x}[{name!r}] = {expression}"
    days = " to days" if error.what in ("dates", "time differences") else ""
    return f"convert it{days}, {line}" + (f", or {keep}" if keep else "")


def _selection(table: Any, x: str) -> str | None:
    """Return advice to keep the columns of numbers, or None if there are none."""
    own, good, bad = library(table), [], []
    for name, column in zip(column_names(table) or [], _columns(table), strict=True):
        try:
            column_to_array(column)
            good.append(name)
        except NotNumberError:
            bad.append(name)
    if not good:
        return None
    if own == "polars":
        return f"keep the columns of numbers, {x}.select(polars.selectors.numeric())"
    if own == "pandas" and len(good) > MOST_LISTED:
        return f'keep the columns of numbers, {x}.select_dtypes("number", exclude="timedelta")'
    if len(good) > MOST_LISTED:
        drop = "drop_columns" if own == "pyarrow" else "drop_vars"
        return f"leave out what is not numbers, {x}.{drop}({bad})"
    picked = f"{x}.select({good})" if own == "pyarrow" else f"{x}[{good}]"
    return f"keep the columns of numbers, {picked}"
