"""Low-rank families wherever a family goes: sweeps, comparisons, files, the estimator, the command
line, figures and summaries."""

import jax
import numpy as np
import pytest
from sklearn.base import clone

import jaxgmm
from jaxgmm import Mixture
from jaxgmm.cli.main import main
from jaxgmm.sklearn import GaussianMixture, from_sklearn

K, D = 2, 5


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(0)
    z, loadings = rng.normal(size=(200, 2)), rng.normal(size=(2, D))
    rows = z @ loadings + rng.normal(size=(200, D)) + 5 * (np.arange(200) % 2)[:, None]
    return rows.astype(np.float32)


@pytest.fixture(scope="module")
def swept(x):
    return jaxgmm.sweep(
        jax.random.key(0), x, (1, K), restarts=2, families=("factors-1", jaxgmm.factors(2)),
        max_steps=50,
    )  # fmt: skip


@pytest.mark.thorough
def test_sweeps_choose_the_number_of_factors(swept, x):
    assert list(swept.fits) == ["factors-1", "factors-2"]
    assert {row["family"] for row in swept.table()} == set(swept.fits)
    best = swept.best("bic")
    assert best.mixture.n_components == K and best.mixture.family in swept.fits
    two = swept.fit("factors-2", K)
    assert two.mixture.covariance.loadings.shape == (K, D, 2)
    p = jaxgmm.n_parameters(two.mixture)
    assert p == 1 + K * D + K * D + K * (2 * D - 1)
    np.testing.assert_allclose(
        swept.scores("factors-2", K)["BIC"], p * np.log(200) - 2 * two.log_likelihood, rtol=1e-5
    )
    pytest.importorskip("matplotlib")
    swept.plot()
    jaxgmm.plot.pairs(two.mixture, x)


def test_files_and_summaries(x, tmp_path):
    mixture = jaxgmm.from_labels(x, np.arange(200) % 2, family="factors-2")
    jaxgmm.save(tmp_path / "m.npz", mixture)
    again = jaxgmm.load(tmp_path / "m.npz")
    assert again.family == "factors-2"
    assert all(map(np.array_equal, jax.tree.leaves(again), jax.tree.leaves(mixture)))
    text = jaxgmm.summary(mixture, features=list("abcde"))
    assert "factors-2 covariances" in text
    lines = text.splitlines()
    header = lines.index(next(line for line in lines if "communality" in line))
    name, *correlations, explained = lines[header + 1].split()
    assert name == "a" and len(correlations) == 2
    np.testing.assert_allclose(
        sum(float(c) ** 2 for c in correlations), float(explained), atol=0.03
    )
    np.testing.assert_allclose(float(explained), jaxgmm.communalities(mixture)[0, 0], atol=0.006)
    loadings = np.asarray(jaxgmm.loadings(mixture))
    noise = np.exp(-2 * np.asarray(mixture.covariance.noise))
    dense = loadings @ np.swapaxes(loadings, 1, 2) + noise[:, :, None] * np.eye(D)
    np.testing.assert_allclose(dense, mixture.covariances, rtol=1e-4, atol=1e-4)
    inside = np.swapaxes(loadings / noise[..., None], 1, 2) @ loadings
    assert (np.abs(inside[:, 0, 1]) < 1e-3 * inside[:, 1, 1]).all()
    assert (inside[:, 0, 0] >= inside[:, 1, 1]).all()
    same = Mixture.from_parameters(
        mixture.weights, mixture.means, mixture.covariances, family="factors-2"
    )
    np.testing.assert_allclose(same.covariances, mixture.covariances, rtol=1e-3, atol=1e-3)


def test_the_estimator_takes_them(x):
    by_name = GaussianMixture(K, covariance_type="factors-1", random_state=0, max_iter=20, tol=1e-2)
    by_object = clone(by_name).set_params(covariance_type=jaxgmm.factors(1))
    fits = [one.fit(x) for one in (by_name, clone(by_object))]
    assert fits[0].covariances_.shape == (K, D, D) and fits[0].mixture_.family == "factors-1"
    np.testing.assert_array_equal(fits[0].means_, fits[1].means_)
    np.testing.assert_allclose(
        from_sklearn(fits[0]).covariances, fits[0].covariances_, rtol=1e-3, atol=1e-3
    )
    for kind, said in (
        ("factors-5", "has 5 factors for 5 features"),
        ("factor-1", "covariance_type"),
    ):
        with pytest.raises(ValueError, match=said):
            GaussianMixture(K, covariance_type=kind).fit(x)


@pytest.mark.thorough
def test_comparisons_and_the_command_line(x, tmp_path, capsys):
    compared = jaxgmm.compare(
        jax.random.key(0), x, K, ["em", "lbfgs"], restarts=2, family=jaxgmm.ppca(1)
    )
    assert len(compared.table()) == 2
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="a,b,c,d,e", comments="")
    file = str(tmp_path / "x.csv")
    out = str(tmp_path / "m.npz")
    fitted = ["--family", "factors-1,tied-ppca-1", "--restarts", "2", "--out"]
    assert main(["fit", file, "--k", "2", *fitted, out]) == 0
    printed = capsys.readouterr().out
    assert "factors-1" in printed and "tied-ppca-1" in printed and "communality" in printed
    with jax.enable_x64(True):
        assert jaxgmm.load(out).mixture.n_components == 2
    assert main(["fit", file, "--k", "2", "--family", "factors"]) != 0
    assert "family 'factors' needs its number of factors" in capsys.readouterr().err


def test_starts_of_every_method(x):
    for method in ("k-means++", "random-rows", "random-responsibilities"):
        made = jaxgmm.initialize(jax.random.key(1), x, K, family="tied-factors-1", method=method)
        assert made.covariance.loadings.shape == (K, D, 1) and made.covariance.noise.shape == (1, D)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(made))
    with pytest.raises(ValueError, match="family 'factors-5' has 5 factors for 5 features"):
        jaxgmm.initialize(jax.random.key(1), x, K, family="factors-5")
    with pytest.raises(ValueError, match="component 0's covariance is singular"):
        jaxgmm.from_labels(np.repeat(x[:2], 5, axis=0), np.arange(10) // 5, family="ppca-1")
