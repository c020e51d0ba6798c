"""Conversion of objects that hold numbers to arrays: lists, tables, tensors, arrays of objects.

Libraries other than NumPy and JAX are not imported: their types are recognized by their modules
and attributes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Set, ValuesView
from typing import Any

import jax
import numpy as np

from .data_frames import (
    column_to_array,
    conversion,
    is_column,
    is_table,
    library,
    table_to_array,
    variable_of,
)
from .object_entries import (
    NotNumberError,
    in_words,
    is_missing,
    is_numeric_text,
    show,
    to_numbers,
)

DEEPEST = 64  # nested lists are searched as deep as NumPy's limit on dimensions
LARGE_BYTES = 1 << 30  # the size from which a sparse matrix is not made dense


class NotNumbersError(ValueError, TypeError):
    """Entries of a type that cannot be numbers, for which scikit-learn expects a TypeError."""


def to_array(values: Any, name: str) -> np.ndarray | jax.Array:
    """Return anything that holds only numbers as an array; missing entries become NaN.

    JAX arrays, tracers and NumPy arrays of numbers are returned as they are. Numbers keep their
    dtype; columns and entries of several dtypes get NumPy's result type.

    Args:
      values: an array, list, table, column or tensor.
      name: the argument's name, for messages.

    Raises:
      ValueError: if anything but numbers is found; the message says what to do about it.
    """
    if isinstance(values, jax.Array):
        return values
    if type(values) is np.ndarray and values.dtype.kind in "fiub":
        return values
    unmasked(values, name)
    _refuse_sparse(values, name)
    try:
        if is_table(values):
            return table_to_array(values, name)
        if is_column(values):
            return column_to_array(values)
        array = _plain_array(values, name)
        return to_numbers(array)
    except NotNumberError as error:
        array = np.asarray(values) if is_column(values) else array
        raise _refusal(values, array, name, error) from None
    except (ValueError, MemoryError, jax.errors.JAXTypeError):
        raise
    except Exception as error:
        raise ValueError(_cannot_be_converted(values, name, error)) from None


def _plain_array(values: Any, name: str) -> np.ndarray:
    """Return a NumPy array of any dtype, with the entries of lists as they are."""
    own = library(values)
    if own == "polars" and hasattr(values, "collect"):
        raise ValueError(f"{name} is a polars LazyFrame: call .collect() first.")
    if own == "torch":
        values = _tensor_on_host(values, name)
    try:
        array = np.asarray(values)
        if isinstance(values, list | tuple) and array.dtype.kind not in "fiubcO":
            array = np.array(values, dtype=object)  # NumPy turned numbers beside text into text
    except ValueError as error:
        if not isinstance(values, list | tuple):
            raise ValueError(_cannot_be_converted(values, name, error)) from None
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    if array.dtype.names is not None:
        raise ValueError(_structured(array, name))
    if array.ndim == 0 and array.dtype.kind not in "fiubc":
        _refuse_scalar(array[()], name)
    return array


def _tensor_on_host(tensor: Any, name: str) -> Any:
    """Return a PyTorch tensor on the CPU without gradient, in a dtype that NumPy has."""
    x = variable_of(name)
    detached = f"{x}.detach()" if tensor.requires_grad else x
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} is on the device {tensor.device}: pass {detached}.cpu().")
    if str(tensor.layout) != "torch.strided":
        raise ValueError(f"{name} is a sparse tensor: pass it dense, {detached}.to_dense().")
    tensor = tensor.detach()
    half = str(tensor.dtype) in ("torch.bfloat16", "torch.float16")
    return (tensor.float() if half else tensor).numpy()


def _refuse_sparse(values: Any, name: str) -> None:
    """Raise ValueError for a sparse matrix or array of SciPy, pydata/sparse or JAX."""
    dense = next((method for method in ("toarray", "todense") if hasattr(values, method)), None)
    if dense is None or not (hasattr(values, "nnz") or hasattr(values, "nse")):
        return
    x, size = variable_of(name), math.prod(values.shape) * np.dtype(values.dtype).itemsize
    shape = " × ".join(map(str, values.shape))
    if size > LARGE_BYTES:
        raise ValueError(
            f"{name} is sparse, and {shape} numbers would take {size / 2**30:,.1f} GiB when dense: "
            "reduce its dimensions first, e.g. "
            f"sklearn.decomposition.TruncatedSVD(20).fit_transform({x})."
        )
    readable = f"{size / 2**20:.1f} MiB" if size > 1 << 20 else f"{size / 2**10:.1f} KiB"
    raise ValueError(
        f"{name} is sparse, but a dense array is needed: pass {x}.{dense}() ({shape} "
        f"numbers, {readable})."
    )


def _structured(array: np.ndarray, name: str) -> str:
    """Return the message for a structured array."""
    x, names, dtype = variable_of(name), list(array.dtype.names or ()), array.dtype
    numeric = [each for each in names if dtype[each].kind in "fiub"]
    if not numeric:
        return f"{name} is a structured array with no field of numbers: its fields are {names}."
    fields = x if numeric == names else f"{x}[{numeric}]"
    return (
        f"{name} is a structured array with the fields {', '.join(names)}: pass "
        f"numpy.lib.recfunctions.structured_to_unstructured({fields})."
    )


def _refuse_scalar(value: Any, name: str) -> None:
    """Raise ValueError for one value that is neither a number nor missing."""
    kind, x = type(value).__name__, variable_of(name)
    if is_missing(type(value)):
        raise ValueError(f"{name} is {value}: pass numbers.")
    if isinstance(value, str | bytes) or hasattr(value, "__fspath__"):
        is_path = hasattr(value, "__fspath__") or "." in str(value)
        read = "read the file first, e.g. by pandas.read_csv or np.loadtxt"
        raise ValueError(f"{name} is {show(value)}: {read if is_path else 'pass numbers'}.")
    if isinstance(value, dict):
        raise ValueError(f"{name} is a {kind}: pass a table, e.g. pandas.DataFrame({x}).")
    if hasattr(value, "__next__") or isinstance(value, Set | ValuesView):
        raise ValueError(f"{name} is a {kind}: pass a list or an array, e.g. list({x}).")
    try:
        to_numbers(np.asarray(value, dtype=object))
    except NotNumberError as error:
        text = str(_cannot_be_converted(value, name, None))
        dated = in_words(value) in ("dates", "time differences")
        raise ValueError(
            f"{name} is {show(error.value)}: pass numbers." if dated else text
        ) from None


def _refusal(values: Any, array: np.ndarray, name: str, error: NotNumberError) -> ValueError:
    """Return the error about an array or a column with an entry that is not a number."""
    x = variable_of(name)
    axes = ("row", "column", "layer")
    where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, error.index, strict=False))
    found = f"{name} holds {error.what} ({show(error.value)} in {where}), not numbers"
    if array.dtype.kind == "V":
        return ValueError(
            f"{name} holds raw bytes ({array.dtype}): view them as numbers, e.g. "
            f"{x}.view(np.float64)."
        )
    if error.what.startswith("objects") or error.what == "dicts":
        remedy = f"pandas.DataFrame({x})" if error.what == "dicts" else "an array of numbers"
        # Python's words are scikit-learn's convention for such entries.
        kind = f"argument must be a string or a real number, not '{type(error.value).__name__}'"
        return NotNumbersError(f"{found} ({kind}): pass {remedy}.")
    if error.what == "lists":
        lengths = {len(entry) if np.ndim(entry) else 0 for entry in array.ravel()}
        stack = f", e.g. np.stack({x})" if len(lengths) == 1 else ""
        return ValueError(f"{found}: pass rows of equal length{stack}.")
    if name == "labels" and error.what in ("categories", "text"):
        codes = f"np.unique({x}, return_inverse=True)[1]"
        return ValueError(f"{found}: to number the categories, pass {codes}.")
    return ValueError(f"{found}: {_array_remedy(values, array, error, x)}.")


def _array_remedy(values: Any, array: np.ndarray, error: NotNumberError, x: str) -> str:
    """Return what to do about text, dates or time differences in an array, a list or a column."""
    if is_column(values):
        expression = conversion(library(values), error, array, x)
    elif error.what == "text":
        expression = conversion("numpy", error, array, f"np.asarray({x})")
    elif array.dtype.kind in "mM":
        expression = conversion("numpy", error, array, x)
    elif array.ndim == 1:  # objects: dates of Python or in a list
        dtype = "datetime64[us]" if error.what == "dates" else "timedelta64[us]"
        expression = conversion("numpy", error, array, f'np.asarray({x}, "{dtype}")')
    else:
        expression = None
    if expression is not None:
        days = " to days" if error.what in ("dates", "time differences") else ""
        return f"convert them{days}, {expression}"
    return _columns_of_numbers(values, array, x) if array.ndim == 2 else "pass numbers"


def _columns_of_numbers(values: Any, array: np.ndarray, x: str) -> str:
    """Return advice to keep the rows or columns of an array (n, d) that hold numbers."""
    good = []
    if is_numeric_text(array[1:].ravel()) and len(array) > 1:
        return f"leave out row 0, np.asarray({x}[1:], float)"
    for j in range(array.shape[1]):
        try:
            np.asarray(array[:, j], np.float64)
            good.append(j)
        except (TypeError, ValueError):
            pass
    if not good:
        return "it has no column of numbers"
    as_array = x if hasattr(values, "dtype") else f"np.array({x}, object)"
    return f"keep the columns of numbers, {as_array}[:, {good}].astype(float)"


def _cannot_be_converted(values: Any, name: str, error: Exception | None) -> str:
    """Return the message for an object that NumPy cannot convert to numbers."""
    kind = type(values)
    full = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    because = "" if error is None else f" ({' '.join(str(error).split()) or type(error).__name__})"
    methods = ("to_numpy", "numpy", "toarray", "todense", "get")
    method = next((each for each in methods if callable(getattr(values, each, None))), None)
    remedy = "" if method is None else f", e.g. {variable_of(name)}.{method}()"
    return (
        f"{name} is a {full}, which NumPy does not convert to numbers{because}: pass a NumPy "
        f"array{remedy}."
    )


def unmasked(values: Any, name: str) -> None:
    """Check that a NumPy masked array, or one within a list, has no masked entry.

    NumPy would use the number behind the mask, a fill value such as −9999.
    """
    if _has_masked_entry(values):
        way_out = " If they are missing values, pass jaxgmm.Observed(x)." if name == "x" else ""
        raise ValueError(f"{name} has masked entries: drop or fill them.{way_out}")


def _has_masked_entry(values: Any) -> bool:
    """Return whether an array, or an array within nested lists, has a masked entry.

    Lists are searched level by level and by the types of their items, so that a long list of
    numbers is searched in C.
    """
    if hasattr(values, "dtype"):
        return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))
    level = [values]
    for _ in range(DEEPEST):
        kinds = set(map(type, level))
        arrays = any(issubclass(kind, np.ma.MaskedArray) for kind in kinds)
        if arrays and any(np.ma.is_masked(item) for item in level):
            return True
        lists = {kind for kind in kinds if issubclass(kind, list | tuple)}
        if not lists:
            return False
        nested = level if lists == kinds else (item for item in level if type(item) in lists)
        level = list(itertools.chain.from_iterable(nested))
    return False
