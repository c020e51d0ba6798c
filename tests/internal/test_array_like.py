"""Whatever holds only numbers is taken, and what does not is named, with the line that helps."""

import datetime
import decimal
import fractions
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.data.row_checks import check_rows
from jaxgmm.internal import checks
from jaxgmm.internal.feature_names import resolve_feature_names

ROWS = np.array([[1.5, 0], [2.25, 1], [4, 1], [0.5, 0], [3, 1]])
HALVES = ROWS.astype(np.float32)
DAYS = ["2024-01-03", "2024-01-04", "2024-01-06", "2024-01-07", "2024-01-09"]
TEXT = list("abcde")


def pandas(dtypes=None, **columns):
    library = pytest.importorskip("pandas")
    columns = {"a": ROWS[:, 0], "b": ROWS[:, 1]} | columns
    table = library.DataFrame(columns)
    return table.astype(dtypes) if dtypes else table


def arrow_dtype(name):
    arrow = pytest.importorskip("pyarrow")
    return pytest.importorskip("pandas").ArrowDtype(getattr(arrow, name)())


def polars(**columns):
    columns = {"a": ROWS[:, 0], "b": ROWS[:, 1]} | columns
    return pytest.importorskip("polars").DataFrame(columns)


def arrow(**columns):
    columns = {"a": ROWS[:, 0], "b": ROWS[:, 1]} | columns
    return pytest.importorskip("pyarrow").table(columns)


def xarray():
    return pytest.importorskip("xarray")


def dataset(**columns):
    columns = {"a": ROWS[:, 0], "b": ROWS[:, 1]} | columns
    return xarray().Dataset({name: ("row", values) for name, values in columns.items()})


class Tensor:
    """As much of a PyTorch tensor as is looked at."""

    __module__ = "torch"
    layout = "torch.strided"

    def __init__(self, values, dtype="torch.float32", requires_grad=False, device="cpu"):
        self.values, self.dtype, self.requires_grad = values, dtype, requires_grad
        self.device = type("device", (), {"type": device, "__str__": lambda self: f"{device}:0"})()

    def detach(self):
        return Tensor(self.values, self.dtype, False, self.device.type)

    def float(self):
        return Tensor(self.values.astype(np.float32), "torch.float32", self.requires_grad)

    def numpy(self):
        if self.requires_grad or self.dtype == "torch.bfloat16":
            raise RuntimeError("Can't call numpy() on this tensor.")
        return self.values


class Unwilling:
    """Converts itself only when it is asked by name, like an array of CuPy."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion is not allowed. Please use `.get()`")

    def get(self):
        return ROWS


PLAIN_OBJECTS = {
    "float": float, "int": lambda value: int(2 * value), "np.float32": np.float32,
    "np.int16": lambda value: np.int16(2 * value), "bool": bool, "np.bool": np.bool_,
    "Decimal": lambda value: decimal.Decimal(str(value)),
    "Fraction": lambda value: fractions.Fraction(value).limit_denominator(100),
}  # fmt: skip

# Each makes ROWS in another form, of the given dtype.
ACCEPTED = {
    "array": (lambda: ROWS, "f8"),
    "float32": (lambda: HALVES, "f4"),
    "JAX array": (lambda: jnp.asarray(HALVES), "f4"),
    "subclass": (lambda: ROWS.view(type("Subclass", (np.ndarray,), {})), "f8"),
    "lists": (ROWS.tolist, "f8"),
    "mixed lists": (lambda: [[float(a), bool(b)] for a, b in ROWS], "f8"),
    "objects": (lambda: ROWS.astype(object), "f8"),
    "objects of float32": (lambda: np.array([[np.float32(a), bool(b)] for a, b in ROWS], object), "f4"),
    "Decimal and int": (lambda: [[decimal.Decimal(str(a)), int(b)] for a, b in ROWS], "f8"),
    "mask without entries": (lambda: np.ma.masked_array(ROWS), "f8"),
    "list of arrays": (lambda: list(HALVES), "f4"),
    "pandas": (pandas, "f8"),
    "pandas float32": (lambda: pandas("float32"), "f4"),
    "pandas float and bool": (lambda: pandas({"b": bool}), "f8"),
    "pandas float32 and bool": (lambda: pandas({"a": "float32", "b": bool}), "f4"),
    "pandas float32 and int8": (lambda: pandas({"a": "float32", "b": "int8"}), "f4"),
    "pandas float32 and int64": (lambda: pandas({"a": "float32", "b": "int64"}), "f8"),
    "pandas nullable": (lambda: pandas({"a": "Float64", "b": "Int64"}), "f8"),
    "pandas nullable float32": (lambda: pandas({"a": "Float32", "b": "boolean"}), "f4"),
    "pandas Arrow": (lambda: pandas({"a": arrow_dtype("float64"), "b": arrow_dtype("bool_")}), "f8"),
    "pandas Arrow float32": (lambda: pandas(arrow_dtype("float32")), "f4"),
    "pandas sparse": (lambda: pandas("Sparse[float]"), "f8"),
    "pandas objects": (lambda: pandas(object), "f8"),
    "pandas, one name twice": (lambda: pandas().set_axis(["a", "a"], axis=1), "f8"),
    "get_dummies": (lambda: pytest.importorskip("pandas").get_dummies(pandas(b=["n", "y", "y", "n", "y"]), drop_first=True), "f8"),
    "polars": (polars, "f8"),
    "polars bool": (lambda: polars(b=ROWS[:, 1] > 0), "f8"),
    "polars float32": (lambda: polars(a=HALVES[:, 0], b=ROWS[:, 1] > 0), "f4"),
    "polars Decimal": (lambda: polars(a=[decimal.Decimal(str(a)) for a in ROWS[:, 0]]), "f8"),
    "pyarrow": (arrow, "f8"),
    "pyarrow bool": (lambda: arrow(b=ROWS[:, 1] > 0), "f8"),
    "pyarrow float32": (lambda: arrow(a=HALVES[:, 0], b=ROWS[:, 1] > 0), "f4"),
    "pyarrow batch": (lambda: arrow().to_batches()[0], "f8"),
    "DataArray": (lambda: xarray().DataArray(HALVES), "f4"),
    "Dataset": (dataset, "f8"),
    "Dataset with bool": (lambda: dataset(a=HALVES[:, 0], b=ROWS[:, 1] > 0), "f4"),
    "tensor": (lambda: Tensor(HALVES), "f4"),
    "tensor with gradient": (lambda: Tensor(HALVES, requires_grad=True), "f4"),
    "bfloat16 tensor": (lambda: Tensor(ROWS, "torch.bfloat16"), "f4"),
}  # fmt: skip


@pytest.mark.parametrize("form", ACCEPTED)
def test_forms_of_the_same_rows(form):
    make, dtype = ACCEPTED[form]
    found = checks.array(make(), "x")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(np.asarray(found, float), ROWS)


@pytest.mark.parametrize("kind", PLAIN_OBJECTS)
def test_objects_that_are_numbers(kind):
    make = PLAIN_OBJECTS[kind]
    for shape in ((5, 2), (10,)):
        objects = np.array([make(value) for value in ROWS.ravel()], object).reshape(shape)
        found = checks.array(objects, "x")
        assert found.shape == shape and found.dtype.kind in "fib"
        np.testing.assert_array_equal(found.astype(float), objects.astype(float))


def test_whole_numbers_of_many_digits_are_floats():
    assert checks.array([[2**70, 1]], "x").tolist() == [[2.0**70, 1]]
    assert checks.array([[2**70, None]], "x").dtype == np.float64
    with pytest.raises(ValueError, match=r"x is a list.*too large"):
        checks.array([[10**400, 1]], "x")


COLUMNS = {
    "list": lambda values: values,
    "objects": lambda values: np.array(values, object),
    "pandas": lambda values: pytest.importorskip("pandas").Series(values),
    "pandas nullable": lambda values: pytest.importorskip("pandas").Series(values, dtype="Float64"),
    "polars": lambda values: pytest.importorskip("polars").Series(values),
    "pyarrow": lambda values: pytest.importorskip("pyarrow").array(values),
    "chunked": lambda values: pytest.importorskip("pyarrow").chunked_array(
        [values[:2], values[2:]]
    ),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns(kind):
    """As weights, with a missing one, and as labels."""
    make = COLUMNS[kind]
    key = jax.random.key(0)
    start = jaxgmm.initialize(key, HALVES, 2, weight=make([1.0, 2.0, 3.0, 0.5, 1.0]))
    expected = jaxgmm.initialize(key, HALVES, 2, weight=np.array([1.0, 2.0, 3.0, 0.5, 1.0]))
    np.testing.assert_array_equal(start.means, expected.means)
    with pytest.raises(ValueError, match=r"weight\[2\] is nan"):
        jaxgmm.initialize(key, HALVES, 2, weight=make([1.0, 2.0, None, 0.5, 1.0]))
    np.testing.assert_array_equal(checks.array(make([1, 0, 1]), "labels"), [1, 0, 1])


@pytest.mark.parametrize("missing", [None, float("nan"), decimal.Decimal("NaN"), "NA", "NaT"])
def test_missing_objects(missing):
    if missing in ("NA", "NaT"):
        missing = getattr(pytest.importorskip("pandas"), missing)
    for kinds in ((1.5, True, np.float32(2)), (1, 2, True)):
        rows = [[kinds[0], kinds[1]], [kinds[2], missing]]
        for x in (rows, np.array(rows, object)):
            with pytest.raises(ValueError, match=r"row 1 of x contains NaN in column 1 \(the only"):
                check_rows(x)


MISSING = {
    "pandas": lambda: pandas(b=[0, None, 1, np.nan, 1]),
    "pandas Int64": lambda: pandas({"b": "Int64"}, b=[0, None, 1, None, 1]),
    "pandas boolean": lambda: pandas({"b": "boolean"}, b=[False, None, True, None, True]),
    "pandas Arrow": lambda: pandas({"b": arrow_dtype("float32")}, b=[0, None, 1, None, 1]),
    "pandas objects": lambda: pandas({"b": object}, b=[0, None, 1, None, True]),
    "polars": lambda: polars(b=[0, None, 1, None, 1]),
    "polars bool": lambda: polars(b=[False, None, True, None, True]),
    "pyarrow": lambda: arrow(b=[0, None, 1, None, 1]),
    "pyarrow bool": lambda: arrow(b=[False, None, True, None, True]),
    "Dataset": lambda: dataset(b=[0, np.nan, 1, np.nan, 1]),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_entries_of_tables(kind):
    words = r"row 1 of x contains NaN in column 'b' \(one of 2 such rows among 5\): drop or correct"
    with pytest.raises(ValueError, match=words):
        check_rows(MISSING[kind]())
    with pytest.raises(ValueError, match=words):
        jaxgmm.initialize(jax.random.key(0), MISSING[kind](), 2)


def test_infinity_is_called_infinity():
    with pytest.raises(ValueError, match="row 3 of x contains infinity in column 'b'"):
        check_rows(pandas(b=[0, 1, 2, -np.inf, np.nan]))


def dates(library, **options):
    return getattr(pytest.importorskip("pandas"), library)(DAYS, **options)


# Tables with a column that is not of numbers: the words, and the line that makes it acceptable.
TABLES = {
    "text": (lambda: pandas(s=TEXT), "'s' of x holds text ('a' in row 0)", "x[['a', 'b']]"),
    "text objects": (lambda: pandas({"s": object}, s=TEXT), "'s' of x holds text", "x[['a', 'b']]"),
    "mixed": (lambda: pandas(s=[1, 2, "x", 4, 5]), "'s' of x holds text ('x' in row 2)", "x[['a', 'b']]"),
    "numbers as text": (lambda: pandas(s=["1", "2", None, "4", "5"]), "holds text ('1' in row 0)", "x['s'] = pandas.to_numeric(x['s'])"),
    "partly": (lambda: pandas(s=["1", "2", "?", "4", "5"]), "('?' in row 2)", "x['s'] = pandas.to_numeric(x['s'], errors=\"coerce\")"),
    "dates": (lambda: pandas(day=dates("to_datetime")), "'day' of x holds dates (2024-01-03 in row 0)", "x['day'] = (x['day'] - x['day'].min()) / pandas.Timedelta(days=1)"),
    "zoned dates": (lambda: pandas(day=dates("to_datetime", utc=True)), "holds dates (2024-01-03", "x['day'] = (x['day'] - x['day'].min()) / pandas.Timedelta(days=1)"),
    "date objects": (lambda: pandas(day=dates("to_datetime").date), "holds dates (2024-01-03 in", "x['day'] = (pandas.to_datetime(x['day']) - pandas.to_datetime(x['day']).min()) / pandas.Timedelta(days=1)"),
    "Arrow dates": (lambda: pandas({"day": arrow_dtype("date32")}, day=dates("to_datetime").date), "holds dates (2024-01-03 in", "x['day'] = (x['day'] - x['day'].min()) / pandas.Timedelta(days=1)"),
    "periods": (lambda: pandas(day=dates("PeriodIndex", freq="D")), "holds objects of type Period", "x[['a', 'b']]"),
    "time differences": (lambda: pandas(t=np.arange(5) * np.timedelta64(36, "h")), "holds time differences (0:00:00 in row 0)", "x['t'] = x['t'] / pandas.Timedelta(days=1)"),
    "categories": (lambda: pandas({"c": "category"}, c=TEXT), "'c' of x holds categories ('a' in row 0)", "x[['a', 'b']]"),
    "categories of numbers": (lambda: pandas({"c": "category"}, c=[None, 1, 2, 1, 3]), "holds categories (1", "x['c'] = x['c'].astype(float)"),
    "lists": (lambda: pandas(v=[[1, 2]] * 5), "holds lists ([1, 2] in row 0)", "x[['a', 'b']]"),
    "dicts": (lambda: pandas(v=[{"a": 1}] * 5), "holds dicts", "x[['a', 'b']]"),
    "many columns": (lambda: pandas(s=TEXT, **{str(i): ROWS[:, 0] for i in range(9)}), "holds text", 'x.select_dtypes("number", exclude="timedelta")'),
    "polars text": (lambda: polars(s=TEXT), "'s' of x holds text ('a' in row 0)", "x.select(polars.selectors.numeric())"),
    "polars numbers as text": (lambda: polars(s=["1", "2", "3", "4", "5"]), "holds text", "x.with_columns(polars.col('s').cast(polars.Float64))"),
    "polars dates": (lambda: polars(day=[datetime.date(2024, 1, day) for day in range(3, 8)]), "holds dates (2024-01-03 in row 0)", "x.with_columns((polars.col('day') - polars.col('day').min()).dt.total_seconds() / 86400)"),
    "polars times": (lambda: polars(t=[datetime.timedelta(1)] * 5), "holds time differences (1 day, 0:00:00 in", "x.with_columns(polars.col('t').dt.total_seconds() / 86400)"),
    "polars categories": (lambda: polars(s=TEXT).cast({"s": pytest.importorskip("polars").Categorical}), "holds categories ('a'", "x.select(polars.selectors.numeric())"),
    "polars lists": (lambda: polars(v=[[1, 2]] * 5), "holds lists", "x.select(polars.selectors.numeric())"),
    "polars arrays": (lambda: polars(v=np.ones((5, 3))), "'v' of x holds lists", "x.select(polars.selectors.numeric())"),
    "pyarrow text": (lambda: arrow(s=TEXT), "'s' of x holds text ('a' in row 0)", "x.select(['a', 'b'])"),
    "pyarrow numbers as text": (lambda: arrow(s=["1", "2", "3", "4", "5"]), "holds text", "x.set_column(2, 's', x['s'].cast(\"float64\"))"),
    "pyarrow dates": (lambda: arrow(day=[datetime.date(2024, 1, 3)] * 5), "holds dates (2024-01-03 in", "x.select(['a', 'b'])"),
    "pyarrow dictionary": (lambda: arrow(s=pytest.importorskip("pyarrow").array(TEXT).dictionary_encode()), "holds categories", "x.select(['a', 'b'])"),
    "pyarrow, many columns": (lambda: arrow(s=TEXT, **{str(i): ROWS[:, 0] for i in range(9)}), "holds text", "x.drop_columns(['s'])"),
    "Dataset text": (lambda: dataset(s=TEXT), "'s' of x holds text", "x[['a', 'b']]"),
    "Dataset dates": (lambda: dataset(day=np.array(DAYS, "datetime64[ns]")), "holds dates (2024-01-03 in", "x['day'] = (x['day'] - x['day'].min()) / np.timedelta64(1, \"D\")"),
    "Dataset of maps": (lambda: xarray().Dataset({"a": (("y", "x"), ROWS), "b": ("y", ROWS[:, 0])}), "do not share one dimension ('a' over ('y', 'x'), 'b' over ('y',))", "x.to_dataframe()[['a', 'b']]"),
}  # fmt: skip


def run_line(line, x):
    """The value of an expression, or x after an assignment to a column of it."""
    import importlib

    names = {"x": x, "np": np, "numpy": np}
    for library in ("pandas", "polars"):
        if library in line:
            names[library] = importlib.import_module(library)
    if "recfunctions" in line:
        importlib.import_module("numpy.lib.recfunctions")
    if " = " in line:
        exec(line, names)
        return names["x"]
    return eval(line, names)


@pytest.mark.parametrize("kind", TABLES)
def test_columns_that_are_not_numbers(kind):
    """They are named, and the line that the error shows helps."""
    make, words, line = TABLES[kind]
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        jaxgmm.initialize(jax.random.key(0), make(), 2)
    assert line in str(caught.value) and "type object" not in str(caught.value)
    assert checks.array(run_line(line, make()), "x").dtype == np.float64


def test_a_table_without_numbers():
    with pytest.raises(ValueError, match="x has no column of numbers"):
        check_rows(pandas()[[]].assign(s=TEXT))


MOMENTS = np.array([DAYS], "datetime64[D]").T
FIELDS = np.zeros(3, [("a", float), ("b", "i4")])
NAMED = np.zeros(3, [("a", float), ("name", "U3"), ("b", "f4")])
HALF_TEXT = np.array([["1", "x"], ["2", "y"], ["3", "z"]])

# What is no table: the words, and the line that makes it acceptable.
ARRAYS = {
    "text": (HALF_TEXT, "x holds text ('x' in row 0, column 1), not numbers", "x[:, [0]].astype(float)"),
    "numbers as text": (ROWS.astype(str), "x holds text ('1.5' in row 0, column 0)", "np.asarray(x).astype(float)"),
    "lists of text": (ROWS.astype(str).tolist(), "x holds text ('1.5' in row 0, column 0)", "np.asarray(x).astype(float)"),
    "bytes": (HALF_TEXT.astype("S"), "x holds text (b'x' in row 0, column 1)", "x[:, [0]].astype(float)"),
    "new text": (HALF_TEXT.astype(np.dtypes.StringDType()), "x holds text ('x' in row 0", "x[:, [0]].astype(float)"),
    "names in row 0": ([["a", "b"], ["1", "2"], ["3", "4"]], "('a' in row 0, column 0)", "np.asarray(x[1:], float)"),
    "list with text": ([[1.0, "x", 2], [2.0, "y", 3]], "('x' in row 0, column 1)", "np.array(x, object)[:, [0, 2]].astype(float)"),
    "objects": (np.array([[1.0, 2], [3, "?"], [4, 5]], object), "x holds text ('?' in row 1, column 1)", "x[:, [0]].astype(float)"),
    "dates": (MOMENTS, "x holds dates (2024-01-03 in row 0, column 0)", '(x - x.min()) / np.timedelta64(1, "D")'),
    "list of dates": (MOMENTS[:, 0].tolist(), "x holds dates (2024-01-03 in row 0)", '(np.asarray(x, "datetime64[us]") - np.asarray(x, "datetime64[us]").min()) / np.timedelta64(1, "D")'),
    "date objects": (np.array([[1.0, datetime.date(2024, 1, 3)]], object), "dates (2024-01-03 in row 0, column 1)", "x[:, [0]].astype(float)"),
    "time differences": (MOMENTS - MOMENTS[1], "x holds time differences (-1 day, 0:00:00 in row 0", 'x / np.timedelta64(1, "D")'),
    "structured": (FIELDS, "x is a structured array with the fields a, b", "numpy.lib.recfunctions.structured_to_unstructured(x)"),
    "structured with text": (NAMED, "the fields a, name, b", "numpy.lib.recfunctions.structured_to_unstructured(x[['a', 'b']])"),
    "void": (ROWS.view("V8"), "x holds raw bytes (|V8)", "x.view(np.float64)"),
    "list of dicts": ([{"a": 1.0}] * 3, "x holds dicts ({'a': 1.0} in row 0)", "pandas.DataFrame(x)"),
    "dict": ({"a": [1.0, 2]}, "x is a dict", "pandas.DataFrame(x)"),
    "set": ({1.0, 2}, "x is a set", "list(x)"),
    "arrays in a list": (np.array([*ROWS, None], object)[:5], "x holds lists (array([1.5, 0. ]) in row 0)", "np.stack(x)"),
    "image": (np.zeros((20, 30, 3)), "x has shape (20, 30, 3)", "x.reshape(-1, 3)"),
    "unwilling": (Unwilling(), "Unwilling, which NumPy does not convert to numbers (Implicit conversion", "x.get()"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_that_are_not_numbers(kind):
    x, words, line = ARRAYS[kind]
    if "pandas" in line:
        pytest.importorskip("pandas")
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        check_rows(x)
    assert line in str(caught.value)
    assert checks.array(run_line(line, x), "x").dtype.kind in "fi"


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (Tensor(HALVES, device="cuda"), r"x is on the device cuda:0: pass x\.cpu\(\)"),
        (Tensor(HALVES, device="cuda", requires_grad=True), r"pass x\.detach\(\)\.cpu\(\)"),
        ("rows.csv", r"x is 'rows\.csv': read the file first"),
        (pathlib.Path("rows"), "read the file first"),
        (b"rows", "x is b'rows': pass numbers"),
        (None, "x is None: pass numbers"),
        (datetime.date(2024, 1, 3), "x is 2024-01-03: pass numbers"),
        ((row for row in ROWS), "x is a generator: .* list"),
        (len, "x is a builtin_function_or_method"),
        ([[1.0, 2], [3.0]], "x is not a rectangular array of numbers"),
        (np.array([[1.0, 2], [3.0]], object), r"x holds lists \(\[1.0, 2\] in row 0\), .*equal length\.$"),
        ([[1.0, object()]], "x holds objects of type object .* in row 0, column 1"),
        ([Unwilling()], "x is a list, which NumPy does not convert to numbers"),
        (ROWS * 1j, "x is complex"),
        (np.full((2, 2), "NaT", "datetime64[s]"), "x holds dates"),
    ],
)  # fmt: skip
def test_what_is_not_an_array(x, words):
    with pytest.raises(ValueError, match=words):
        check_rows(x)


def test_lazy_and_grouped_tables():
    with pytest.raises(ValueError, match=r"x is a polars LazyFrame: call \.collect\(\)"):
        check_rows(polars().lazy())
    with pytest.raises(ValueError, match="DataFrameGroupBy, which NumPy does not convert"):
        check_rows(pandas().groupby("b"))


def test_sparse_matrices():
    sparse = pytest.importorskip("scipy.sparse")
    for make in (sparse.csr_matrix, sparse.coo_array):
        with pytest.raises(
            ValueError, match=r"x is sparse.*x\.toarray\(\) \(5 × 2 numbers, 0\.1 KiB"
        ):
            check_rows(make(ROWS))
    with pytest.raises(ValueError, match=r"1000000 × 1000 numbers would take 7\.5 GiB.*reduce"):
        check_rows(sparse.csr_array((10**6, 1000)))


def test_other_sparse_arrays():
    """Of pydata/sparse, which need not be installed, and of JAX."""
    from jax.experimental.sparse import BCOO

    pydata = type("COO", (), {"shape": (5, 2), "dtype": HALVES.dtype, "nnz": 3, "todense": len})()
    with pytest.raises(ValueError, match=r"x is sparse.*x\.todense\(\) \(5 × 2"):
        check_rows(pydata)
    with pytest.raises(ValueError, match=r"x is sparse.*x\.todense\(\)"):
        check_rows(BCOO.fromdense(HALVES))


@pytest.mark.parametrize(
    ("values", "name", "words"),
    [
        (TEXT, "weight", r"weight holds text \('a' in row 0\), not numbers: pass numbers"),
        (TEXT, "labels", r"np\.unique\(labels, return_inverse=True\)\[1\]"),
        ("a", "prior.strength", "prior.strength is 'a'"),
        (HALF_TEXT, "block 0 of the stream", r"block 0 of the stream holds .* x\[:, \[0\]\]"),
    ],
)
def test_other_arguments(values, name, words):
    with pytest.raises(ValueError, match=words):
        checks.array(values, name)


COLUMN_LINES = {
    "pandas dates": (lambda: pytest.importorskip("pandas").Series(dates("to_datetime")), "(w - w.min()) / pandas.Timedelta(days=1)"),
    "pandas categories": (lambda: pytest.importorskip("pandas").Series([1, 2], dtype="category"), "w.astype(float)"),
    "polars text": (lambda: pytest.importorskip("polars").Series(["1", "2"]), "w.cast(polars.Float64)"),
    "polars dates": (lambda: pytest.importorskip("polars").Series([datetime.date(2024, 1, 3)]), "(w - w.min()).dt.total_seconds() / 86400"),
    "pyarrow text": (lambda: pytest.importorskip("pyarrow").array(["1", "2"]), 'w.cast("float64")'),
}  # fmt: skip


@pytest.mark.parametrize("kind", COLUMN_LINES)
def test_single_columns_that_are_not_numbers(kind):
    make, line = COLUMN_LINES[kind]
    with pytest.raises(ValueError, match=r"w holds .*, not numbers") as caught:
        checks.array(make(), "w")
    assert line in str(caught.value)
    assert checks.array(run_line(re.sub(r"\bw\b", "x", line), make()), "w").dtype == np.float64


def test_arrays_of_numbers_are_not_copied():
    for x in (ROWS, HALVES, jnp.asarray(HALVES), ROWS[::2].T):
        assert checks.array(x, "x") is x
    assert jax.jit(lambda x: checks.array(x, "x") * 2)(HALVES).shape == HALVES.shape


NAMED_TABLES = {
    "pandas": pandas, "polars": polars, "pyarrow": arrow, "batch": lambda: arrow().to_batches()[0],
    "Dataset": dataset,
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED_TABLES)
def test_names_of_features(kind):
    table = NAMED_TABLES[kind]()
    assert resolve_feature_names(None, table, 2) == ["a", "b"]
    assert resolve_feature_names(["c", "d"], table, 2) == ["c", "d"]
    assert resolve_feature_names(None, ROWS, 2) == ["feature 1", "feature 2"]
    mixture = jaxgmm.Mixture.from_parameters([0.5, 0.5], HALVES[:2], [1.0, 2.0], "spherical")
    text = jaxgmm.summary(mixture, table, weight=COLUMNS["polars"]([1.0] * 5))
    assert re.search(r"^a .*\nb ", text, re.M) and re.search(r"-\d+\.\d+ +5 ", text)


def test_names_that_are_no_strings():
    assert resolve_feature_names(None, pandas().set_axis([0, "b"], axis=1), 2) == ["0", "b"]
    with pytest.raises(ValueError, match="column 0 of x holds text"):
        check_rows(pandas(b=TEXT).set_axis(["a", 0], axis=1))


@pytest.mark.parametrize("form", [form for form in ACCEPTED if "JAX" not in form])
def test_the_estimator_takes_the_same(form):
    estimator = pytest.importorskip("jaxgmm.sklearn").GaussianMixture(1)
    make, dtype = ACCEPTED[form]
    rows = estimator._validate_rows(make())
    assert rows.dtype == np.dtype(dtype) and estimator.n_features_in_ == 2
    np.testing.assert_array_equal(rows, ROWS)


@pytest.mark.parametrize("kind", NAMED_TABLES)
def test_the_estimator_stores_names(kind):
    estimator = pytest.importorskip("jaxgmm.sklearn").GaussianMixture(1)
    table = NAMED_TABLES[kind]()
    estimator._validate_rows(table)
    assert estimator.feature_names_in_.tolist() == ["a", "b"]
    estimator._validate_rows(table, reset=False)
    with pytest.raises(ValueError, match="feature names should match"):
        estimator._validate_rows(pandas().set_axis(["b", "a"], axis=1), reset=False)
    estimator._validate_rows(pandas().set_axis([0, "b"], axis=1))
    assert not hasattr(estimator, "feature_names_in_") and estimator.n_features_in_ == 2


def test_the_estimator_names_what_it_refuses():
    made = pytest.importorskip("jaxgmm.sklearn").GaussianMixture
    for x, words in [
        (pandas(s=TEXT), r"column 's' of X holds text .* X\[\['a', 'b'\]\]"),
        (polars(s=TEXT).lazy(), r"X is a polars LazyFrame: call \.collect\(\)"),
        (pytest.importorskip("scipy.sparse").csr_matrix(ROWS), r"X is sparse.*X\.toarray\(\)"),
        (MOMENTS, "X holds dates"),
    ]:
        with pytest.raises(ValueError, match=words):
            made(1).fit(x)
    with pytest.raises(TypeError, match=r"argument must be .* string.* number"):
        made(1).fit([[1.0, {}]])
    with pytest.raises(ValueError, match="sample_weight holds text"):
        made(1).fit(ROWS, sample_weight=TEXT)


def test_the_estimator_fits_tables():
    made = pytest.importorskip("jaxgmm.sklearn").GaussianMixture
    table = pandas({"a": "Float64", "b": "boolean"})
    weight = COLUMNS["polars"]([1, 2, 1, 1, 1])
    fitted = made(1).fit(table, sample_weight=weight)
    expected = made(1).fit(ROWS, sample_weight=[1, 2, 1, 1, 1])
    np.testing.assert_array_equal(fitted.means_, expected.means_)
    assert fitted.score(table, sample_weight=weight) == expected.score(ROWS, sample_weight=weight)


def test_searches_name_the_columns_of_tables():
    key, words = jax.random.key(0), "row 1 of x contains NaN in column 'b'"
    with pytest.raises(ValueError, match=words):
        jaxgmm.sweep(key, MISSING["pandas"](), 1)
    with pytest.raises(ValueError, match=words):
        jaxgmm.compare(key, MISSING["polars"](), 1, ["em"])


def test_tables_in_streams_and_shards():
    key = jax.random.key(0)
    expected = jaxgmm.initialize(key, jaxgmm.Stream([HALVES, HALVES]), 2)
    found = jaxgmm.initialize(key, jaxgmm.Stream([pandas("float32"), polars(a=HALVES[:, 0])]), 2)
    np.testing.assert_array_equal(found.means, expected.means)
    with pytest.raises(ValueError, match="column 's' of block 1 of the stream holds text"):
        jaxgmm.initialize(key, jaxgmm.Stream([ROWS, pandas(s=TEXT)]), 2)
    words = r"row 1 of block 1 of the stream \(row 6 of all\) contains NaN in column 1"
    with pytest.raises(ValueError, match=words):
        jaxgmm.initialize(key, jaxgmm.Stream([ROWS, MISSING["polars bool"]()]), 2)
    with pytest.raises(ValueError, match="row 1 of x contains NaN in column 'b'"):
        jaxgmm.initialize(key, jaxgmm.Shards(MISSING["pandas"]()), 2)


def test_no_library_of_tables_is_imported():
    code = (
        "import sys, jaxgmm; from jaxgmm.internal import checks; checks.array([[1, None]], 'x');"
        "print(sorted({'pandas', 'polars', 'pyarrow', 'xarray', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
