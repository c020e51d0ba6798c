"""Every example and the README's code run as a newcomer runs them, with warnings as errors."""

import importlib.util
import re
import time

import pytest
from conftest import ROOT, SCRIPTS

BEGAN = time.time()


def test_the_examples_are_found():
    assert {"quickstart", "iris_em", "em_by_hand", "README"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script(script, printed):
    assert "nan" not in printed.lower()
    figure = ROOT / "examples" / f"{script}.png"
    if script != "README" and figure.name in figure.with_suffix(".py").read_text("utf-8"):
        if importlib.util.find_spec("matplotlib"):
            assert figure.stat().st_mtime > BEGAN
        else:
            assert "matplotlib is not installed" in printed


@pytest.mark.parametrize("script", ["quickstart"])
def test_the_readme_shows_what_the_quickstart_prints(script, printed):
    shown = (ROOT / "README.md").read_text("utf-8").split("```text\n")[1].split("```")[0]
    rest = skeleton(printed)
    for part in shown.split("\n  …\n"):  # what is left out
        lines = skeleton(part)
        found = [i for i in range(len(rest)) if rest[i : i + len(lines)] == lines]
        assert found, f"the quickstart does not print\n{part}"
        rest = rest[found[0] + len(lines) :]
    for line in ("  3        -5150.69", "  Adelie             149", "lowest BIC: K = 3"):
        assert line in shown
        assert line in printed


def skeleton(text):
    """The lines without their numbers and spacing."""
    lines = [re.sub(r"[\d.]+", "#", line).split() for line in text.splitlines()]
    return [line for line in lines if line]
