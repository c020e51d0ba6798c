"""Slots run the fits that `fit` runs, in their order."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxgmm
from jaxgmm.batches.slots import MOST_SLOTS, Tasks, run_tasks

N, D, K = 60, 2, 2
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(N, D)) + 3.5 * (np.arange(N) % K)[:, None]


def test_more_fits_than_slots_are_those_that_run_alone(x64):
    """Each has row weights of its own, so that they end after different numbers of steps."""
    count = MOST_SLOTS + 6
    weight = jnp.asarray(RANDOM.integers(0, 3, (count, N)).astype(float)).at[0].set(1)
    start, prior = jaxgmm.from_labels(X, np.arange(N) % K), jaxgmm.Prior.from_data(X)
    tasks = Tasks(jax.tree.map(lambda leaf: leaf[None], start), jnp.asarray(X)[None], weight)
    found = run_tasks(tasks, count, prior, algorithm=jaxgmm.EM(), tolerance=1e-14, max_steps=2000)
    for i in (0, 1, MOST_SLOTS, count - 1):
        alone = jaxgmm.fit(X, start, weight=weight[i], prior=prior, tolerance=1e-14, max_steps=2000)
        np.testing.assert_allclose(found.mixture.means[i], alone.mixture.means, rtol=1e-6)
        np.testing.assert_allclose(found.log_likelihood[i], alone.log_likelihood, rtol=1e-9)
        assert found.passes[i] == alone.passes
    assert np.all(found.passes > 0)
    assert len(set(np.asarray(found.passes).tolist())) > 1
