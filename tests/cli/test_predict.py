"""`python -m jaxgmm predict` prints what `regress` gives."""

import csv
import io

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm.cli.main import main

X = np.random.default_rng(0).normal(size=(5, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("predict")
    text = "\n".join(",".join(map(repr, row)) for row in X[:, [2, 0]].tolist())
    (folder / "rows.csv").write_text("mass,width\n" + text + "\n")
    (folder / "holes.csv").write_text("mass,width\n1.0,2.0\nNA,1.0\n")
    (folder / "all.csv").write_text(
        "width,height,mass\n" + "\n".join(",".join(map(repr, row)) for row in X.tolist()) + "\n"
    )
    with jax.enable_x64(True):
        from reference import random_mixture

        mixture = jaxgmm.Mixture.from_parameters(*random_mixture(0, 2, 3, "full"))
        jaxgmm.save(folder / "named.npz", mixture, features=["width", "height", "mass"])
        jaxgmm.save(folder / "plain.npz", mixture)
    return folder


@pytest.fixture
def run(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)

    def command(line):
        status = main(line.split())
        return status, *capsys.readouterr()

    return command


@pytest.fixture(scope="module")
def expected(folder):
    with jax.enable_x64(True):
        mixture = jaxgmm.load(folder / "plain.npz")
        found = jaxgmm.regress(mixture, [0, 2], X[:, [0, 2]])
        deviation = found.standard_deviation
        return np.hstack([found.mean, deviation, found.quantile([0.05, 0.5, 0.95])])


def table(text):
    names, *lines = csv.reader(io.StringIO(text))
    return names, np.array([[float(cell or "nan") for cell in line] for line in lines])


def test_targets_are_predicted_from_columns_found_by_name(run, expected):
    for data in ("rows.csv", "all.csv"):  # with the target's column or without it
        status, told, said = run(f"predict named.npz {data} --target height")
        assert status == 0 and data in said
        names, found = table(told)
        assert names[:3] == ["mean", "standard_deviation", "quantile_0.05"]
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_a_model_without_names_takes_numbers_and_columns_in_order(run, expected, tmp_path):
    out = tmp_path / "out.csv"
    status, told, _ = run(
        f"predict plain.npz all.csv --columns width,mass --target 2 --quantiles none --out {out}"
    )
    assert status == 0 and not told
    names, found = table(out.read_text())
    assert names == ["mean", "standard_deviation"]
    np.testing.assert_allclose(found, expected[:, :2], rtol=1e-8)


def test_several_targets_and_incomplete_rows(run):
    status, told, _ = run(
        "predict named.npz holes.csv --columns mass --target width,height --drop-missing"
    )
    assert status == 0
    names, found = table(told)
    assert len(names) == 10 and names[5] == "height_mean"
    assert np.isfinite(found[0]).all() and np.isnan(found[1]).all()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("predict named.npz rows.csv --target depth", "has no feature 'depth'"),
        ("predict plain.npz rows.csv --target height", "numbers, because it stores no names"),
        ("predict named.npz rows.csv --target height,height", "more than once"),
        ("predict named.npz rows.csv --target width,height,mass", "lists all 3"),
        ("predict named.npz rows.csv --target height --quantiles 2", "--quantiles is '2'"),
        ("predict named.npz rows.csv --target height --quantiles a", "--quantiles is 'a'"),
        ("predict plain.npz all.csv --target height", "no feature 'height'"),
        ("predict plain.npz all.csv --target 2", "3 columns, and 2 are needed"),
        ("predict named.npz rows.csv", "required: --target"),
        ("predict named.npz rows.csv --target mass", "no column 'height'"),
        ("predict named.npz rows.csv --target height --out named.npz", "also an input file"),
    ],
)
def test_bad_arguments_give_one_line_and_status_2(run, line, words):
    status, told, said = run(line)
    assert status == 2 and not told
    errors = [text for text in said.splitlines() if "error" in text]
    assert len(errors) == 1 and words in errors[0]
