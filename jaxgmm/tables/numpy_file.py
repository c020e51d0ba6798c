"""NumPy files: .npy, and .npz with one array."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from ..internal.feature_names import default_feature_names
from .errors import FileContentError
from .raw_table import NumberColumn, RawTable

NPY = b"\x93NUMPY"


def read_npy(content: bytes, shown: str) -> RawTable:
    """Return the table of a .npy file of numbers, (n, d) or (n,).

    Raises ValueError for an array of any other kind, with the line that converts it.
    """
    return _as_table(_load(content, shown), shown, "numpy.load(path)")


def read_npz(content: bytes, shown: str) -> RawTable:
    """Return the table of a .npz file that contains one array.

    Raises ValueError for several arrays, and for a model.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            _check_members(list(members), shown)
            name, member = next(iter(members.items()))
            array = _load(archive.read(member), shown)
    except FileContentError:
        raise
    except Exception as error:  # damaged archives raise errors of many kinds
        raise ValueError(
            f"{shown} is not a .npz file, or it is damaged ({error}): write it again."
        ) from None
    return _as_table(array, shown, f"numpy.load(path)[{name!r}]")


def _check_members(names: list[str], shown: str) -> None:
    """Raise FileContentError if an archive is not one array."""
    if "jaxgmm" in names:
        raise FileContentError(
            f"{shown} is a model that fit wrote: pass a file of rows. A model is the first "
            "argument of score and sample."
        )
    if {"data", "indices", "indptr"} <= set(names):
        raise FileContentError(
            f"{shown} holds a SciPy sparse matrix: save it as a dense array, e.g. "
            f"numpy.save('rows.npy', scipy.sparse.load_npz({shown!r}).toarray())."
        )
    if not names:
        raise FileContentError(f"{shown} contains no array: save the rows by numpy.save.")
    if len(names) != 1:
        first = names[0]
        raise FileContentError(
            f"{shown} contains {len(names)} arrays ({', '.join(names[:8])}): save the rows alone, "
            f"e.g. numpy.save('rows.npy', numpy.load({shown!r})[{first!r}])."
        )


def _load(content: bytes, shown: str) -> Any:
    """Return the array in the bytes of a .npy file."""
    if not content.startswith(NPY):
        raise FileContentError(
            f"{shown} is not a NumPy file: write it by numpy.save, or name a text file .csv."
        )
    try:
        version = np.lib.format.read_magic(file := io.BytesIO(content))
        read_header = {
            1: np.lib.format.read_array_header_1_0,
            2: np.lib.format.read_array_header_2_0,
        }
        if version[0] in read_header:
            shape, _, dtype = read_header[version[0]](file)
            if dtype.hasobject:
                raise FileContentError(
                    f"{shown} holds Python objects (dtype object, shape {shape}), which are not "
                    "read, because they may run code: save them as numbers, e.g. "
                    "numpy.save('rows.npy', x.astype(float))."
                )
        return np.load(io.BytesIO(content), allow_pickle=False)
    except FileContentError:
        raise
    except Exception as error:  # NumPy raises errors of many kinds for damaged files
        raise FileContentError(
            f"{shown} is not a NumPy file of numbers, or it is damaged ({error}): write it again "
            "by numpy.save."
        ) from None


def _as_table(array: np.ndarray, shown: str, source: str) -> RawTable:
    """Return an array as a table, or raise ValueError with the line that converts it."""
    kind, shape = array.dtype.kind, array.shape
    remedy = ""
    if array.dtype.names:
        what = f"a structured array with the fields {', '.join(array.dtype.names[:8])}"
        remedy = "numpy.array(x.tolist())"
    elif kind in "SU":
        what, remedy = f"text (dtype {array.dtype})", "x.astype(float)"
    elif kind in "mM":
        what = f"dates or times (dtype {array.dtype})"
        remedy = "(x - x.min()) / numpy.timedelta64(1, 'D')"
    elif kind == "c":
        what, remedy = "complex numbers", "numpy.column_stack([x.real, x.imag])"
    elif kind not in "fiub":
        what, remedy = f"values of dtype {array.dtype}", "x.astype(float)"
    elif array.ndim == 0:
        what, remedy = f"a single number, {array}", "numpy.atleast_2d(x)"
    elif array.ndim > 2:
        what, remedy = f"an array of shape {shape}", f"x.reshape(-1, {shape[-1]})"
    if remedy:
        raise ValueError(
            f"{shown} holds {what}, but rows and columns of numbers are needed: with x = {source}, "
            f"save {remedy}."
        )
    columns = array.reshape(len(array), *shape[1:] or (1,))
    names = default_feature_names(columns.shape[1])
    return RawTable(
        names=names,
        named=False,
        columns=[NumberColumn(columns[:, i]) for i in range(len(names))],
        n=len(columns),
        locate=lambda row: f"row {row + 1}",
    )
