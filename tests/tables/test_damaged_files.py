"""Ten thousand damaged files: each gives rows of numbers, or one sentence, and never a traceback."""

import bz2
import gzip
import io
import zipfile

import numpy as np
import pytest

from jaxgmm.tables.options import ReadOptions
from jaxgmm.tables.read_table import read_table

TEXT = "id,width,height,name\n1,1.5,-20,u\n2,3.25,4,v\n3,1e-3,NA,u\n4,7,8.125,w\n"
PIECES = [
    b",", b";", b"\t", b" ", b"\n", b"\r", b'"', b"'", b"#", b"%", b".", b"-", b"_", b"e", b"\x00",
    b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xe4", b"NA", b"inf", b"nan", b"1e999", b"sep=", b"\\",
    b"1,234", b"1.234,5", b"2024-01-31", b"True", b",,,,", b"\n\n\n", b'""', b"\x1f\x8b", b"PK\x03\x04",
    "−5".encode(), "１２".encode(), "\u2028".encode(), b"9" * 400,
]  # fmt: skip


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(name, content) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


FILES = {
    "commas.csv": TEXT.encode(),
    "european.csv": TEXT.replace(",", ";").replace(".", ",").encode(),
    "blanks.txt": TEXT.replace(",", "  ").encode(),
    "quoted.csv": TEXT.replace("u", '"a, b"').encode(),
    "bare.csv": b"1,2\n3,4\n5,6.5\n7,8\n",
    "index.csv": b",0,1\n0,1.5,2\n1,3,4\n",
    "utf16.csv": TEXT.encode("utf-16"),
    "rows.csv.gz": gzip.compress(TEXT.encode()),
    "rows.csv.bz2": bz2.compress(TEXT.encode()),
    "rows.zip": zipped("rows.csv", TEXT),
    "rows.npy": npy(np.eye(3)),
    "rows.npz": zipped("x.npy", npy(np.eye(3))),
}
OPTIONS = [
    ReadOptions(),
    ReadOptions(numeric=True, drop_missing=True),
    ReadOptions(columns=["1"], weight="2"),
    ReadOptions(columns=["width", "height"], drop_missing=True, header=True),
    ReadOptions(numeric=True, decimal=",", missing=("-20", "u")),
    ReadOptions(encoding="latin-1", separator=";", header=False, numeric=True),
]


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """The content after one to three random changes."""
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(len(content) + 1))
        to = min(len(content), at + int(rng.integers(1, 9)))
        kind = rng.integers(5)
        if kind == 0:
            content = content[:at] + PIECES[rng.integers(len(PIECES))] + content[at:]
        elif kind == 1:
            content = content[:at] + content[to:]
        elif kind == 2:
            content = content[:to] + content[at:]
        elif kind == 3:
            content = content[:at] + rng.bytes(to - at) + content[to:]
        elif rng.random() < 0.3:
            content = content[:at]
    return content


def check(path, content: bytes, options: ReadOptions) -> bool:
    """Read a damaged file. What is read is numbers, and the same if it is written plainly."""
    path.write_bytes(content)
    try:
        rows = read_table(str(path), options)
    except ValueError as error:
        message = " ".join(str(error).split())
        assert message.endswith(".") and len(message) < 1000, (content, message)
        return False
    assert np.isfinite(rows.x).all() and rows.x.shape == (rows.complete.sum(), len(rows.names))
    assert len(rows.x) and rows.names and rows.notes[0].endswith("."), content
    if options.columns is not None and rows.named:
        assert len(rows.names) == len(options.columns), content
    plain = path.with_name("plain.csv")
    header = ",".join(f"column {i}" for i in range(len(rows.names)))
    np.savetxt(plain, rows.x, "%.17g", ",", header=header, comments="")
    np.testing.assert_array_equal(read_table(str(plain)).x, rows.x)
    return True


@pytest.mark.parametrize("name", FILES)
def test_damaged_files_give_rows_or_one_sentence(tmp_path, name):
    rng = np.random.default_rng(list(FILES).index(name))
    count = 10_000 // len(FILES) + 1
    read = sum(
        check(tmp_path / name, damage(FILES[name], rng), OPTIONS[i % len(OPTIONS)])
        for i in range(count)
    )
    assert read < count


def test_damaged_parquet(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"a": [1.5, 2.5, None], "b": [1, 2, 3], "c": ["u", "v", "w"]})
    parquet.write_table(table, tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(500):
        path = tmp_path / "rows.parquet"
        check(path, damage(content, rng), OPTIONS[i % 2])
