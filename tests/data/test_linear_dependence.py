"""Why a covariance is singular, in words."""

import numpy as np
import pytest

from jaxgmm.data.linear_dependence import dependence, explain_dependence

RNG = np.random.default_rng(0)
TWO = RNG.normal([10, -3], [2, 0.5], (300, 2))
SHARES = RNG.dirichlet([3, 2, 1], 300) * 100
LEVELS = np.eye(3)[RNG.integers(0, 3, 300)]
NAMES = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.c_[TWO, TWO.sum(axis=1)], "c = a + b"),
        (np.c_[TWO, TWO.sum(axis=1) + RNG.normal(0, 1e-9, 300)], "c = a + b"),
        (np.c_[TWO, TWO.sum(axis=1)].astype(np.float32), "c = a + b"),
        (np.c_[TWO, 2 * TWO[:, 0] - 0.5 * TWO[:, 1] + 7], "c = 7 + 2 a − 0.5 b"),
        (np.c_[TWO, -TWO[:, 1]], "c = − b"),
        (SHARES, "c = 100 − a − b"),
        (LEVELS, "c = 1 − a − b"),
        (np.c_[TWO, np.ones(300)], "c is the same in every row"),
        (np.c_[TWO, TWO[:, 0]][:3], "3 rows are too few for covariances of 3 columns"),
        (np.c_[TWO, TWO.sum(axis=1) + RNG.normal(0, 1e-2, 300)], None),
        (RNG.normal(1e6, 1, (300, 3)), None),
    ],
)
def test_what_depends_on_what(x, said):
    assert dependence(x, NAMES) == said


def test_a_long_list_is_cut():
    x = np.c_[TWO, TWO, TWO, TWO]
    assert dependence(x).endswith("column 4 = column 0, and 3 more")
    assert "since column 2 = column 0" in explain_dependence("It failed", x)
    assert explain_dependence("It failed", TWO).startswith("It failed: a component became empty")
