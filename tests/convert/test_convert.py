"""Other libraries see the same density, and what they hold comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import random_mixture

import jaxgmm
from jaxgmm import convert

X = np.random.default_rng(0).normal(size=(6, 3))


@pytest.fixture
def mixture(x64):
    _, means, covariances = random_mixture(0, 3, 3, "full")
    return jaxgmm.Mixture.from_parameters([0.4, 0.0, 0.6], means, covariances)


def same_density(one, other):
    np.testing.assert_allclose(jaxgmm.log_prob(one, X), jaxgmm.log_prob(other, X), rtol=1e-9)


def log_prob_of(distribution):
    return np.asarray(distribution.log_prob(jnp.asarray(X)))


LIBRARIES = {
    "numpyro": (convert.to_numpyro, convert.from_numpyro),
    "distrax": (convert.to_distrax, convert.from_distrax),
    "tensorflow_probability": (convert.to_tfp, convert.from_tfp),
}


@pytest.fixture
def lenient():
    """Those libraries broadcast arrays of different ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.mark.filterwarnings("ignore")  # those libraries warn when they are imported
@pytest.mark.parametrize("library", LIBRARIES)
def test_distributions_of_other_libraries(library, mixture, lenient):
    pytest.importorskip(library)
    there, back = LIBRARIES[library]
    distribution = there(mixture)
    np.testing.assert_allclose(log_prob_of(distribution), jaxgmm.log_prob(mixture, X), rtol=1e-9)
    found = back(distribution)
    assert found.n_components == 2 and found.family == "full"
    same_density(found, mixture)
    loss = lambda m: jnp.sum(there(m).log_prob(jnp.asarray(X)))
    present = jaxgmm.reduce(mixture, 2)
    slope, expected = jax.grad(loss)(present), jax.grad(jaxgmm.log_likelihood)(present, X)
    for one, other in zip(jax.tree.leaves(slope), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
    with pytest.raises(ValueError, match="not a mixture of normals"):
        back(mixture)


@pytest.mark.filterwarnings("ignore")
def test_independent_normals_of_numpyro_are_diagonal(x64, lenient):
    dist = pytest.importorskip("numpyro.distributions")
    parts = dist.Normal(jnp.zeros((2, 3)), jnp.array([[1.0, 2, 3], [1, 1, 1]])).to_event(1)
    theirs = dist.MixtureSameFamily(dist.Categorical(probs=jnp.array([0.3, 0.7])), parts)
    found = convert.from_numpyro(theirs)
    assert found.family == "diagonal"
    np.testing.assert_allclose(jaxgmm.log_prob(found, X), log_prob_of(theirs), rtol=1e-9)


def test_a_library_that_is_not_installed_is_named(monkeypatch, mixture):
    import importlib

    def missing(name, *arguments):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match="needs numpyro, and numpyro"):
        convert.to_numpyro(mixture)


def test_frozen_normals(mixture):
    stats = pytest.importorskip("scipy.stats")
    weights, normals = convert.to_scipy(mixture)
    density = sum(w * normal.pdf(X) for w, normal in zip(weights, normals, strict=True))
    np.testing.assert_allclose(np.log(density), jaxgmm.log_prob(mixture, X), rtol=1e-9)
    same_density(convert.from_scipy(weights, normals), mixture)
    line = convert.from_scipy([1.0], [stats.norm(2, 3)])
    assert line.n_features == 1 and line.covariances[0, 0, 0] == pytest.approx(9)
    for bad in ([stats.expon()], ["normal"]):
        with pytest.raises(ValueError, match="not frozen normal"):
            convert.from_scipy([1.0], bad)


def test_frames(mixture):
    pytest.importorskip("pandas")
    frame = convert.to_frame(mixture, ["a", "b", "c"])
    assert frame.shape == (2, 1 + 3 + 9) and frame.index.tolist() == [1, 2]
    assert frame[("mean", "b", "")].iloc[1] == pytest.approx(float(mixture.means[2, 1]))
    assert frame[("covariance", "a", "c")].iloc[0] == pytest.approx(
        float(mixture.covariances[0, 0, 2])
    )
    same_density(convert.from_frame(frame.sort_values(("weight", "", ""))), mixture)
    assert convert.to_frame(mixture).columns[1] == ("mean", "feature 1", "")
    with pytest.raises(ValueError, match="columns that to_frame makes"):
        convert.from_frame(frame.drop(columns=[("covariance", "a", "c")]))
    with pytest.raises(ValueError, match="a different name"):
        convert.to_frame(mixture, ["a", "a", "b"])
