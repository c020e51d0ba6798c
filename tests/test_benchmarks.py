"""The benchmarks run on small shapes, so that they do not rot. Their times are not tested."""

import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.thorough


@pytest.mark.parametrize("name", ["kernels", "passes", "accelerator"])
def test_a_benchmark_runs(name, tmp_path):
    table = tmp_path / "table.csv"
    script = ROOT / "examples" / "benchmarks" / f"{name}.py"
    subprocess.run(
        [sys.executable, str(script), "--quick", "--rounds", "1", "--csv", str(table)],
        check=True, timeout=300, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    header, *rows = table.read_text("utf-8").splitlines()
    assert "auto ms" in header and len(rows) == 2
