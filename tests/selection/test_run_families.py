"""A sweep over many families in one program finds what fits of each family find."""

import jax
import numpy as np
import pytest
from sklearn.datasets import load_iris

import jaxgmm
from jaxgmm.families.registry import FOURTEEN, family_class, family_name

X = load_iris().data.astype("f")
NAMES = [family_name(family_class(letters)) for letters in FOURTEEN]
# BIC for K = 1 and 2. They are those of mclust 6.0 to 0.1, but that of VVE for K = 2, where mclust
# stops at 605.2.
BIC = {1: [1804.1] * 2 + [1522.1] * 4 + [830.0] * 8, 2: [
    1123.4, 1012.2, 1043.0, 956.3, 1007.3, 857.6, 688.1, 656.3, 657.2, 604.4, 644.6, 561.7, 658.3,
    574.0,
]}  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return jaxgmm.sweep(jax.random.key(0), X, [1, 2], restarts=8, families="all", prior=None)


def test_criteria_are_those_of_mclust(found):
    assert list(found.fits) == NAMES
    for k, expected in BIC.items():
        scores = [found.scores(name, k)["BIC"] for name in NAMES]
        np.testing.assert_allclose(scores, expected, atol=0.1)
    best = found.best("bic")
    assert (best.mixture.family, best.mixture.n_components) == ("VEV", 2)


def test_criteria_are_those_of_the_fits(found):
    """Also where K is less than the largest of the sweep, and where components share something."""
    for letters, name in zip(FOURTEEN, NAMES, strict=True):
        for k in (1, 2):
            mixture, scores = found.fit(name, k).mixture, found.scores(letters, k)
            for criterion in ("aic", "bic", "icl"):
                expected = getattr(jaxgmm, criterion)(mixture, X)
                np.testing.assert_allclose(scores[criterion.upper()], expected, rtol=1e-4)


def test_one_feature_has_two_families():
    """mclust's E and V, to which all fourteen are equal; in one program or in several."""
    x, key = X[:, 2:3], jax.random.key(0)
    sweep = lambda families: jaxgmm.sweep(key, x, [1, 2], restarts=2, families=families)
    found, together = sweep("all"), sweep(["EII", "VII", "EEI", "VEI", "EVI"])
    assert list(found.fits) == ["tied", "full"]
    for k in (1, 2):
        for letters, one in (("EII", "E"), ("EEI", "E"), ("EVI", "E"), ("VII", "V"), ("VEI", "V")):
            for criterion in ("BIC", "ICL"):
                expected = found.scores(one, k)[criterion]
                np.testing.assert_allclose(
                    together.scores(letters, k)[criterion], expected, rtol=1e-4
                )


@pytest.mark.thorough
def test_all_may_stand_beside_others():
    found = jaxgmm.sweep(
        jax.random.key(0), X, 1, restarts=1, families=("all", "factors-1"), max_steps=2
    )
    assert list(found.fits) == [*NAMES, "factors-1"]
    with pytest.raises(ValueError, match="unknown family 'ALL'"):
        jaxgmm.sweep(jax.random.key(0), X, 1, families="ALL")
    with pytest.raises(ValueError, match="family of this sweep"):
        found.scores("ppca-1", 1)


def test_results_have_their_own_class(found):
    for name in NAMES:
        fits = found.fits[name]
        assert fits.mixture.family == name
        kind = family_class(name)
        leaves = jax.tree.leaves(jax.eval_shape(lambda kind=kind: kind.identity(2, 4, np.float32)))
        shapes = [leaf.shape[2:] for leaf in jax.tree.leaves(fits.mixture.covariance)]
        assert shapes == [leaf.shape for leaf in leaves]


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("EII", "VEV") else pytest.param(name, marks=pytest.mark.thorough)
        for name in NAMES
    ],
)
def test_results_are_maxima_of_their_family(found, name):
    """EM in the family's own class takes no step from there that is worth mentioning."""
    fit = found.fit(name, 2)
    again = jaxgmm.fit(X, fit.mixture, prior=None, max_steps=0)
    np.testing.assert_allclose(again.log_likelihood, fit.log_likelihood, rtol=1e-5)
    assert again.em_gain < 5e-9
    assert fit.converged


def test_few_families_and_other_algorithms_have_programs_of_their_own():
    key = jax.random.key(1)
    names = []
    jaxgmm.sweep(
        key, X, 1, restarts=1, families=["EII", "EEI"],
        callback=lambda progress: names.append(progress.family),
    )  # fmt: skip
    assert set(names) == {"EII", "EEI"}


@pytest.mark.thorough
def test_narrow_components_are_fitted_as_by_the_whitened_kernel():
    """The kernel of many families together is accurate in float32 far from the center."""
    rng = np.random.default_rng(3)
    far = 1e3 + rng.normal(size=(60, 2))
    x = np.concatenate([X[:, :2], far]).astype(np.float32)
    fit = lambda kernel: jaxgmm.sweep(
        jax.random.key(1), x, [1, 2], restarts=2, families="all", kernel=kernel
    )
    found, reference = fit("auto"), fit("whitened")
    for family in found.fits:
        objectives = (sweep.fit(family, 2).objective for sweep in (found, reference))
        np.testing.assert_allclose(*objectives, rtol=1e-5)
