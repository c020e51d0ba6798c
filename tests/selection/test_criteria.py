"""Counting parameters, information criteria, the best of a batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

import jaxgmm
from jaxgmm import Status

PEER = {"full": "full", "tied": "tied", "diagonal": "diag", "spherical": "spherical"}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_criteria_equal_scikit_learn(family, iris, x64):
    peer = GaussianMixture(3, covariance_type=PEER[family], random_state=0, max_iter=5).fit(iris)
    mixture = jaxgmm.Mixture.from_parameters(
        peer.weights_, peer.means_, peer.covariances_, family=family
    )
    assert jaxgmm.n_parameters(mixture) == peer._n_parameters()
    np.testing.assert_allclose(jaxgmm.aic(mixture, iris), peer.aic(iris), rtol=1e-11)
    np.testing.assert_allclose(jaxgmm.bic(mixture, iris), peer.bic(iris), rtol=1e-11)
    resp = peer.predict_proba(iris)
    entropy = -np.sum(resp * np.log(np.where(resp > 0, resp, 1)))
    np.testing.assert_allclose(jaxgmm.icl(mixture, iris), peer.bic(iris) + 2 * entropy, rtol=1e-10)


def test_whole_weights_are_repeated_rows(iris, x64):
    mixture = jaxgmm.initialize(jax.random.key(0), iris, 2)
    times = np.arange(150) % 3
    repeated = np.repeat(iris, times, axis=0)
    for criterion in (jaxgmm.aic, jaxgmm.bic, jaxgmm.icl):
        np.testing.assert_allclose(
            criterion(mixture, iris, weight=times), criterion(mixture, repeated), rtol=1e-11
        )


def test_criteria_under_vmap(iris):
    x = iris.astype(np.float32)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, x, 2))(
        jax.random.split(jax.random.key(0), 3)
    )
    many = jax.vmap(lambda mixture: jaxgmm.bic(mixture, x))(starts)
    one = jaxgmm.bic(jax.tree.map(lambda leaf: leaf[1], starts), x)
    np.testing.assert_allclose(many[1], one, rtol=1e-6)


def test_batches_read_and_refuse_clearly(family, iris):
    x = iris.astype(np.float32)
    starts = jax.vmap(lambda key: jaxgmm.initialize(key, x, 2, family=family))(
        jax.random.split(jax.random.key(0), 3)
    )
    assert starts.covariances.shape == starts.precisions.shape == (3, 2, 4, 4)
    one = jax.tree.map(lambda leaf: leaf[1], starts)
    np.testing.assert_allclose(starts.covariances[1], one.covariances, rtol=1e-6)
    for function in (jaxgmm.responsibilities, jaxgmm.bic, jaxgmm.e_step):
        with pytest.raises(ValueError, match="batch of mixtures"):
            function(starts, x)
    for call in (
        lambda: jaxgmm.n_parameters(starts),
        lambda: jaxgmm.fit(x, starts),
        lambda: jaxgmm.sample(jax.random.key(0), starts, 5),
    ):
        with pytest.raises(ValueError, match="batch of mixtures"):
            call()


def test_best_leaves_failed_fits_out(iris):
    x = iris.astype(np.float32)
    fit = jaxgmm.fit(x, jaxgmm.from_labels(x, np.zeros(150, int)), max_steps=0)
    lanes = dataclasses.replace(
        jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), fit),
        objective=jnp.array([jnp.nan, 5.0, 1.0, 2.0]),
        status=jnp.array([Status.NONFINITE, Status.DEGENERATE, Status.CONVERGED, Status.MAX_STEPS]),
    )
    assert jaxgmm.best(lanes).objective == 2
    failed = dataclasses.replace(
        lanes, status=jnp.array([Status.NONFINITE] + [Status.DEGENERATE] * 3)
    )
    with pytest.warns(UserWarning, match="every fit failed"):
        assert jaxgmm.best(failed).objective == 5
    with pytest.raises(ValueError, match="batch of fits"):
        jaxgmm.best(fit)
