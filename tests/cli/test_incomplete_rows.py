"""Files with gaps, errors and labels on the command line."""

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm.cli.main import main

ROWS = "width,height,kind\n1.0,2.0,a\n,1.5,\n0.5,NA,b\n-1.0,-0.5,\n0.2,0.9,a\n-0.7,-1.2,b\n"
ERRORS = "width,height\n0.1,0.2\n,0.1\n0.1,\n0,0.3\n0.1,0.1\n0.1,0.1\n"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text(ROWS)
    (tmp_path / "errors.csv").write_text(ERRORS)
    with jax.enable_x64(True):
        found = jaxgmm.Mixture.from_parameters([1.0], [[0.0, 0]], [[[1.0, 0.5], [0.5, 1]]])
        jaxgmm.save(tmp_path / "model.npz", found, features=["width", "height"])

    def command(line):
        return main(line.split()), *capsys.readouterr()

    return command


def test_gaps_are_said_and_filled(run):
    status, told, said = run("impute model.npz rows.csv")
    assert status == 0
    assert "2 of 12 values are missing, in 2 columns (width, height)" in said
    lines = told.splitlines()
    assert lines[:4] == ["width,height", "1,2", "0.75,1.5", "0.5,0.25"]
    status, told, said = run("impute model.npz rows.csv --drop-missing")
    assert status == 0 and "incomplete rows left out: 2 of 6." in said
    assert told.splitlines()[2] == ","


def test_scores_of_incomplete_rows_are_those_of_what_is_there(run):
    status, told, _ = run("score model.npz rows.csv --sd errors.csv")
    assert status == 0
    at = 1.5**2 / (2 * 1.01) + np.log(2 * np.pi * 1.01) / 2
    assert float(told.splitlines()[2].split(",")[0]) == pytest.approx(-at)


def test_errors_of_another_shape_are_refused(run, tmp_path):
    (tmp_path / "few.csv").write_text("width,height\n1,1\n")
    status, _, said = run("score model.npz rows.csv --sd few.csv")
    assert status == 2 and "write a standard deviation for each value" in said
    (tmp_path / "few.csv").write_text(ERRORS.replace("0.3", "-0.3"))
    status, _, said = run("score model.npz rows.csv --sd few.csv")
    assert status == 2 and "negative standard deviation" in said


@pytest.mark.thorough
def test_fit_with_gaps_needs_no_option(run):
    status, told, said = run("fit rows.csv --columns width,height --k 1 --restarts 1")
    assert status == 0 and "2 of 12 values are missing" in said + told
    status, told, said = run("fit rows.csv --labels kind --k 1:2 --restarts 1 --family diagonal")
    assert status == 0 and "labels: kind, known in 4 of 6 rows; components a = 1, b = 2." in said
    status, _, said = run("fit rows.csv --labels kind --k 1 --restarts 1")
    assert status == 2 and "pass --k 2 or more" in said
