"""What a fit says of itself: the numbers are those of the functions that compute them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from texts import table_under

import jaxgmm


@pytest.fixture(scope="module")
def found(rows):
    return jaxgmm.fit(rows, jaxgmm.initialize(jax.random.key(0), rows, 2))


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal([0, 5], 1, (20, 2)), rng.normal([9, 5], 1, (40, 2))]).astype(
        np.float32
    )


def test_with_rows_it_tells_what_the_functions_tell(found, rows):
    text = found.summary(rows, features=["width", "height"])
    told = table_under(text, "ICL")
    assert told["n"] == "60" and told["parameters"] == "11"
    assert float(told["log-likelihood"]) == pytest.approx(float(found.log_likelihood), abs=0.006)
    for name, function in (("AIC", jaxgmm.aic), ("BIC", jaxgmm.bic), ("ICL", jaxgmm.icl)):
        assert float(told[name]) == pytest.approx(float(function(found.mixture, rows)), abs=0.006)
    sizes = next(line for line in text.splitlines() if line.startswith("rows")).split()[1:]
    assert sorted(sizes) == ["20", "40"]
    assert f"CONVERGED after {int(found.steps)} step" in text
    means = next(line for line in text.splitlines() if line.startswith("width"))
    first = float(means.split()[1])
    assert first == pytest.approx(float(found.mixture.means[0, 0]), abs=0.006)


def test_without_rows_it_tells_what_a_fit_knows(found):
    text = str(found)
    assert "AIC" in text and "BIC" not in text and "rows " not in text.replace("over the rows", "")
    assert text == found.summary()
    assert jaxgmm.summary(found.mixture).startswith("Gaussian mixture, full covariances: 2 comp")


def test_row_weights_count_rows(found, rows):
    double = found.summary(rows, weight=np.full(60, 2.0))
    assert table_under(double, "ICL")["n"] == "120"
    assert "80" in next(line for line in double.splitlines() if line.startswith("rows")).split()


def test_errors_are_those_of_uncertainty(found, rows):
    table = str(jaxgmm.uncertainty(found.mixture, rows).table())
    assert found.summary(rows, errors=True).endswith(table)
    with pytest.raises(ValueError, match="errors need the rows"):
        found.summary(errors=True)


def test_columns_line_up(found, rows):
    for text in (found.summary(rows), found.summary(rows, features=["a", "ß" * 30])):
        block = text.split("\n\n")[-1].splitlines()
        assert len({len(line) for line in block}) == 1


def test_names_come_from_a_table(found, rows):
    pandas = pytest.importorskip("pandas")
    assert "\nred " in found.summary(pandas.DataFrame(rows, columns=["red", "green"]))


def test_many_components_and_features_and_absent_ones():
    k, d = 8, 25
    weights = np.r_[0, np.full(k - 1, 1 / (k - 1))]
    wide = jaxgmm.Mixture.from_parameters(weights, np.zeros((k, d)), np.ones((k, d)), "diagonal")
    text = jaxgmm.summary(wide)
    assert max(map(len, text.splitlines())) < 110
    assert "component 8" in text and "component 1 " not in text
    assert "… and 5 more features" in text and "(1 component absent, of weight 0)" in text


def test_a_batch_says_how_its_fits_ended(found):
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf, leaf]), found)
    text = str(two)
    assert "3 fits" in text and "3 CONVERGED" in text and f"{float(found.objective):.2f}" in text
    with pytest.raises(ValueError, match="batch of mixtures"):
        two.summary(np.zeros((3, 2)))


def test_repr_is_one_short_line(found):
    assert repr(found.mixture) == "Mixture(full, K = 2, d = 2, float32)"
    assert repr(found).startswith("Fit(Mixture(full, K = 2, d = 2, float32): CONVERGED, objective ")
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), found)
    assert repr(batch) == "Fit(Mixture(full, K = 2, d = 2, float32; batch of 3))"
    axes = jax.tree.map(lambda _: 0, found)  # as for vmap's in_axes
    assert "log_diagonal=0" in repr(axes) and "log_diagonal=0" in str(axes)
    shown = []
    jax.make_jaxpr(lambda fit: shown.extend([str(fit), repr(fit.mixture)]) or 0)(found)
    assert shown == [
        "Fit(Mixture(full, K = 2, d = 2, float32))",
        "Mixture(full, K = 2, d = 2, float32)",
    ]


def test_names_must_fit(found):
    with pytest.raises(ValueError, match="3 names for 2 features"):
        found.summary(features=["a", "b", "c"])


def test_wide_characters_fill_two_cells(found, rows):
    """A terminal gives a Chinese character two cells, and an accent that combines none."""
    names = ["花の長さ", "bre\u0301dde"]
    text = found.summary(rows, features=names)
    lines = [line for line in text.splitlines() if line.startswith(tuple(names))]
    shown = [line.replace(names[0], "8 cells.").replace(names[1], "6cells") for line in lines]
    (first, second), width = shown, len("8 cells.  ")
    assert first[:width] == "8 cells.  " and second[:width] == "6cells    "
    assert len(first) == len(second) and "±" in first
    table = str(jaxgmm.Table([{"種": "full", "K": 2}, {"種": "二次元", "K": 10}]))
    assert table.splitlines() == ["種       K", "full     2", "二次元  10"]
