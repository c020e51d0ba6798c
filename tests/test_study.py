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


@pytest.fixture(scope="module")
def records():
    return report.Store(report.RESULTS).rows


SENTENCES = {  # of the verdict, with the numbers of a row of the table by overlap
    "under 1 %": (
        "EM needs {em} passes and `Auto` {auto}. Only incremental EM needs fewer, {incremental_em}.",
        "L-BFGS needs {lbfgs}, Newton's method {newton} and Adam {adam} (",
        "({starts} starts)",
    ),
    "1 to 30 %": (
        "`Auto` and SQUAREM are best with {auto} passes,",
        "`Auto` and SQUAREM are best with {squarem} passes,",
        "and the quasi-Newton acceleration needs {quasi_newton_em}.",
        "There L-BFGS needs {lbfgs}, hardly fewer than EM's {em} (",
        "({starts} starts)",
    ),
    "over 30 %": (
        "EM needs {em} passes in the median, and `Auto` {auto}, the fewest of all.",
        "L-BFGS needs {lbfgs} passes in relative coordinates and {riemannian} in Hosseini",
        "the quasi-Newton acceleration of EM need {anderson} and {quasi_newton_em}.",
        "Newton's method needs {newton}, SQUAREM {squarem}, and Adam {adam}.",
        "This holds for {starts} starts",
    ),
    "at the best maximum": (
        "EM ends at the best of them from {em} % of all starts, L-BFGS from {lbfgs} %, and `Auto` "
        "from {auto} %.",
    ),
}


def test_the_verdict_says_which_number_is_whose(records):
    verdict = " ".join(PAGE.split("<!-- verdict -->")[1].split())
    rows = report.by_overlap(records)
    assert [row["overlap"] for row in rows] == list(SENTENCES)
    for row in rows:
        cells = {re.sub("[- ]", "_", name): cell for name, cell in row.items() if name != "overlap"}
        numbers = {name: re.search(r"\d+", cell).group() for name, cell in cells.items()}
        for sentence in SENTENCES[row["overlap"]]:
            assert sentence.format(**numbers | {"starts": row["starts"]}) in verdict


def test_the_page_of_the_algorithms_has_the_numbers_of_auto(records):
    page = " ".join((ROOT / "jaxgmm" / "algorithms" / "README.md").read_text("utf-8").split())
    pairs = {
        name: report.main_starts(records, ["em", name]) for name in ("auto", "lbfgs", "squarem")
    }
    costs = np.array([
        (start["overlap"], start["cost"]["em"], start["cost"]["auto"])
        for start in pairs["auto"] if start["common"] and np.isfinite(list(start["cost"].values())).all()
    ])  # fmt: skip
    assert f"That experiment has {len(pairs['auto'])} starts" in page
    assert f"converge to one optimum from {len(costs)} of them" in page
    more = sorted(cost for cost in costs[:, 2] - costs[:, 1] if cost > 2)
    assert "at most 2 passes more than EM (5 and 11 more from the two)" in page
    assert more == [5, 11]
    overlapping = costs[costs[:, 0] > 0.3]
    ratio = np.median(overlapping[:, 2] / overlapping[:, 1])
    assert f"it needs {ratio:.2f} times as many in the median" in page

    def counts(name):
        both = [s["height"] for s in pairs[name] if not s["common"]]
        rises = [h[name] - h["em"] for h in both if np.isfinite([h[name], h["em"]]).all()]
        return sum(rise > 0 for rise in rises), sum(rise < 0 for rise in rises)

    higher, lower = counts("auto")
    said = f"From {higher + lower} starts it ends at another optimum than EM, of which {higher} are"
    assert f"{said} higher and {lower} lower." in page
    others = "(L-BFGS: {} and {}; SQUAREM: {} and {}.)"
    assert others.format(*counts("lbfgs"), *counts("squarem")) in page


@pytest.mark.skipif(not report.RESULTS.exists(), reason="the study has not been run")
def test_the_first_page_has_the_medians_of_the_records():
    band = report.by_overlap(report.Store(report.RESULTS).rows)[2]
    assert band["overlap"] == "over 30 %"
    em, auto = (re.search(r"\d+", band[name]).group() for name in ("em", "auto"))
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f'EM needs {em} passes in the median, and `fit(x, start, "auto")` {auto}' in readme


def test_the_page_has_the_table_of_the_peers():
    assert (report.RESULTS.parent / "gradient_peers.md").read_text("utf-8") in PAGE
