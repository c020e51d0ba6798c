"""The study of EM against gradients: its records, and the page's numbers, which are the CSV's."""

import re
import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))
import em_versus_gradient_report as report

PAGE = (ROOT / "examples" / "README.md").read_text("utf-8")


def test_the_store_resumes(tmp_path):
    labels = dict(
        study="simulated", d=2, K=3, n=340, e=10, weights="equal", tails="normal", dtype="float64",
        c=0.5,
    )  # fmt: skip
    store = report.Store(tmp_path / "records.csv")
    for name, costs in (("em", (40.0, 60.0, 80.0)), ("lbfgs", (20.0, 30.0, np.nan))):
        kept = [
            dict(
                data_set=i, passes=90.0, to_own=cost, height=-1.0 - (i == 1 and name == "em"),
                rate=0.9, overlap=0.5, failure="MAX_STEPS" if np.isnan(cost) else "",
            )
            for i, cost in enumerate(costs)
        ]  # fmt: skip
        store.append(labels, name, kept)
    again = report.Store(tmp_path / "records.csv")
    assert again.has(labels, "em") and not again.has(labels | {"c": 1.0}, "em")
    assert [row["algorithm"] for row in again.rows] == ["em"] * 3 + ["lbfgs"] * 3
    # Data set 1 has two optima; in data set 2 L-BFGS did not converge, and costs infinitely much.
    band, best = report.by_overlap(again.rows)[-2:]
    assert band == {
        "overlap": "over 30 %", "starts": "2 of 3", "em": "**60 (40–80)**", "lbfgs": "–"
    }  # fmt: skip
    assert best["em"] == "67 %" and best["lbfgs"] == "67 %"
    # Without the algorithm that ends elsewhere, all starts count.
    only = report.summarize(report.starts_of(again.rows, ["em"]), ["em"])
    assert only == {"starts": "3 of 3", "em": "**60**"}


@pytest.mark.skipif(not report.RESULTS.exists(), reason="the study has not been run")
def test_the_page_has_the_numbers_of_the_records():
    """The tables are the records'; every number of the verdict is one of the tables."""
    tables = report.tables(report.Store(report.RESULTS).rows)
    assert all(table in PAGE for table in tables.values())
    verdict = PAGE.split("<!-- verdict -->")[1]
    known = set(re.findall(r"\d+", "".join(tables.values())))
    assert set(re.findall(r"\d+", verdict)) <= known


@pytest.mark.skipif(not report.RESULTS.exists(), reason="the study has not been run")
def test_the_first_page_has_the_medians_of_the_records():
    band = report.by_overlap(report.Store(report.RESULTS).rows)[2]
    assert band["overlap"] == "over 30 %"
    em, auto = (re.search(r"\d+", band[name]).group() for name in ("em", "auto"))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f'EM needs {em} passes in the median, and `fit(x, start, "auto")` {auto}' in readme


def test_the_page_has_the_table_of_the_peers():
    assert (report.RESULTS.parent / "gradient_peers.md").read_text("utf-8") in PAGE
