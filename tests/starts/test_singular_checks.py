"""Covariances that rows do not determine, and mixtures that are not finite, are refused by name."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Mixture, Prior, Status

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(30, 3)) + 100  # an offset, so that a constant column is one up to rounding
LABELS = np.arange(30) % 2


def with_column(column, values, component=None):
    x = X.copy()
    rows = slice(None) if component is None else component == LABELS
    x[rows, column] = values if np.ndim(values) == 0 else values[rows]
    return x


ONE_ROW = np.where((LABELS == 1)[:, None], X[1], X)
COLLINEAR = with_column(2, X[:, 0] + X[:, 1])
SINGULAR = {
    "constant": (with_column(1, 0.1), LABELS, "feature 1 is constant on .* as on all rows"),
    "constant in one": (with_column(1, 0.1, 1), LABELS, "component 1.* feature 1 is constant"),
    "one row": (ONE_ROW, LABELS, "component 1.* rows are all the same"),
    "as many components": (X, np.arange(30), "component 0.* rows are all the same"),
    "few rows": (X[:6], LABELS[:6], "component 0.* 3 distinct rows for 3 features are too few"),
    "collinear": (COLLINEAR, LABELS, "component 0.* collinear"),
}
# what determines no covariance of the family
FAMILIES = {
    "full": set(SINGULAR),
    "tied": {"constant", "as many components", "collinear"},
    "diagonal": {"constant", "constant in one", "one row", "as many components"},
    "spherical": {"one row", "as many components"},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", SINGULAR)
def test_rows_that_leave_a_covariance_singular(case, dtype, family, x64):
    x, labels, words = SINGULAR[case]
    x = x.astype(dtype)
    if case in FAMILIES[family]:
        words = words.split(".* ")[-1]
        words = words if family == "tied" else SINGULAR[case][2]
        with pytest.raises(ValueError, match=words):
            jaxgmm.from_labels(x, labels, family=family)
        with pytest.raises(ValueError, match=words):
            jaxgmm.from_responsibilities(x, np.eye(labels.max() + 1)[labels], family=family)
    else:
        found = jaxgmm.from_labels(x, labels, family=family)
        chex.assert_tree_all_finite(found)


@pytest.mark.parametrize("name", ["EVI", "VVE", pytest.param("EVV", marks=pytest.mark.thorough)])
def test_a_constant_feature_in_families_that_share_something(name):
    """In float32 its variance is a rounding error of the others' scales, and not of its own."""
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3)).astype(np.float32)
    x[30:] += 3
    for value in (7.0, 0.0):
        x[:30, 1] = value
        with pytest.raises(ValueError, match=f"component 0.* feature 1 is constant .*{value:g}"):
            jaxgmm.from_labels(x, np.repeat([0, 1], 30), family=name)
    x[:30, 1] = 1e-3 * random.normal(size=30)
    narrow = jaxgmm.from_labels(x, np.repeat([0, 1], 30), family=name).covariances
    assert np.isfinite(narrow).all() and narrow[0, 1, 1] < 1e-3


def test_weights_decide_which_rows_there_are():
    weight = np.arange(30) < 6
    with pytest.raises(ValueError, match="3 distinct rows for 3 features are too few"):
        jaxgmm.from_labels(X - 100, LABELS, weight=weight)


def test_a_prior_or_another_component_is_enough(family):
    """The remedies that the messages name; an absent component is none that lacks rows."""
    x = (X - 100).astype(np.float32)
    for labels in (np.arange(30), np.zeros(30, int)):
        found = jaxgmm.from_labels(x, labels, 31, family=family, prior=Prior.from_data(x))
        chex.assert_tree_all_finite(found.covariance)
    found = jaxgmm.from_labels(x, LABELS, 3, family=family)
    assert found.weights[2] == 0 and np.isfinite(jaxgmm.log_likelihood(found, x))


def test_under_jit_values_are_not_looked_at():
    made = jax.jit(lambda x: jaxgmm.from_labels(x, LABELS, 2))(jnp.asarray(ONE_ROW))
    assert not np.isfinite(made.covariance.log_diagonal).all()
    found = jax.jit(jaxgmm.fit)(jnp.asarray(X - 100), made)
    assert found.status == Status.NONFINITE


def spoiled(leaf, value, component):
    start = jaxgmm.initialize(jax.random.key(0), X - 100, 3)
    spoil = lambda values: values.at[component, ...].set(value)
    if leaf == "covariance":
        return dataclasses.replace(start, covariance=jax.tree.map(spoil, start.covariance))
    return dataclasses.replace(start, **{leaf: spoil(getattr(start, leaf))})


BROKEN = [
    (spoiled("means", np.nan, 2), "component 2 has NaN in its mean"),
    (spoiled("means", np.inf, 1), "component 1 has infinity in its mean"),
    (spoiled("covariance", np.nan, 0), "component 0 has NaN in its covariance"),
    (spoiled("logits", np.nan, 1), "weights are not finite"),
    (spoiled("logits", -np.inf, slice(None)), "weights are not finite"),
]


@pytest.mark.parametrize(("mixture", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_mixtures_that_are_not_finite(mixture, words):
    with pytest.raises(ValueError, match=f"the start's {words}"):
        jaxgmm.fit(X - 100, mixture)
    for call in (
        lambda: jaxgmm.log_prob(mixture, X),
        lambda: jaxgmm.log_likelihood(mixture, X),
        lambda: jaxgmm.e_step(mixture, X),
        lambda: jaxgmm.bic(mixture, X),
        lambda: jaxgmm.certificate(mixture, X),
        lambda: jaxgmm.textbook_em(X, mixture),
        lambda: jaxgmm.sample(jax.random.key(0), mixture, 3),
        lambda: jaxgmm.overlap(mixture),
    ):
        with pytest.raises(ValueError, match=f"the mixture's {words}"):
            call()


def test_a_shared_covariance_that_is_not_finite():
    start = jaxgmm.initialize(jax.random.key(0), X - 100, 3, family="tied")
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, start.covariance)
    with pytest.raises(ValueError, match="components have NaN in the covariance that they share"):
        jaxgmm.fit(X - 100, Mixture(start.logits, start.means, broken))


def test_a_lane_that_starts_not_finite():
    """Under vmap it says NONFINITE, and changes no other lane."""
    starts = [jaxgmm.initialize(jax.random.key(0), X - 100, 3), BROKEN[0][0]]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    found = jax.vmap(lambda start: jaxgmm.fit(X - 100, start, max_steps=5))(stacked)
    assert found.status[1] == Status.NONFINITE and found.status[0] != Status.NONFINITE


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_errors_hide_no_component_of_few_rows(dtype):
    """Three distinct rows determine no covariance of three features, whatever is computed of them."""
    with jax.enable_x64(dtype == "float64"):
        for seed in range(20):
            x = np.random.default_rng(seed).normal(size=(9, 3)).astype(dtype)
            x[3] = x[2]
            labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
            few = "component 0.* 3 distinct rows for 3 features are too few"
            with pytest.raises(ValueError, match=few):
                jaxgmm.from_labels(x, labels)
            with pytest.raises(ValueError, match=few):
                jaxgmm.from_responsibilities(x, np.eye(2)[labels], weight=np.ones(9))
