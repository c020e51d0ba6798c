"""Files as people have them: the same table in many forms, what is left out, what is refused."""

import bz2
import gzip
import io
import lzma
import re
import zipfile

import numpy as np
import pytest

from jaxgmm.tables.options import ReadOptions
from jaxgmm.tables.read_table import read_table

X = np.array([[1.5, -20.0], [3.25, 4.0], [1e-3, 6.5], [7.0, 8.125]])
TEXT = "width,height\n1.5,-20\n3.25,4\n1e-3,6.5\n7,8.125\n"
EUROPEAN = TEXT.replace(",", ";").replace(".", ",")


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path):
    """The rows of a file with this content, read with these options."""

    def read(content, name="rows.csv", features=None, **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(str(path), ReadOptions(**options), features)

    return read


SAME = {
    "commas": TEXT,
    "semicolons": TEXT.replace(",", ";"),
    "tabs": TEXT.replace(",", "\t"),
    "bars": TEXT.replace(",", "|"),
    "blanks": TEXT.replace(",", "   "),
    "blanks and tabs": TEXT.replace(",", " \t ").replace("\n", " \n "),
    "blanks around commas": TEXT.replace(",", " , "),
    "decimal commas": EUROPEAN,
    "decimal commas between blanks": EUROPEAN.replace(";", "  "),
    "quoted decimal commas": '"width","height"\n"1,5",-20\n"3,25",4\n"1e-3","6,5"\n7,"8,125"\n',
    "quoted": re.sub(r"[^,\n]+", r'"\g<0>"', TEXT),
    "sep=": "sep=;\n" + EUROPEAN,
    "sep= in quotes": '"sep=;"\n' + EUROPEAN,
    "Windows lines": TEXT.replace("\n", "\r\n"),
    "old Macintosh lines": TEXT.replace("\n", "\r"),
    "no last line end": TEXT.rstrip(),
    "empty lines": TEXT.replace("\n", "\n\n") + "\n \n",
    "lines of separators below": TEXT + ",\n,\n",
    "comments": "# made by hand\n" + TEXT.replace("\n7", "\n# a comment, with a comma\n7"),
    "a header in a comment": "# width height\n" + TEXT.split("\n", 1)[1].replace(",", " "),
    "exponents and signs": TEXT.replace("1.5", "+15E-1").replace("7,", "7.,"),
    "empty column behind": TEXT.replace("\n", ",\n"),
    "empty column behind, without a name": TEXT.replace("\n", ",\n").replace("t,", "t", 1),
    "separator behind the header": TEXT.replace("height", "height,"),
    "unnamed index": "".join(f"{i},{line}\n" for i, line in enumerate(TEXT.split()))[1:],
    "index of pandas": "".join(
        f"{i - 1 if i else 'Unnamed: 0'},{line}\n" for i, line in enumerate(TEXT.split())
    ),
    "row names of R": "".join(
        (f'"{i}" ' if i else "") + line + "\n"
        for i, line in enumerate(TEXT.replace(",", " ").split("\n")[:5])
    ),
    "row names of write.csv": '"",' + "".join(
        (f'"row {i}",' if i else "") + line + "\n" for i, line in enumerate(TEXT.split())
    ),
    "UTF-8 with a mark": "\ufeff" + TEXT,
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "UTF-16, other order": TEXT.encode("utf-16-be"),
    "UTF-32": TEXT.encode("utf-32"),
    "gzip": gzip.compress(TEXT.encode()),
    "bz2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "zip": zipped(**{"folder/rows.txt": TEXT, "__MACOSX/rows.txt": b"\x00"}),
    "gzip of UTF-16": gzip.compress(EUROPEAN.encode("utf-16")),
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
def test_the_same_table_in_many_forms(read, form):
    rows = read(SAME[form])
    np.testing.assert_array_equal(rows.x, X)
    assert rows.names == ["width", "height"] and rows.named and rows.complete.all()
    assert rows.notes[0].startswith("4 rows × 2 columns from ")


@pytest.mark.parametrize("form", ["commas", "semicolons", "tabs", "blanks", "decimal commas"])
def test_without_a_header(read, form):
    rows = read(SAME[form].split("\n", 1)[1])
    np.testing.assert_array_equal(rows.x, X)
    assert rows.names == ["feature 1", "feature 2"] and not rows.named


@pytest.mark.parametrize(
    "code", ["", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "null", "None", "?", " NA "]
)  # fmt: skip
def test_codes_of_missing_values(read, code):
    text = TEXT.replace("3.25", code)
    with pytest.raises(
        ValueError, match=r"column 'width' has no number in line 3 \(incomplete row"
    ):
        read(text)
    rows = read(text, drop_missing=True)
    np.testing.assert_array_equal(rows.x, X[[0, 2, 3]])
    np.testing.assert_array_equal(rows.complete, [True, False, True, True])
    assert "incomplete rows left out: 1 of 4." in rows.notes


@pytest.mark.parametrize("code", ["-999", "-999.0", "missing", "."])
def test_further_codes_of_missing_values(read, code):
    text = TEXT.replace("3.25", "-999" if "999" in code else code)
    rows = read(text, missing=(code,), drop_missing=True)
    np.testing.assert_array_equal(rows.x, X[[0, 2, 3]])


def test_blanks_within_cells_do_not_separate(read):
    text = "symbol,date,price\n" + "".join(
        f"MSFT,Jan {i} 2000,{i * 7 % 5}.81\n" for i in range(1, 9)
    )
    rows = read(text, numeric=True)
    assert rows.names == ["price"] and "left out: symbol (text), date (dates)." in rows.notes[0]


def test_truth_values_are_numbers(read):
    for yes, no in (("True", "False"), ("TRUE", "FALSE"), ("true", "false")):
        rows = read(f"a,ok\n1.5,{yes}\n2,{no}\n2.5,{yes}\n")
        np.testing.assert_array_equal(rows.x, [[1.5, 1], [2, 0], [2.5, 1]])


def test_one_column_of_decimal_commas(read):
    rows = read("height\n102,51\n112,81\n89,2\n")
    np.testing.assert_array_equal(rows.x[:, 0], [102.51, 112.81, 89.2])
    assert rows.names == ["height"]


def test_decimal_signs_are_those_of_a_column(read):
    rows = read("version;x;y\n1.0;102,51;4,87\n1.1;3,5;2\n")
    np.testing.assert_array_equal(rows.x, [[1, 102.51, 4.87], [1.1, 3.5, 2]])


def test_numbers_that_mark_missing_values_in_every_kind_of_file(tmp_path):
    np.save(tmp_path / "rows.npy", [[1.0, 2], [-999, 3], [4, 5]])
    rows = read_table(str(tmp_path / "rows.npy"), ReadOptions(missing=("-999",), drop_missing=True))
    np.testing.assert_array_equal(rows.x, [[1, 2], [4, 5]])


def test_a_header_that_begins_with_a_number_sign(read):
    text = "#,Name,HP,Attack\n1,u,102.5,4\n2,v,3,4.5\n4,w,3,5\n"
    for header in (None, True):
        rows = read(text, columns=["HP", "#"], header=header)
        assert rows.names == ["HP", "#"] and rows.x.tolist() == [[102.5, 1], [3, 2], [3, 4]]


@pytest.mark.parametrize(
    "text", ["cdf,rda\n1,2\n", "CDF,RDX\n1,2\n", "[mm],{g}\n1,2\n", "<NA>,5\n1,2\n", "<na>,5\n1,2\n"]
)  # fmt: skip
def test_tables_that_begin_as_other_formats_do(read, text):
    np.testing.assert_array_equal(read(text, drop_missing=True).x, [[1, 2]])


def test_columns_of_one_name_are_chosen_by_number(read):
    text = "a,b,a,\n1,2,3,\n4,5,7,\n"
    np.testing.assert_array_equal(read(text, columns=["b"]).x, [[2], [5]])
    rows = read(text, columns=["1", "3"])
    assert rows.names == ["a (1)", "a (3)"] and rows.columns == ["1", "3"]
    with pytest.raises(
        ValueError, match=r"has 2 columns called 'a': choose one by its number, 1 or 3"
    ):
        read(text, columns=["a"])


def test_a_model_of_dates_finds_them(read):
    rows = read("a,day,w\n1,1970-01-02,u\n2,1970-01-05,v\n", features=["day", "a"])
    np.testing.assert_array_equal(rows.x, [[1, 1], [4, 2]])


def test_many_columns(read):
    d = 20_000
    text = ",".join(f"gene{i}" for i in range(d)) + ("\n" + ",".join(["1.5", "2"] * (d // 2))) * 3
    rows = read(text)
    assert rows.x.shape == (3, d) and rows.names[-1] == "gene19999"


HEADERS = {
    "text above dates": ("day,2330\n2024-01-01,1.5\n2024-01-02,2\n", ["day", "2330"], ""),
    "text above text, whole numbers": ("n,2019\nu,0.3\nv,1.5\n", ["n", "2019"], "the names of"),
    "ascending": ("400,410,420\n1.5,2.5,1\n3,4,2\n", None, "pass --header to read"),
    "ascending decimals": ("0.5,1.0,1.5\n1.5,2.5,1\n3,4,2\n", None, "pass --header to read"),
    "all rows ascend": ("0.5,1.0,1.5\n1.5,2.5,3\n3,4,5\n", None, ""),
    "dates without a header": ("2024-01-01,5\n2024-01-02,2\n", None, ""),
    "dates and text without a header": ("2024-01-01,u\n2024-01-02,v\n", None, ""),
    "years": ("2019,2020\n1.5,2.5\n3,4.5\n", ["2019", "2020"], "the names of"),
    "from 0": ("0,1\n1.5,2.5\n3,4.5\n", ["0", "1"], "pass --no-header to read it as a row"),
    "from 1": ("1,2,3\n1.5,2.5,1.5\n3,4.5,1\n", ["1", "2", "3"], "pass --no-header"),
    "index and numbers": (",0,1\n0,15,25\n1,3,4\n", ["0", "1"], "line 1 (no name, 0, 1) is read"),
    "text and years": ("a,2019,2020\n1,1.5,2\n2,3,4\n", ["a", "2019", "2020"], ""),
    "years of whole numbers": ("2019,2020\n15,25\n3,45\n", None, "pass --header to read"),
    "a first row like a count": ("1,2\n1.5,2.5\n3,4.5\n", None, ""),
    "a first row": ("5,2\n1.5,2.5\n3,4.5\n", None, ""),
    "a missing first cell": ("NA,2\n1.5,2.5\n3,4.5\n", None, ""),
    "one column": ("2019\n1.5\n3\n", None, ""),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_whether_the_first_line_is_a_header(read, kind):
    text, names, note = HEADERS[kind]
    if kind.endswith("without a header"):
        with pytest.raises(ValueError, match="column 'feature 1' holds dates"):
            read(text)
        return
    rows = read(text, drop_missing=True, columns=None if names is None else names[-1:])
    rows = rows if names is None else rows._replace(names=[*names[:-1], *rows.names])
    assert (rows.names if rows.named else None) == names
    assert note in " ".join(rows.notes)
    assert bool(note) == any("line 1" in line for line in rows.notes)
    for header in (True, False):
        if "u" in text and not header:
            continue  # text in the column
        told = read(text, header=header, drop_missing=True, columns=["2"] if "," in text else None)
        assert told.named == header and not any("line 1" in line for line in told.notes)
        assert len(told.complete) == text.count("\n") - header


TABLE = "id,name,day,a,b,\n" + "".join(
    f"{i},x{i},2024-01-{i:02},{i * i % 7}.5,{i % 3},\n" for i in range(1, 9)
)


def test_what_is_left_out_is_said(read):
    rows = read(TABLE, numeric=True)
    assert rows.names == ["id", "a", "b"]
    described, warning = rows.notes
    assert described.endswith("left out: column 6 (empty), name (text), day (dates).")
    assert "8 rows × 3 columns from " in described
    assert warning.startswith("warning: column 'id' only counts the rows (1, 2, …)")
    assert "--columns a,b" in warning
    chosen = read(TABLE, columns=["b", "day", "4"])
    assert chosen.names == ["b", "day", "a"]
    np.testing.assert_array_equal(np.diff(chosen.x[:, 1]), 1)
    assert chosen.x[0, 1] == np.datetime64("2024-01-01").astype(int)
    assert "column 'day' is read as days since 1970-01-01." in chosen.notes
    weighted = read(TABLE, columns=["a"], weight="id")
    np.testing.assert_array_equal(weighted.weight, np.arange(1, 9))
    assert "weights: id" in weighted.notes[0]


def test_dates_with_times_and_zones(read):
    text = "day,a\n1970-01-02,1\n1970-01-01T12:00,2\n1970-01-01 00:00:00+12:00,3\n"
    np.testing.assert_array_equal(read(text, columns=["day"]).x[:, 0], [1, 0.5, -0.5])


def test_an_index_is_kept_if_it_is_chosen(read):
    text = SAME["unnamed index"]
    assert "left out: column 1 (an index)" in read(text).notes[0]
    rows = read(text, columns=["1", "height"])
    np.testing.assert_array_equal(rows.x[:, 0], np.arange(1, 5))
    counted = TEXT.replace("width", "no").replace("1.5,", "1,").replace("3.25", "2")
    assert read(counted.replace("1e-3", "3").replace("7,", "4,")).names == ["no", "height"]


def test_a_likely_code_of_missing_values_is_said(read):
    rows = read("a,b\n1,2\n-999,3\n4,5\n")
    assert "pass --missing=-999" in rows.notes[1] and len(rows.x) == 3
    assert len(read("a,b\n-1,2\n-999,3\n4,5\n").notes) == 1  # other numbers are negative


def test_features_of_a_model_are_found_by_name(read):
    rows = read(TABLE, features=["b", "a"])
    assert rows.names == ["b", "a"]
    with pytest.raises(
        ValueError, match="no column 'c', which the model was fitted to: its columns"
    ):
        read(TABLE, features=["b", "c"])
    with pytest.raises(ValueError, match="'a' is chosen where the model has the feature 'b'"):
        read(TABLE, features=["b", "a"], columns=["a", "b"])


def test_quoted_line_ends_count_as_lines(read):
    rows = read('a,"b\n(mm)"\n1,2\n"3","4"\n')
    assert rows.names == ["a", "b (mm)"] and read('a,"b\n(mm)"\n1,2', columns=["b  (mm)"]).x == 2
    with pytest.raises(ValueError, match=r"text \('y' in line 5\)"):
        read('a,b\n"1\n",2\n3,4\ny,6\n7,8\n')


REFUSED = {
    "empty": ("", {}, "is empty: pass a file"),
    "blank": (" \n\n", {}, "is empty"),
    "only a header": ("a,b\n", {}, "has no rows"),
    "only comments": ("# a\n# b\n", {}, r"only empty lines and comments \(2 lines"),
    "long row": ("a,b\n1,2\n\n1,2,3\n4,5\n", {}, "line 4 has the wrong number of fields: 3 instead of 2"),
    "short row": ("a,b\n1,2\n3\n4,5\n", {}, "line 3 has the wrong number of fields: 1 instead of 2"),
    "title": ("My data\na,b\n1,2\n3,4\n", {}, "line 1 .* delete the lines above the table"),
    "open quote": ('a,b\n1,2\n"3,4\n5,6\n', {}, "line 3 has an unmatched quotation mark"),
    "text behind a quote": ('a,b\n"1"2,2\n', {}, "line 2 has an unmatched"),
    "units": ("a,b\nmm,g\n1,2\n3,4\n5,6\n", {}, "text \\('mm' in line 2\\) among numbers: correct or"),
    "footer": ("a,b\n1,2\n3,4\nTotal,6\n", {}, "'a' contains text \\('Total' in line 4\\) among numbers"),
    "error of a sheet": ("a,b\n1,2\n3,#DIV/0!\n5,6\n", {}, "'#DIV/0!' in line 3"),
    "text": ("a,b\n1,u\n3,v\n", {}, "'b' contains text .* --columns a, or take only the columns"),
    "codes": ("a,b\n1,12_3\n3,12_4\n", {}, "'b' contains text \\('12_3' in line 2\\)"),
    "dates": ("a,day\n1,2024-01-31\n2,2024-02-01\n", {}, "'day' holds dates .* --columns a,day dates c"),
    "dates of two kinds": ("a,day\n1,31/01/2024\n2,01/02/2024\n", {}, "'day' holds dates"),
    "ambiguous dates": ("a,day\n1,1/2/2024\n2,2/1/2024\n", dict(columns=["day"]), "not written as 2024"),
    "times": ("a,t\n1,12:30\n2,12:31\n", dict(columns=["t"]), "not written as 2024-01-31"),
    "only text": ("a,b\nu,v\nw,x\n", {}, "no other column contains only numbers"),
    "only text, numeric": ("a,b\nu,v\nw,x\n", dict(numeric=True), "has no column of numbers \\(a \\(text\\)"),
    "a mistake, numeric": ("a,b\n1,2\n3,4o\n5,6\n", dict(numeric=True), "'b' contains text \\('4o'"),
    "thousands": ('a,b\n"1,234.5",2\n"2,000.0",3\n', {}, "'a' has thousands separators"),
    "millions": ('a,b\n"1,234,567",2\n1,3\n', {}, "'a' has thousands separators"),
    "European thousands": ("a;b\n1.234,5;2\n1.000,0;3\n", {}, "'a' has thousands separators"),
    "Swiss thousands": ("a,b\n1'234,2\n1'000,3\n", {}, "'a' has thousands separators"),
    "French thousands": ("a;b\n1 234,5;2\n1 000,0;3\n", {}, "'a' has thousands separators"),
    "ambiguous commas in quotes": ('a,b\n"1,234",3\n"2,345",1\n', {}, "'a' has thousands separators"),
    "ambiguous commas beside points": ("a;b\n1,234;3.5\n2,345;1\n", {}, "'a' has thousands sep"),
    "title above numbers": ("results\n1,2\n3,4.5\n5,1\n", {}, "line 1 .* delete the lines above"),
    "words above numbers": ("Calibration run\n1.0 2.0 3.1\n2 3 4.5\n", {}, "line 1 has the wrong numb"),
    "a name too few": ("a,b\n1,2,7.5\n3,4.5,8.5\n", {}, "line 1 has the wrong number of fields: 2"),
    "one bad date": ("t\n2024-01-01\n2024-01-02\nunknown\n", {}, "'unknown' in line 4\\) among dates"),
    "a number among dates": ("t\n2024-01-01\n2024-01-02\n2024\n", {}, "'2024' in line 4\\) among dates"),
    "percentages": ("a,b\n12%,1\n15 %,2\n", {}, "'a' has numbers in an unknown form \\('12%'"),
    "currency": ("a;b\n3,5 €;1\n$4;2\n", {}, "'a' has numbers in an unknown form"),
    "accountants' negatives": ("a,b\n(1.5),1\n2,2\n3,3\n", {}, "'a' has numbers in an unknown form"),
    "wide digits": ("a,b\n１.5,1\n2,2\n", {}, "'a' has numbers in an unknown form"),
    "not that separator": ("a,b\n1,2\n", dict(separator=";"), "no semicolon occurs in .*: leave out --s"),
    "not that decimal": ("a,b\n1.5,2\n", dict(decimal=","), "decimal points and no commas: leave out"),
    "header refused": ("a,b\n1,2\n3,4\n", dict(header=False), "leave out --no-header if that line na"),
    "dates as weights": ("a,w\n1,2024-01-31\n2,2024-02-01\n", dict(weight="w"), "another column by --we"),
    "dates beside weights": ("a,w,t\n1,1,2024-01-31\n", dict(weight="w"), "'t' holds dates"),
    "negative weights": ("a,w\n1,1\n2,-1\n", dict(weight="w"), "'w' of weights has -1 in line 3"),
    "code with a minus": ("a,b\n1,2\n-x,3\n4,5\n2,2\n", {}, "pass --missing=-x."),
    "code with a comma": ('a,b\n1,2\n"n,d",3\n4,5\n2,2\n', {}, """pass --missing '"n,d"'."""),
    "rows of ids": ("#1,2\n#2,3\n", {}, "comments \\(2 lines that begin with # or %\\): write the rows"),
    "JSON": ('[{"a": 1}]', {}, "is JSON: write the table as CSV"),
    "XML": ("\n<?xml version='1.0'?><a/>", {}, "is XML: "),
    "ARFF": ("% iris\n@RELATION iris\n", {}, "is an ARFF file"),
    "sparse": ("%%MatrixMarket matrix\n3 2 1\n1 1 0.5\n", {}, "is a sparse matrix"),
    "ambiguous commas": ("a;b\n1,234;2\n2,345;3\n", {}, "may separate decimals or thousands: pass --dec"),
    "commas as thousands": ("a;b\n1,234;2\n2,345;3\n", dict(decimal="."), "'a' has thousands sep"),
    "infinity": ("a,b\n1,inf\n3,4\n", {}, "'b' has an infinite number in line 2"),
    "empty column": ("a,b,notes\n1,2,\n3,4,\n", {}, "'notes' is empty in every row: .* --columns a,b"),
    "empty column in the middle": ("a,,b\n1,,2\n3,,4\n", {}, "column 2 has no name"),
    "no complete rows": ("a,b\n1,\n,4\n", dict(drop_missing=True), "has no complete rows: leave out"),
    "equal names": ("a,b,a\n1,2,3\n", {}, "has two columns called 'a'"),
    "unknown column": ("a,b\n1,2\n", dict(columns=["c"]), "no column 'c': its columns are a, b. Name"),
    "column twice": ("a,b\n1,2\n", dict(columns=["a", "1"]), "'a' is chosen twice"),
    "weight as feature": ("a,b\n1,2\n", dict(columns=["a"], weight="a"), "both as weight and as feat"),
    "only a weight": ("a\n1\n", dict(weight="a"), "no column besides the weight column"),
    "Latin-1": ("Länge,b\n1,2\n".encode("latin-1"), {}, "read 'Länge,b': .* --encoding latin-1"),
    "wrong encoding": ("Länge,b\n1,2\n".encode("latin-1"), dict(encoding="ascii"), "not text in ascii"),
    "unknown encoding": ("a,b\n1,2\n", dict(encoding="klingon"), "--encoding 'klingon' is unknown"),
    "encoding of no text": ("a,b\n1,2\n", dict(encoding="hex"), "--encoding 'hex' is unknown"),
    "image": (b"\x89PNG\r\n\x1a\n\x00\x00\x00", {}, "is an image: pass a table"),
    "bytes": (b"\x01\x89\x00\xff\xfe", {}, "is not a text file: pass CSV"),
    "control characters": (b"a,b\n\x01,\x02\n", {}, "is not a text file"),
    "workbook": (zipped(**{"[Content_Types].xml": "", "xl/workbook.xml": ""}), {}, "an Excel workbook"),
    "old workbook": (b"\xd0\xcf\x11\xe0" + bytes(50), {}, "is an Excel workbook: save the sheet as CSV"),
    "two files": (zipped(a=TEXT, b=TEXT), {}, "contains 2 files \\(a, b\\): unpack it"),
    "cut gzip": (gzip.compress(TEXT.encode())[:-9], {}, "cannot be unpacked"),
    "cut zip": (zipped(a=TEXT)[:40], {}, "cannot be unpacked"),
    "web page": ("<!DOCTYPE html><html>", {}, "is a web page: download the file itself"),
    "netCDF": (b"CDF\x01", {}, "is a netCDF file"),
    "a comma among points": ("a;b\n1.5;1\n2,5;2\n3.5;3\n", {}, "\\('2,5' in line 3\\) among numbers"),
    "unknown sep=": ("sep=x\na,b\n1,2\n", {}, "line 1 of .* says that 'x' separates the columns"),
    "weights of zero": ("a,w\n1,0\n2,0\n", dict(weight="w"), "'w' of weights is zero in every row: cho"),
    "R": (gzip.compress(b"RDX3\nX\n"), {}, "is an R data file: write the table in R"),
    "pickle": (b"\x80\x05\x95", {}, "is a Python pickle"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(read, kind):
    content, options, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words) as error:
        read(content, **options)
    message = str(error.value)
    assert "\n" not in message and message.endswith(".")


def test_columns_are_offered_that_can_be_read(read):
    """What an error offers is accepted, and leaves out the column it names."""
    for text in (
        "a,name,b\n1,u,2\n2,v,4\n",
        '"a, b",name,c\n1,u,2\n3,v,4\n',
        "a,,b\n1,2,3\n4,5,7\n",
        "a,b,notes\n1,2,\n3,4,\n",
        ",a,name,b\n0,1,u,2\n1,3,v,4\n",
    ):
        with pytest.raises(ValueError, match="--columns") as error:
            read(text)
        offered = re.search(r"--columns ('.*?'|[^ ]*?)[,.]? |--columns (.*)\.$", str(error.value))
        from jaxgmm.cli.arguments import parse_list

        option = (offered[1] or offered[2]).strip("'")
        assert read(text, columns=parse_list(option, "--columns")).x.shape == (2, 2)


def test_stdin_and_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(EUROPEAN.encode("utf-16"))))
    rows = read_table("-")
    np.testing.assert_array_equal(rows.x, X)
    assert "from stdin" in rows.notes[0]
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ValueError, match="stdin is closed"):
        read_table("-")
    with pytest.raises(ValueError, match="is a directory: give the name of a file in it"):
        read_table(str(tmp_path))
    with pytest.raises(ValueError, match="the name of the data file is empty"):
        read_table("")
