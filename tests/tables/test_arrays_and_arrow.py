"""NumPy files, and Parquet and Arrow files: what they hold, and the line that converts it."""

import datetime
import decimal
import io

import numpy as np
import pytest

from jaxgmm.tables.options import ReadOptions
from jaxgmm.tables.read_table import read_table

X = np.array([[1.5, 1.0], [3.0, 0.0], [4.5, 1.0]])


@pytest.mark.parametrize(
    "array",
    [X, X.astype(np.float32), X.astype(">f8"), X.astype(np.longdouble), np.asfortranarray(X)],
)
def test_arrays_of_numbers(tmp_path, array):
    np.save(tmp_path / "rows.npy", array)
    np.savez(tmp_path / "one.npz", x=array)
    np.savez_compressed(tmp_path / "packed.npz", x=array)
    for name in ("rows.npy", "one.npz", "packed.npz"):
        rows = read_table(str(tmp_path / name))
        assert rows.x.dtype == np.float64 and not rows.named
        np.testing.assert_array_equal(rows.x, X)
    (tmp_path / "rows.dat").write_bytes((tmp_path / "rows.npy").read_bytes())
    np.testing.assert_array_equal(read_table(str(tmp_path / "rows.dat")).x, X)


def test_one_column_whole_numbers_and_truth_values(tmp_path):
    for array in (np.arange(3), np.array([True, False]), np.arange(3, dtype=np.uint8)):
        np.save(tmp_path / "rows.npy", array)
        np.testing.assert_array_equal(read_table(str(tmp_path / "rows.npy")).x[:, 0], array)


REFUSED = {
    "image": (np.zeros((20, 30, 3), np.uint8), r"shape \(20, 30, 3\).* save x.reshape\(-1, 3\)"),
    "objects": (X.astype(object), r"dtype object, shape \(3, 2\).*x.astype\(float\)"),
    "text": (np.array(["1", "2"]), r"holds text \(dtype <U1\).* save x.astype\(float\)"),
    "dates": (np.array(["2024-01-01", "2024-01-03"], "M8[D]"), "dates or times .*timedelta64"),
    "complex": (X.astype(complex), "complex numbers.*x.real"),
    "structured": (np.zeros(3, [("u", float), ("v", int)]), r"the fields u, v.*numpy.array\(x.tol"),
    "number": (np.float64(3), "a single number, 3.0"),
    "no rows": (np.zeros((0, 2)), "has no rows"),
    "no columns": (np.zeros((3, 0)), "has no columns"),
    "missing": (np.array([[1.0, 2], [np.nan, 3]]), r"column 'feature 1' has no number in row 2"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_arrays_that_are_refused(tmp_path, kind):
    array, words = REFUSED[kind]
    np.save(tmp_path / "rows.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=words) as error:
        read_table(str(tmp_path / "rows.npy"))
    assert str(error.value).endswith(".")
    offered = str(error.value).split("save ")[-1].rstrip(".")
    if "x" in offered and "numpy.load(path)" in str(error.value):  # the line gives rows of numbers
        import numpy

        converted = eval(offered, {"x": array, "numpy": numpy})
        assert np.issubdtype(converted.dtype, np.floating) or kind == "image"
        assert converted.ndim in (1, 2)


def test_archives_that_are_refused(tmp_path):
    np.savez(tmp_path / "two.npz", x=X, y=X)
    with pytest.raises(ValueError, match=r"contains 2 arrays \(x, y\): save the rows alone"):
        read_table(str(tmp_path / "two.npz"))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is not a \.npz file, or it is damaged"):
        read_table(str(tmp_path / "cut.npz"))
    file = io.BytesIO()
    np.save(file, X)
    (tmp_path / "cut.npy").write_bytes(file.getvalue()[:-8])
    with pytest.raises(ValueError, match="is not a NumPy file of numbers, or it is damaged"):
        read_table(str(tmp_path / "cut.npy"))


def test_a_model_is_not_rows(tmp_path):
    import jaxgmm

    mixture = jaxgmm.Mixture.from_parameters([1.0], [[0.0]], np.ones((1, 1, 1)))
    jaxgmm.save(tmp_path / "model.npz", mixture)
    with pytest.raises(ValueError, match="is a model that fit wrote: pass a"):
        read_table(str(tmp_path / "model.npz"))


@pytest.fixture(scope="module")
def arrow(tmp_path_factory):
    """One table of many types, as Parquet and as Feather."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet, feather = (
        pytest.importorskip("pyarrow.parquet"),
        pytest.importorskip("pyarrow.feather"),
    )
    day = datetime.datetime(1970, 1, 3)
    table = pyarrow.table(
        {
            "float": pyarrow.array([1.5, None, 3.0], pyarrow.float32()),
            "whole": [1, 2, 3],
            "truth": [True, False, None],
            "a.b": pyarrow.array([decimal.Decimal("0.5")] * 3),
            "coded": pyarrow.array([7, 8, 7]).dictionary_encode(),
            "day": [day, day + datetime.timedelta(hours=36), day],
            "length": [datetime.timedelta(days=1)] * 3,
            "text": ["1", "2", "3"],
            "list": [[1], [2], []],
            "void": pyarrow.nulls(3),
            "__index_level_0__": [5, 6, 7],
        }
    )
    folder = tmp_path_factory.mktemp("arrow")
    parquet.write_table(table, folder / "rows.parquet", row_group_size=2)
    feather.write_feather(table.drop_columns(["list"]), folder / "rows.feather", chunksize=2)
    return folder


@pytest.mark.parametrize("name", ["rows.parquet", "rows.feather"])
def test_arrow(arrow, name):
    path = str(arrow / name)
    rows = read_table(path, ReadOptions(numeric=True, drop_missing=True))
    assert rows.names == ["float", "whole", "truth", "a.b", "coded"]
    np.testing.assert_array_equal(rows.x, [[1.5, 1, 1, 0.5, 7]])
    np.testing.assert_array_equal(rows.complete, [True, False, False])
    for left in ("day, length (dates)", "text (text)", "void (empty)", "__index_level_0__ (an ind"):
        assert left in rows.notes[0]
    chosen = read_table(path, ReadOptions(columns=["day", "length", "__index_level_0__"]))
    np.testing.assert_array_equal(chosen.x, [[2, 1, 5], [3.5, 1, 6], [2, 1, 7]])
    with pytest.raises(ValueError, match=r"'day' holds dates \('1970-01-03 00:00:00' in row 1\)"):
        read_table(path)
    with pytest.raises(ValueError, match=r"'text' holds numbers that are stored as text \('1'"):
        read_table(path, ReadOptions(columns=["text"]))


def test_parquet_that_is_refused(arrow, tmp_path):
    with pytest.raises(ValueError, match=r"'list' holds lists or structures \('\[1\]' in row 1\)"):
        read_table(str(arrow / "rows.parquet"), ReadOptions(columns=["list"]))
    content = (arrow / "rows.parquet").read_bytes()
    for damaged in (b"", b"no", content[:-9], content[:4] + bytes(20) + content[24:]):
        (tmp_path / "bad.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match="damaged: write it again"):
            read_table(str(tmp_path / "bad.parquet"), ReadOptions(columns=["whole", "float"]))


def test_the_index_of_pandas_is_left_out(tmp_path):
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = pandas.DataFrame(X, columns=["a", "b"])
    frame.index = pandas.Index([10, 20, 30], name="key")
    frame.to_parquet(tmp_path / "rows.parquet")
    rows = read_table(str(tmp_path / "rows.parquet"))
    assert rows.names == ["a", "b"] and "left out: key (an index)" in rows.notes[0]


def test_names_of_parquet_can_be_typed(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        pyarrow.table({"a  (mm)\n": [1.5, 2.5], "b": [1, 3]}), tmp_path / "t.parquet"
    )
    for columns in (["a (mm)"], ["a  (mm)"]):
        rows = read_table(str(tmp_path / "t.parquet"), ReadOptions(columns=columns))
        assert rows.names == ["a (mm)"] and rows.x[:, 0].tolist() == [1.5, 2.5]
    rows = read_table(str(tmp_path / "t.parquet"), features=["b", "a  (mm)"])
    assert rows.names == ["b", "a (mm)"]


def test_parquet_without_pyarrow_says_so(monkeypatch, tmp_path):
    (tmp_path / "rows.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        ImportError, match=r"needs pyarrow: install it \(python -m pip install pyarr"
    ):
        read_table(str(tmp_path / "rows.parquet"))
