"""Numbers that are stored as Python objects, and words for entries that are not numbers."""

from __future__ import annotations

import datetime
import numbers
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

LONGEST = 30  # characters of an entry that an error shows
# NumPy's scalars that are not numbers; timedelta64 is registered as a whole number.
NOT_NUMBERS = (np.str_, np.bytes_, np.void, np.datetime64, np.timedelta64)
DATES = (datetime.date, np.datetime64)
TIME_DIFFERENCES = (datetime.timedelta, np.timedelta64)


class NotNumberError(Exception):
    """An entry of an array is not a number.

    Attributes:
      value: the entry.
      index: its position in the array.
      what: what it is, in the plural, e.g. "dates".
    """

    def __init__(self, value: Any, index: Sequence[int], what: str | None = None) -> None:
        super().__init__(value, index)
        self.value, self.index = value, tuple(index)
        self.what = in_words(value) if what is None else what


def to_numbers(array: np.ndarray) -> np.ndarray:
    """Return an array of any dtype as an array of numbers; missing entries become NaN.

    Objects get NumPy's result type of their types, so that np.float32 stays float32.

    Raises:
      NotNumberError: if an entry is neither a number nor missing.
    """
    if is_number_dtype(array.dtype):
        return array
    if not array.size:
        return array.astype(np.float64) if array.dtype == object else np.empty(array.shape)
    if array.dtype != object:
        raise _first_of(array, lambda value: not _is_nat(value) or _all_nat(array))
    entries = array.ravel().tolist()
    dtypes = {kind: _dtype_of(kind) for kind in set(map(type, entries)) if not is_missing(kind)}
    bad = {kind for kind, dtype in dtypes.items() if dtype is None}
    if bad:
        raise _first_of(array, lambda value: type(value) in bad)
    dtype = np.result_type(*dtypes.values()) if dtypes else np.dtype(np.float64)
    if len(dtypes) < len(set(map(type, entries))):
        dtype = dtype if dtype.kind in "fc" else np.dtype(np.float64)
        entries = [np.nan if is_missing(type(entry)) else entry for entry in entries]
        array = np.fromiter(entries, object, len(entries)).reshape(array.shape)
    try:
        return array.astype(dtype)
    except OverflowError:  # whole numbers of more than 64 bits
        return array.astype(np.float64)


def is_number_dtype(dtype: np.dtype) -> bool:
    """Return whether a dtype is one of numbers or booleans, bfloat16 and complex included."""
    return dtype.kind in "fiubc" or (dtype.kind == "V" and bool(jnp.issubdtype(dtype, jnp.number)))


def is_missing(kind: type) -> bool:
    """Return whether a value of this type is missing: None, pandas' NA and NaT, masked."""
    return kind is type(None) or kind.__name__ in ("NAType", "NaTType", "MaskedConstant")


def _dtype_of(kind: type) -> np.dtype | None:
    """Return the dtype of a type of numbers, or None for other types."""
    if issubclass(kind, np.generic):
        return None if issubclass(kind, NOT_NUMBERS) else np.dtype(kind)
    python: tuple[tuple[type, type], ...] = (
        (bool, np.bool_), (int, np.int64), (numbers.Real, np.float64), (complex, np.complex128),
        (numbers.Number, np.float64),  # Decimal
    )  # fmt: skip
    return next((np.dtype(dtype) for base, dtype in python if issubclass(kind, base)), None)


def _first_of(array: np.ndarray, is_bad: Callable[[Any], bool]) -> NotNumberError:
    """Return an error about the first bad entry; of text, the first that is not a number."""
    flat = array.ravel()
    bad = [i for i, value in enumerate(flat) if is_bad(value)]
    words = [i for i in bad if isinstance(flat[i], str | bytes) and not is_numeric_text([flat[i]])]
    texts = isinstance(flat[bad[0]], str | bytes)
    first = words[0] if texts and words else bad[0]
    return NotNumberError(flat[first], [int(i) for i in np.unravel_index(first, array.shape)])


def _is_nat(value: Any) -> bool:
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))


def _all_nat(array: np.ndarray) -> bool:
    return array.dtype.kind in "mM" and bool(np.isnat(array).all())


def is_numeric_text(entries: Iterable[Any]) -> bool:
    """Return whether every entry that is not missing is a number, written as text or not."""
    try:
        for entry in entries:
            if not is_missing(type(entry)):
                float(entry)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def in_words(value: Any) -> str:
    """Return what entries like this one are, in the plural."""
    if isinstance(value, str | bytes):
        return "text"
    if isinstance(value, DATES):
        return "dates"
    if isinstance(value, TIME_DIFFERENCES):
        return "time differences"
    if isinstance(value, dict):
        return "dicts"
    if isinstance(value, list | tuple | set) or getattr(value, "ndim", None):
        return "lists"
    return f"objects of type {type(value).__name__}"


def show(value: Any) -> str:
    """Return an entry as an error shows it, on one line and shortened."""
    if isinstance(value, np.timedelta64):
        value = value.astype("timedelta64[us]").item()  # prints as days and hours
    if isinstance(value, DATES):
        return re.sub(r"[T ]00:00:00(\.0+)?$", "", str(value))
    if isinstance(value, str | bytes):
        value = str(value) if isinstance(value, str) else bytes(value)  # without NumPy's types
    text = str(value) if isinstance(value, TIME_DIFFERENCES) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
