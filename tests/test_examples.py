"""Every example runs as a newcomer runs it, with warnings as errors, in a process of its own."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
EXAMPLES = sorted(
    path.stem for path in (ROOT / "examples").glob("*.py") if "def main" in path.read_text("utf-8")
)


def run(name, folder):
    """What an example prints, from another working directory."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    script = str(ROOT / "examples" / f"{name}.py")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], capture_output=True, text=True, cwd=folder,
        env=environment, timeout=300, check=False, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_examples_are_found():
    assert {"quickstart", "iris_em", "em_by_hand"} <= set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, tmp_path):
    figure = ROOT / "examples" / f"{name}.png"
    before = figure.stat().st_mtime if figure.exists() else 0
    printed = run(name, tmp_path)
    assert "nan" not in printed.lower()
    if ".png" in (ROOT / "examples" / f"{name}.py").read_text("utf-8"):
        if importlib.util.find_spec("matplotlib"):
            assert figure.stat().st_mtime > before
        else:
            assert "matplotlib is not installed" in printed
    if name == "quickstart":
        shown = (ROOT / "README.md").read_text("utf-8").split("```text\n")[1].split("```")[0]
        assert skeleton(shown) == skeleton(printed)
        for line in ("    3        -5150.69", "    2         -214.36", "lowest BIC: K = 3"):
            assert line in shown
            assert line in printed


def skeleton(text):
    """The lines without their numbers and spacing."""
    lines = [re.sub(r"[\d.]+", "#", line).split() for line in text.splitlines()]
    figure = "Figure:", "No"  # with and without matplotlib
    return [line for line in lines if line and line[0] not in figure]
