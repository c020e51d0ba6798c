"""From the bytes of a file to text: compression, encodings, and formats that are not text."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import re
import sys
import zipfile

from .errors import FileContentError

# Formats that are not text, recognized by their first bytes, and what to do about them.
_AS_CSV = "save the sheet as CSV (in a spreadsheet: Save As, CSV UTF-8)"
_FROM_R = "write the table in R: write.csv(x, 'rows.csv', row.names = FALSE)"
_FROM_XARRAY = "write its variables as CSV, e.g. xarray's to_dataframe().to_csv(new)"
FOREIGN = {
    b"\xd0\xcf\x11\xe0": ("an Excel workbook", _AS_CSV),
    b"\x89HDF": ("an HDF5 file", "write the table as CSV, e.g. pandas.read_hdf(path).to_csv(new)"),
    b"SIMPLE  =": ("a FITS file", "write its table as CSV, e.g. by astropy.table.Table.read(path)"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it: zstd -d"),
    b"RDX2\n": ("an R data file", _FROM_R),
    b"RDX3\n": ("an R data file", _FROM_R),
    b"RDA2\n": ("an R data file", _FROM_R),
    b"RDA3\n": ("an R data file", _FROM_R),
    b"X\n\x00": ("an R data file", _FROM_R),
    b"%PDF-": ("a PDF document", "pass the table as CSV"),
    b"\x80\x04\x95": ("a Python pickle", "write the table as CSV, e.g. x.to_csv('rows.csv')"),
    b"\x80\x05\x95": ("a Python pickle", "write the table as CSV, e.g. x.to_csv('rows.csv')"),
    b"MATLAB 5.0": ("a MATLAB file", "write the matrix in MATLAB: writematrix(x, 'rows.csv')"),
    b"SQLite format 3\x00": ("a SQLite database", "write a table as CSV"),
    b"CDF\x01": ("a netCDF file", _FROM_XARRAY),
    b"CDF\x02": ("a netCDF file", _FROM_XARRAY),
    b"CDF\x05": ("a netCDF file", _FROM_XARRAY),
    b"$FL2@(#)": ("an SPSS file", "write it as CSV, e.g. pandas.read_spss(path).to_csv(new)"),
    b"<stata_dta>": ("a Stata file", "write it as CSV, e.g. pandas.read_stata(path).to_csv(new)"),
    b"%%MatrixMarket": ("a sparse matrix", "save it as a dense array, e.g. scipy.io.mmread(path)"),
    b"PAR1": ("Parquet", "pass the name of an uncompressed file"),
    b"ARROW1": ("an Arrow file", "pass the name of an uncompressed file"),
    b"\x89PNG": ("an image", "pass a table, e.g. its pixels by numpy.save(new, x.reshape(-1, 3))"),
    b"\xff\xd8\xff": ("an image", "pass a table, e.g. its pixels by numpy.save"),
}
# Texts that are not tables, recognized by how they begin, after blanks and comments.
FOREIGN_TEXTS = {
    r"<(!doctype )?html|<head|<body": ("a web page", "download the file itself"),
    r"<\?xml|<(?!na>)[a-z][\w:-]*[ />]": (
        "XML",
        "write the table as CSV, e.g. pandas.read_xml(path).to_csv(new, index=False)",
    ),
    r"\[\s*[\[{\"\d-]|{\s*\"": (
        "JSON",
        "write the table as CSV, e.g. pandas.read_json(path).to_csv(new, index=False)",
    ),
    r"@relation": (
        "an ARFF file",
        "write its data section as CSV, without the lines that begin with @",
    ),
}
_LEADING = re.compile(r"(\s|[#%].*\n)*")
BYTE_ORDER_MARKS = {  # UTF-32 before UTF-16, whose mark begins it
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
NOT_TEXT = re.compile("[\x00-\x08\x0e-\x1f]")


def read_bytes(path: str) -> bytes:
    """Return the content of a file, or of stdin if the path is "-"."""
    if path == "-" and sys.stdin is None:
        raise ValueError("stdin is closed: pass the name of a file.")
    with contextlib.nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
        return file.read()


def decompress(content: bytes, shown: str) -> bytes:
    """Return the content without gzip, bz2, xz or zip compression.

    Args:
      content: the bytes of the file.
      shown: the name of the file in messages.

    Raises:
      ValueError: for damaged content, and for a zip archive of several files.
    """
    try:
        if content.startswith(b"\x1f\x8b"):
            return gzip.decompress(content)
        if content.startswith(b"BZh"):
            return bz2.decompress(content)
        if content.startswith(b"\xfd7zXZ\x00"):
            return lzma.decompress(content)
        if content.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return _unzip(content, shown)
    except FileContentError:
        raise
    except Exception as error:  # damaged archives raise errors of many kinds
        raise ValueError(
            f"{shown} cannot be unpacked ({error}): copy or download the file again, or pass the "
            "unpacked file."
        ) from None
    return content


def _unzip(content: bytes, shown: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if "[Content_Types].xml" in names:
            raise FileContentError(f"{shown} is an Excel workbook: {_AS_CSV}.")
        if any(name.endswith(".ods") or name == "mimetype" for name in names):
            raise FileContentError(f"{shown} is an OpenDocument file: {_AS_CSV}.")
        names = [name for name in names if not name.startswith("__MACOSX/")]
        if not names:
            raise FileContentError(f"{shown} is an archive without files: pass a file of rows.")
        if len(names) != 1:
            listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            raise FileContentError(
                f"{shown} contains {len(names)} files ({listed}): unpack it and pass one of them."
            )
        return archive.read(names[0])


def decode(content: bytes, shown: str, encoding: str | None = None) -> str:
    """Return the text of a file.

    Args:
      content: the bytes of the text.
      shown: the name of the file in messages.
      encoding: the encoding, or None for UTF-8, or for UTF-16 and UTF-32 where a byte order mark or
        zero bytes show it.

    Raises:
      ValueError: for an unknown encoding, for text in another encoding, and for what is not text.
    """
    for start, (kind, remedy) in FOREIGN.items():
        if content.startswith(start):
            raise ValueError(f"{shown} is {kind}: {remedy}.")
    chosen = encoding or _recognize(content)
    try:
        text = content.decode(chosen)
    except LookupError:
        raise ValueError(
            f"--encoding {encoding!r} is unknown: write e.g. --encoding latin-1, cp1252 or utf-16."
        ) from None
    except ValueError as error:
        place = getattr(error, "start", 0)
        if encoding is not None:
            raise ValueError(
                f"{shown} is not text in {encoding} (byte {place}): try another --encoding, e.g. "
                "utf-8, latin-1, cp1252 or utf-16."
            ) from None
        raise ValueError(f"{shown} is not {_hint(content, place)}") from None
    if not isinstance(text, str) or NOT_TEXT.search(text):
        raise ValueError(
            f"{shown} is not a text file: pass CSV, .npy, .npz or .parquet, or name the encoding "
            "of the text, e.g. --encoding utf-16."
        )
    text = text.removeprefix("\ufeff")
    leading = _LEADING.match(text, 0, 10_000)
    begin = leading.end() if leading else 0
    for pattern, (kind, remedy) in FOREIGN_TEXTS.items():
        if re.compile(pattern, re.I).match(text, begin):
            raise ValueError(f"{shown} is {kind}: {remedy}.")
    return text


def _recognize(content: bytes) -> str:
    """Return the encoding that a byte order mark shows, or every second byte being zero."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return encoding
    head = content[:1000]
    if len(head) >= 4:
        if not any(head[1::2]):
            return "utf-16-le"
        if not any(head[::2]):
            return "utf-16-be"
    return "utf-8"


def _hint(content: bytes, place: int) -> str:
    """Return what the file is not: text, or text in UTF-8, with its words in Latin-1."""
    if b"\x00" in content[:1000]:
        return "a text file: pass CSV, .npy, .npz or .parquet."
    start = max(content.rfind(b"\n", 0, place) + 1, place - 15)
    word = content[start : place + 15].splitlines()[0].decode("latin-1")
    line = content.count(b"\n", 0, place) + 1
    return (
        f"text in UTF-8 (line {line}). In Latin-1 it would read {word!r}: if that is right, pass "
        "--encoding latin-1; for a file of Windows, cp1252."
    )
