"""Masked entries are refused wherever numbers are taken; a mask without entries changes nothing."""

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Blocks, Mixture, Prior, Shards, Stream

N, K = 40, 2
X = np.random.default_rng(0).normal(size=(N, 2)).astype(np.float32)
X[::2] += 5
MASKED = np.ma.masked_array(np.where(np.arange(2 * N).reshape(N, 2) == 7, -9999, X))
MASKED = np.ma.masked_equal(MASKED, -9999)
PLAIN = np.ma.masked_array(X)
WEIGHT = np.ma.masked_array(np.ones(N), np.arange(N) == 3)
LABELS = np.arange(N) % K
MIXTURE = jaxgmm.initialize(jax.random.key(0), X, K)
KEY, UNITS = jax.random.key(0), np.stack([np.eye(2)] * K)
MEANS = np.ma.masked_array(X[:K], [[0, 0], [0, 1]])

FUNCTIONS = {
    "x": lambda: jaxgmm.fit(MASKED, MIXTURE),
    "x in a list": lambda: jaxgmm.log_prob(MIXTURE, list(MASKED)),
    "x in lists": lambda: jaxgmm.log_prob(MIXTURE, [list(row) for row in MASKED]),
    "weight": lambda: jaxgmm.fit(X, MIXTURE, weight=WEIGHT),
    "weight in a list": lambda: jaxgmm.bic(MIXTURE, X, weight=list(WEIGHT)),
    "blocks": lambda: jaxgmm.log_likelihood(MIXTURE, Blocks(MASKED, 8)),
    "blocks of a stream": lambda: jaxgmm.log_likelihood(MIXTURE, Stream([X, MASKED])),
    "stream of slices": lambda: jaxgmm.log_likelihood(MIXTURE, Stream(MASKED, block_rows=8)),
    "weight of a stream": lambda: jaxgmm.e_step(MIXTURE, Stream([X]), weight=WEIGHT),
    "shards": lambda: jaxgmm.log_likelihood(MIXTURE, Shards(MASKED)),
    "function of shards": lambda: jaxgmm.log_likelihood(
        MIXTURE, Shards(lambda index: MASKED[index], shape=X.shape)
    ),
    "labels": lambda: jaxgmm.from_labels(X, np.ma.masked_array(LABELS, LABELS == 1)),
    "resp": lambda: jaxgmm.from_responsibilities(X, np.ma.masked_equal(np.eye(K)[LABELS], 0)),
    "means": lambda: Mixture.from_parameters([0.5, 0.5], MEANS, UNITS),
    "covariances": lambda: Mixture.from_parameters([0.5, 0.5], X[:K], np.ma.masked_equal(UNITS, 0)),
    "leaves": lambda: jaxgmm.log_prob(Mixture(MIXTURE.logits, MEANS, MIXTURE.covariance), X),
    "prior": lambda: jaxgmm.fit(X, MIXTURE, prior=Prior(1.0, np.ma.masked_equal(np.eye(2), 0))),
    "sweep": lambda: jaxgmm.sweep(KEY, MASKED, K),
    "weight of compare": lambda: jaxgmm.compare(KEY, X, K, ["em"], weight=WEIGHT),
    "summary": lambda: jaxgmm.summary(MIXTURE, MASKED),
}


@pytest.mark.parametrize("where", FUNCTIONS)
def test_functions_refuse_masked_entries(where):
    with pytest.raises(ValueError, match="has masked entries"):
        FUNCTIONS[where]()


def test_the_estimator_refuses_masked_entries():
    """It was fitted to the numbers behind the mask."""
    made = pytest.importorskip("jaxgmm.sklearn").GaussianMixture
    fitted = made(K, random_state=0).fit(PLAIN)
    np.testing.assert_array_equal(fitted.means_, made(K, random_state=0).fit(X).means_)
    asked = ("predict", "predict_proba", "score", "score_samples", "aic", "bic", "fit_predict")
    calls = [lambda name=name: getattr(fitted, name)(MASKED) for name in asked]
    calls += [
        lambda: made(K).fit(MASKED),
        lambda: made(K).fit(list(MASKED)),
        lambda: made(K).fit(X, sample_weight=WEIGHT),
        lambda: fitted.score(X, sample_weight=WEIGHT),
        lambda: made(K, means_init=MEANS).fit(X),
        lambda: made(K, weights_init=np.ma.masked_array([0.5, 0.5], [0, 1])).fit(X),
        lambda: made(K, precisions_init=np.ma.masked_equal(UNITS, 0)).fit(X),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="has masked entries"):
            call()


def test_a_mask_without_entries_changes_nothing():
    expected = jaxgmm.log_prob(MIXTURE, X)
    for x in (PLAIN, list(PLAIN), np.ma.masked_array(X, np.zeros_like(X, bool))):
        np.testing.assert_array_equal(jaxgmm.log_prob(MIXTURE, x), expected)
