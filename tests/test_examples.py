"""Every example and the code of the pages run as a newcomer runs them, with warnings as errors."""

import importlib.util
import re
import time

import numpy as np
import pytest
from conftest import ROOT, SCRIPTS

BEGAN = time.time()


def test_the_examples_are_found():
    assert {"quickstart", "iris_em", "em_by_hand", "README"} <= set(SCRIPTS)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(name, marks=() if name == "quickstart" else pytest.mark.thorough)
        for name in SCRIPTS
    ],
)
def test_script(script, printed):
    assert "nan" not in printed.lower()
    figure = ROOT / "examples" / f"{script}.png"
    if script != "README" and figure.name in figure.with_suffix(".py").read_text("utf-8"):
        if importlib.util.find_spec("matplotlib"):
            assert figure.stat().st_mtime > BEGAN
        else:
            assert "matplotlib is not installed" in printed


@pytest.mark.parametrize("script", ["quickstart"])
def test_the_page_shows_what_the_quickstart_prints(script, printed):
    shown = (
        (ROOT / "examples" / "README.md").read_text("utf-8").split("```text\n")[1].split("```")[0]
    )
    rest = skeleton(printed)
    for part in shown.split("\n  …\n"):  # what is left out
        lines = skeleton(part)
        found = [i for i in range(len(rest)) if rest[i : i + len(lines)] == lines]
        assert found, f"the quickstart does not print\n{part}"
        rest = rest[found[0] + len(lines) :]
    for text in (shown, printed):
        assert "lowest BIC: K = 3" in text
        height = float(re.search(r"^  3 +(-\d+\.\d+)", text, re.M)[1])
        np.testing.assert_allclose(height, -5150.69, atol=0.02)
        # Which of the equally high starts comes first, and so the order of components, is rounding.
        adelie = re.search(r"^  Adelie +(\d+) +(\d+) +(\d+)", text, re.M).groups()
        assert sorted(map(int, adelie)) == [0, 2, 149]


def skeleton(text):
    """The lines without their numbers and spacing."""
    lines = [re.sub(r"[\d.]+", "#", line).split() for line in text.splitlines()]
    return [line for line in lines if line]
