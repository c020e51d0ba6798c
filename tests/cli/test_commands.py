"""The command line: what it computes is the library's; what it refuses, it refuses in one line."""

import csv
import importlib.util
import io
import os
import re
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT
from texts import table_under

import jaxgmm
from jaxgmm.cli.arguments import parse_whole_numbers
from jaxgmm.cli.main import main, make_parser
from jaxgmm.reports.storage import feature_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows in every kind of file, and a model of them."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 1, (30, 2)), rng.normal(6, 1, (30, 2))])
    np.save(folder / "rows.npy", x)
    lines = [f"{a!r},{b!r},{i % 2 + 1}" for i, (a, b) in enumerate(x.tolist())]
    (folder / "rows.csv").write_text("width,height,count\n" + "\n".join(lines) + "\n")
    (folder / "constant.csv").write_text("a,b\n1,5\n2,5\n4,5\n")
    (folder / "single.csv").write_text("a\n1\n")
    (folder / "bare.csv").write_text("\n".join(f"{a!r};{b!r}" for a, b in x.tolist()))
    with jax.enable_x64(True):
        found = jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 2), max_steps=20)
        jaxgmm.save(folder / "model.npz", found)
        jaxgmm.save(folder / "named.npz", found, features=["width", "height"])
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """A command in the folder: status, stdout, stderr."""
    monkeypatch.chdir(folder)

    def command(line, stdin=""):
        raw = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
        status = main(line.split())
        return status, *capsys.readouterr()

    return command


def test_fit_tells_keeps_and_draws_the_best(run, folder, tmp_path):
    pytest.importorskip("matplotlib")
    out, plot = tmp_path / "best.npz", tmp_path / "best.png"
    line = f"fit rows.csv --columns width,height --k 1:2 --restarts 2 --out {out} --plot {plot}"
    status, told, _ = run(line)
    assert status == 0 and "component 2" in told and "width" in told and "BIC" in told
    assert plot.read_bytes().startswith(b"\x89PNG")
    x = np.load(folder / "rows.npy")
    with jax.enable_x64(True):
        kept = jaxgmm.load(out)
        assert kept.mixture.n_components == 2
        summary = told[told.index("Gaussian mixture") :]
        bic = float(table_under(summary, "ICL")["BIC"])
        assert bic == pytest.approx(float(jaxgmm.bic(kept.mixture, x)), abs=0.006)
    assert sorted(os.listdir(tmp_path)) == ["best.npz", "best.png"]
    assert feature_names(out) == ["width", "height"]
    again = run(f"fit rows.csv --weight count --k 1:2 --restarts 2 --out {out}")
    assert again[0] == 0 and "  90 " in again[1]  # the sum of the weights; they are no feature


@pytest.mark.thorough
def test_fit_shows_errors_where_asked(run):
    line = "fit rows.csv --columns width,height --k 1 --restarts 1"
    for option in ("", " --errors"):
        status, told, _ = run(line + option)
        assert status == 0 and ("Standard errors" in told) == bool(option)


@pytest.mark.thorough
def test_fit_takes_the_names_of_mclust(run):
    status, told, _ = run("fit rows.csv --columns width,height --k 2 --restarts 2 --family VEI,VII")
    assert status == 0 and "VEI" in told and "spherical" in told
    status, _, said = run("fit rows.csv --columns width,height --k 2 --family V")
    assert status == 2 and "family 'V' is mclust's for one feature, and there are 2" in said


def test_score_gives_what_the_functions_give(run, folder, tmp_path):
    status, told, said = run("score model.npz rows.csv --columns width,height")
    assert status == 0
    x = np.load(folder / "rows.npy")
    lines = list(csv.DictReader(io.StringIO(told)))
    with jax.enable_x64(True):
        mixture = jaxgmm.load(folder / "model.npz").mixture
        expected = np.asarray(jaxgmm.log_prob(mixture, x))
        shares = np.asarray(jaxgmm.responsibilities(mixture, x))
    np.testing.assert_allclose([float(line["log_prob"]) for line in lines], expected, rtol=1e-9)
    assert [int(line["component"]) for line in lines] == list(shares.argmax(axis=1) + 1)
    total = re.search(r"(-?\d+\.\d{4}) of 60 rows", said)[1]
    assert float(total) == pytest.approx(expected.sum(), abs=6e-5)
    for same in ("rows.npy", "bare.csv"):
        assert run(f"score model.npz {same}")[1] == told
    text = (folder / "bare.csv").read_text()
    assert run("score model.npz -", stdin=text)[1] == told
    assert run(f"score model.npz rows.npy --out {tmp_path / 'scores.csv'}")[1] == ""
    assert (tmp_path / "scores.csv").read_text() == told


def test_a_model_finds_its_features_by_name(run, folder):
    told = run("score model.npz rows.csv --columns width,height")[1]
    lines = [line.split(",") for line in (folder / "rows.csv").read_text().splitlines()]
    turned = "\n".join(f"{c},blue,{b},{a}" for a, b, c in lines).replace("blue", "color", 1)
    assert run("score named.npz -", stdin=turned)[:2] == (0, told)
    status, again, said = run("score named.npz bare.csv")  # no names: by their places
    assert again == told and "columns 1, 2 are used as the model's features width, height." in said
    status, again, said = run("score named.npz - --columns 4,3", stdin=turned)
    assert (status, again) == (0, told) and "are used as" not in said
    renamed = turned.replace("width", "w").replace("height", "h")
    status, again, said = run("score named.npz - --columns w,h", stdin=renamed)
    assert (status, again) == (
        0,
        told,
    ) and "columns w, h are used as the model's features width, height" in said
    status, again, said = run("score named.npz -", stdin=renamed)
    assert (
        status == 2
        and "no column 'width', which the model was fitted to: its columns are count" in said
    )
    status, again, said = run("score named.npz - --columns height,width", stdin=turned)
    assert status == 2 and "'height' is chosen where the model has the feature 'width'" in said
    drawn = run("sample named.npz --n 5")[1]
    assert drawn.splitlines()[0] == "width,height,component"
    assert run("score named.npz -", stdin=drawn)[0] == 0


def test_sample_is_reproducible_and_can_be_fitted_again(run):
    status, told, _ = run("sample model.npz --n 7 --seed 3")
    assert status == 0 and told == run("sample model.npz --n 7 --seed 3")[1]
    assert told != run("sample model.npz --n 7 --seed 4")[1]
    assert told.splitlines()[0] == "feature_1,feature_2,component" and len(told.splitlines()) == 8
    assert run("score model.npz - --columns feature_1,feature_2", stdin=told)[0] == 0


def test_stdin_is_read_as_a_file_is(run, folder):
    text = (folder / "rows.csv").read_bytes()
    told = run("score model.npz rows.csv --columns width,height")[1]
    line = "score model.npz - --columns width,height"
    for same in (text, b"\xef\xbb\xbf" + text, text.replace(b"\n", b"\r"), text + b"  \n"):
        assert run(line, stdin=same)[:2] == (0, told)
    assert "stdin is not text in UTF-8 (line 1)" in run(line, stdin=b"w\xf6rter\n1\n")[2]


@pytest.mark.thorough
def test_a_terminal_without_all_letters_loses_nothing(folder, monkeypatch):
    monkeypatch.chdir(folder)
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii"))
    assert main(["fit", "rows.npy", "--k", "1", "--restarts", "1"]) == 0
    assert rb"\xb1" in raw.getvalue()  # ±


def test_closed_stdout_and_stdin(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.stdin", None)
    assert main(["score", "model.npz", "-"]) == 2
    assert capsys.readouterr().err == "jaxgmm: error: stdin is closed: pass the name of a file.\n"
    monkeypatch.setattr("sys.stdout", None)
    assert main(["score", "model.npz", "rows.npy", "--out", "scores.csv"]) == 0
    assert (folder / "scores.csv").exists()


def test_names_that_hold_a_comma(run, folder, tmp_path):
    (tmp_path / "named.csv").write_text('"a, b",c\n1,2\n2,1\n4,9\n')
    given = main(["score", "model.npz", str(tmp_path / "named.csv"), "--columns", '"a, b",c'])
    assert given == 0


def test_compare_has_a_line_for_each_algorithm(run):
    status, told, _ = run("compare rows.npy --k 2 --algorithms em --restarts 2")
    assert status == 0 and [line.split()[0] for line in told.splitlines()] == ["algorithm", "em"]


def test_settings_of_a_fit_are_those_of_the_library(run, folder, x64):
    """A command with other settings gives the library's result for them."""
    line = "--prior none --tolerance 1e-3 --max-steps 7 --restarts 2 --progress --seed 3"
    x, key = np.load(folder / "rows.npy"), jax.random.key(3)
    settings = {"prior": None, "tolerance": 1e-3, "max_steps": 7, "restarts": 2}
    status, _, shown = run(f"compare rows.npy --k 2 --algorithms em {line} --out settings.npz")
    expected = jaxgmm.compare(key, x, 2, ["em"], **settings).fits["em"]
    found = jaxgmm.load(folder / "settings.npz").fits["em"]
    np.testing.assert_array_equal(found.steps, expected.steps)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-12)
    assert status == 0 and int(np.max(found.steps)) <= 7 and "start 2" in shown
    run(f"fit rows.npy --k 2 {line} --out settings.npz")
    best = jaxgmm.sweep(key, x, 2, **settings).best("bic")
    found = jaxgmm.load(folder / "settings.npz")
    np.testing.assert_allclose(found.objective, best.objective, rtol=1e-12)
    assert float(found.objective) == float(found.log_likelihood)  # there is no prior


def test_compare_within_a_budget_is_kept(run, folder, capsys):
    command = "compare rows.npy --k 2 --algorithms em,squarem --restarts 2 --checkpoint fits.npz"
    command = [*command.split(), "--budget", "12 passes", "--out", "compared.npz"]
    assert main(command) == 0
    told = capsys.readouterr().out
    found = jaxgmm.load(folder / "compared.npz")
    assert list(found.fits) == ["em", "squarem"] and found.fits["em"].passes.shape == (2,)
    assert max(np.max(fits.passes) for fits in found.fits.values()) <= 12
    assert main(command) == 0  # the fits of the checkpoint are not made again, nor timed
    assert capsys.readouterr().out == told and (folder / "fits.npz").exists()


BAD = {
    "nowhere.csv": (None, "nowhere.csv: No such file or directory: check the name and the folder."),
    "text.csv": (
        "a,b,c\n1,2,\n3,blue,4\n5,green,6",
        "column 'b' contains text ('blue' in line 3): choose numeric columns, e.g. --columns a,c, or",
    ),
    "model.npz": (b"PK", "model.npz is not a .npz file, or it is damaged"),
    "three.csv": ("a,b,c\n1,2,3\n4,5,6\n", "x has 3 columns and the mixture 2 features"),
    "bad.npy": (b"nothing", "bad.npy is not a NumPy file"),
    "comma.csv": ('"a, b",c\n1,\n2,x\n', """e.g. --columns '"a, b"', or"""),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_give_one_line_and_status_2(run, name, tmp_path):
    content, says = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(os.listdir(tmp_path))
    out = tmp_path / "scores.csv"
    status, told, said = run(f"score model.npz {tmp_path / name} --out {out}")
    assert status == 2 and not told
    assert said.count("\n") == 1 and says in said and said.startswith("jaxgmm: error: ")
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (
            "fit rows.csv --columns width,depth",
            "has no column 'depth': its columns are width, height",
        ),
        ("fit rows.csv --columns width,1", "column 'width' is chosen twice"),
        ("fit rows.csv --columns width,count --weight count", "both as weight and as feature"),
        ("fit rows.csv --weight mass", "has no column 'mass'"),
        ("score nowhere.npz rows.csv", "nowhere.npz: No such file"),
        ("fit .", ". is a directory: give the name of a file in it"),
        ("fit rows.csv --out .", ". is a folder"),
        ("fit rows.csv --out rows.csv", "rows.csv is also an input file"),
        ("score model.npz rows.csv --out ./model.npz", "model.npz is also an input file"),
        (
            "fit constant.csv",
            "column 'b' has the same value in every row: leave it out, e.g. --columns a.",
        ),
        (
            "compare single.csv --k 1",
            "column 'a' has the same value in every row: there is nothing to",
        ),
        ("fit rows.csv --k 5:2", "--k is '5:2', which contains no number"),
        ("fit rows.csv --seed -1", "--seed is -1"),
        ("fit rows.csv --restarts 0", "--restarts is 0"),
        ("compare rows.csv --k 2 --max-steps 0", "--max-steps is 0"),
        ("fit rows.csv --tolerance -1", "--tolerance is -1"),
        ("compare rows.csv --k 2 --tolerance nan", "--tolerance is nan"),
        ("fit rows.csv --tolerance small", "argument --tolerance: invalid float value: 'small'"),
        ("fit rows.csv --prior weak", "argument --prior: invalid choice: 'weak'"),
        (
            "fit rows.csv --columns width height",
            "unrecognized arguments: height (see python -m jaxgmm fit",
        ),
        ("fit rows.npy --header", "rows.npy is not a text file: leave out --header."),
        ("sample model.npz --seed 99999999999999999999", "--seed is 99999999999999999999"),
        ("fit rows.csv --k 0:3", "--k is 0: it must"),
        ("fit rows.csv --k one", "--k is 'one'"),
        ("fit rows.csv --k 1-2-3", "--k is '1-2-3'"),
        ("fit rows.csv --decimal dot", "--decimal is 'dot': write point or comma."),
        ("fit rows.csv --separator x", "--separator is 'x': write comma, semicolon, tab"),
        ("fit rows.csv --k ²", "--k is '²'"),
        ("sample model.npz --n 99999999999", "n is 99999999999"),
        (
            "sample model.npz --n 2000000000",
            "n is 2000000000: drawing this many rows at once takes",
        ),
        (
            "score model.npz rows.csv --columns width,height --out /proc/scores.csv",
            "error: /proc/scores.csv: ",
        ),
        ("fit rows.csv --family cubic", "unknown family 'cubic'"),
        ("fit rows.csv --algorithm simplex", "unknown algorithm 'simplex'"),
        ("fit rows.csv --out nowhere/model.npz", "the folder nowhere does not exist"),
        ("fit rows.csv --plot figure.xyz", "figure.xyz: the figure format is unknown: use one of"),
        ("fit rows.csv --criterion luck", "invalid choice"),
        ("fit", "the following arguments are required: data"),
        ("score rows.npy rows.npy", "rows.npy is not a file that jaxgmm"),
        ("sample model.npz --n -1", "n is -1"),
        ("compare rows.npy", "required: --k"),
        ("", "required: fit|score|sample|compare"),
    ],
)
def test_bad_arguments_give_one_line_and_status_2(run, folder, line, says):
    if "--plot" in line and not importlib.util.find_spec("matplotlib"):
        says = "--plot needs matplotlib, which is not installed"
    before = sorted(os.listdir(folder))
    status, told, said = run(line)
    assert status == 2 and not told and says in said
    # What fails when the results are written, fails after what was read is said.
    assert said.count("\n") == 1 or "/proc" in line
    assert sorted(os.listdir(folder)) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fit", ""], "the name of the data file is empty"),
        (["sample", ""], "the name of the model file is empty"),
        (["fit", "rows.csv", "--out", ""], "--out is empty: give the name of a file."),
        (["fit", "rows.csv", "--columns", ""], "--columns is empty: write e.g. --columns a,b."),
        (["fit", "rows.csv", "--k", ""], "--k is ''"),
        (["fit", "rows.csv", "--family", ""], "unknown family ''"),
    ],
)
def test_empty_arguments_are_named(folder, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(folder)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1


def test_help_waits_for_nothing_heavy():
    """`--help` imports neither JAX nor NumPy, which take most of a second."""
    code = (
        "import sys; from jaxgmm.cli.main import main; status = main(['--help']); "
        "sys.exit(status or bool({'jax', 'numpy', 'optax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "compare" in done.stdout


@pytest.mark.filterwarnings("default:every fit failed")
def test_a_fit_that_failed_is_not_kept(run, tmp_path):
    """Two columns that are one: no start can end well."""
    text = "a,b\n" + "\n".join(f"{a},{a}" for a in (1, 2, 4, 8, 9))
    (tmp_path / "twins.csv").write_text(text)
    line = f"fit {tmp_path / 'twins.csv'} --k 1 --restarts 2 --out {tmp_path / 'm.npz'}"
    status, told, said = run(line)
    assert status == 1 and "DEGENERATE" in told and "every fit failed" in said
    assert "--family diagonal" in said and "prior=" not in said
    assert os.listdir(tmp_path) == ["twins.csv"]


def test_the_commands_of_the_pages_are_understood():
    readme = (ROOT / "README.md").read_text("utf-8")
    page = (ROOT / "jaxgmm" / "cli" / "README.md").read_text("utf-8")
    in_readme = re.findall(r"-m jaxgmm (\w.*)", readme)
    assert in_readme
    lines = [*in_readme, *re.findall(r"^\| `(.*?)`", page, re.M)]
    assert {line.split()[0] for line in lines} == {
        "fit", "score", "sample", "compare", "predict", "impute"
    }  # fmt: skip
    for line in lines:
        assert make_parser(line.split()).parse_args(line.split())


def test_scores_keep_their_rows(run):
    text = "a,b\n1,2\n3,NA\n,4\n5,6\n"
    status, told, said = run("score model.npz - --drop-missing", stdin=text)
    lines = told.splitlines()
    assert status == 0 and lines[2:4] == [",,,"] * 2
    complete = run("score model.npz -", stdin="a,b\n1,2\n5,6\n")[1].splitlines()
    assert [*lines[:2], lines[4]] == complete
    assert said.splitlines()[:2] == [
        "jaxgmm: 4 rows × 2 columns from stdin.",
        "jaxgmm: incomplete rows left out: 2 of 4.",
    ]
    assert "of 2 rows" in said.splitlines()[2]


def test_what_was_read_is_said_before_the_fit_and_not_if_quiet(run):
    text = ",width,sex\n" + "\n".join(f"{i},{i * i % 17},f" for i in range(20))
    status, told, said = run("fit - --k 1 --restarts 1 --numeric", stdin=text)
    assert status == 0 and "width" in told
    first = said.splitlines()[0]
    assert first == (
        "jaxgmm: 20 rows × 1 column from stdin; left out: column 1 (an index), sex (text)."
    )
    assert run("fit - --k 1 --restarts 1 --numeric --quiet", stdin=text) == (0, told, "")


def test_options_of_reading(run):
    told = run("score model.npz -", stdin="a,b\n1.5,2\n3,4.5\n")[1]
    european = "a;b\n1,5;2\n3;4,5\n"
    for options in ("", "--decimal comma --separator semicolon --header --encoding utf-8"):
        assert run(f"score model.npz - {options}", stdin=european)[:2] == (0, told)
    coded = european + "-9;1\n"
    line = "score model.npz - --missing=-9 --drop-missing"
    assert run(line, stdin=coded)[1] == told + ",,,\n"


def test_numbers_of_components():
    assert parse_whole_numbers("3") == [3]
    assert parse_whole_numbers("1:4") == [1, 2, 3, 4]
    assert parse_whole_numbers("1,4:5") == [1, 4, 5]
    for same in ("1-4", "1..4", "1 - 4", "1–4", "1,2-4"):
        assert parse_whole_numbers(same) == [1, 2, 3, 4]
