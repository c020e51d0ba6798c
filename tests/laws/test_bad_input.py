"""The front door: what it refuses, in which words; and what it lets in."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm import EM, Mixture

X = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
MIXTURE = Mixture.from_parameters(
    np.full(2, 0.5, np.float32), X[:2], np.stack([np.eye(2, dtype=np.float32)] * 2)
)


def spoiled(row, value):
    x = X.copy()
    x[row, 1] = value
    return x


def spoiled_object(row, value):
    x = X.astype(object)
    x[row, 1] = value
    return x


BAD_X = [
    (spoiled(7, np.nan), "row 7 of x contains NaN in column 1"),
    (spoiled(3, np.inf), "row 3 of x contains infinity in column 1"),
    (jnp.asarray(spoiled(5, np.nan)), "row 5 of x"),
    (X[:, 0], r"x\[:, None\]"),
    (X[None], r"shape \(1, 30, 2\)"),
    (np.zeros((20, 30, 3)), r"shape \(20, 30, 3\): .* x\.reshape\(-1, 3\)"),
    (np.float32(3), r"shape \(\)"),
    (X[:0], "no rows"),
    (X[:, :0], "no columns"),
    (X.astype(complex), "complex"),
    (spoiled_object(4, "high"), "text .'high' in row 4, column 1., not numbers"),
    (spoiled_object(4, None), "row 4 of x contains NaN in column 1"),
    (X.astype(str), "not numbers"),
    ([[1.0, 2.0], [3.0]], "rectangular"),
    (np.ma.masked_array(X, X > 1), "masked"),
    (np.full((5, 2), 1e300), "too large for float32"),
]


@pytest.mark.parametrize(("x", "words"), BAD_X, ids=[words for _, words in BAD_X])
def test_bad_data(x, words):
    for call in (
        lambda: jaxgmm.fit(x, MIXTURE),
        lambda: jaxgmm.initialize(jax.random.key(0), x, 2),
        lambda: jaxgmm.log_prob(MIXTURE, x),
        lambda: jaxgmm.log_likelihood(MIXTURE, x),
        lambda: jaxgmm.e_step(MIXTURE, x),
        lambda: jaxgmm.bic(MIXTURE, x),
        lambda: jaxgmm.Prior.from_data(x),
        lambda: jaxgmm.from_labels(x, np.zeros(30, int)),
        lambda: jaxgmm.textbook_em(x, MIXTURE),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (np.ones(29), "weight has shape"),
        (np.ones((30, 1)), "weight has shape"),
        (np.r_[np.ones(29), -1], r"weight\[29\] is -1"),
        (np.r_[np.nan, np.ones(29)], r"weight\[0\] is nan"),
        (np.zeros(30), "all row weights are zero"),
        (["heavy"] * 30, "not numbers"),
    ],
)
def test_bad_weights(weight, words):
    for call in (
        lambda: jaxgmm.fit(X, MIXTURE, weight=weight),
        lambda: jaxgmm.initialize(jax.random.key(0), X, 2, weight=weight),
        lambda: jaxgmm.log_likelihood(MIXTURE, X, weight=weight),
        lambda: jaxgmm.e_step(MIXTURE, X, weight=weight),
    ):
        with pytest.raises(ValueError, match=words):
            call()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(tolerance=-1e-9), "tolerance is -1e-09"),
        (dict(tolerance=np.nan), "tolerance is nan"),
        (dict(tolerance="tight"), "tolerance is 'tight'"),
        (dict(max_steps=-1), "max_steps is -1"),
        (dict(max_steps=2.5), "max_steps is 2.5"),
        (dict(max_steps=None), "max_steps is None"),
        (dict(max_steps=2**40), "0 to 10000000"),
        (dict(callback=1), "callback is 1"),
        (dict(x=X * np.float32(1e18)), "column 0 of x runs from"),
        (dict(x=X * np.float32(1e-20)), "Rescale"),
        (dict(kernel="fast"), "unknown kernel 'fast'"),
        (dict(stopping="never"), "unknown stopping 'never'"),
        (dict(algorithm="newton-raphson"), "unknown algorithm 'newton-raphson'.*'squarem'"),
        (dict(algorithm=EM), "an instance with init and move"),
        (dict(mixture=None), "mixture is a NoneType: pass a Mixture"),
        (dict(mixture=types.SimpleNamespace(mixture=MIXTURE)), "in its attribute `mixture`"),
    ],
)
def test_bad_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        jaxgmm.fit(**(dict(x=X, mixture=MIXTURE) | arguments))


def test_features_must_match():
    wide = np.zeros((5, 3), np.float32)
    for function in (jaxgmm.log_prob, jaxgmm.e_step, jaxgmm.log_likelihood, jaxgmm.aic):
        with pytest.raises(ValueError, match="3 columns and the mixture 2 features"):
            function(MIXTURE, wide)
    with pytest.raises(ValueError, match="3 columns"):
        jaxgmm.fit(wide, MIXTURE)
    with pytest.raises(ValueError, match="3 columns, and the mixture has 2 components"):
        jaxgmm.complete_log_likelihood(MIXTURE, X, np.ones((30, 3)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(n_components=0), "n_components is 0"),
        (dict(n_components=2.5), "n_components is 2.5"),
        (dict(n_components=True), "n_components is True"),
        (dict(n_components="two"), "n_components is 'two'"),
        (dict(n_components=31), "31 components need 31 distinct rows, and x has 30"),
        (dict(family="oval"), "unknown family 'oval'"),
        (dict(key=0), "not one JAX random key"),
        (dict(key=jax.random.split(jax.random.key(0))), "not one JAX random key"),
        (dict(method="guess"), "unknown method 'guess'"),
    ],
)
def test_bad_starts(arguments, words):
    with pytest.raises(ValueError, match=words):
        jaxgmm.initialize(x=X, **(dict(key=jax.random.key(0), n_components=2) | arguments))


def test_old_keys_will_do():
    jaxgmm.initialize(jax.random.PRNGKey(0), X, 2)


def test_m_step_needs_statistics():
    with pytest.raises(ValueError, match="pass those of e_step"):
        jaxgmm.m_step(MIXTURE, X)
    with pytest.raises(ValueError, match="pass a Mixture"):
        jaxgmm.m_step(X, MIXTURE)


def test_more_components_than_distinct_rows():
    x = np.repeat(X[:3], 40_000, axis=0)
    with pytest.raises(ValueError, match="x has 3"):
        jaxgmm.initialize(jax.random.key(0), x, 4)
    weight = np.arange(len(x)) < 40_000
    with pytest.raises(ValueError, match="x has 1"):
        jaxgmm.fit(x, MIXTURE, weight=weight)


def as_pandas(x):
    return pytest.importorskip("pandas").DataFrame(x, columns=["a", "b"])


def as_polars(x):
    return pytest.importorskip("polars").DataFrame({"a": x[:, 0], "b": x[:, 1]})


@pytest.mark.parametrize(
    "form",
    [
        np.ndarray.tolist, np.asfortranarray, lambda x: np.repeat(x, 2, axis=0)[::2], jnp.asarray,
        as_pandas, as_polars, lambda x: x[::-1][::-1], lambda x: x.astype(">f4"),
        lambda x: x.astype(object),
    ],
    ids=["list", "fortran", "strided", "jax", "pandas", "polars", "negative-stride", "big-endian",
        "objects"],
)  # fmt: skip
def test_forms_of_the_same_data(form):
    expected = jaxgmm.log_prob(MIXTURE, X)
    np.testing.assert_allclose(jaxgmm.log_prob(MIXTURE, form(X)), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8, bool, np.float16])
def test_other_dtypes_are_computed_in_float32(dtype):
    x = np.floor(np.abs(X) * 2).astype(dtype)
    found = jaxgmm.log_prob(MIXTURE, x)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, jaxgmm.log_prob(MIXTURE, x.astype(np.float32)), rtol=1e-6)
    fit = jaxgmm.fit(x, MIXTURE, max_steps=2)
    assert fit.mixture.dtype == np.float32


def test_whole_numbers_follow_the_64_bit_mode(x64):
    start = jaxgmm.initialize(jax.random.key(0), np.arange(20).reshape(10, 2), 2)
    assert start.dtype == np.float64


def test_float64_that_loses_accuracy_is_announced():
    """Once, in one sentence; and only where the rounding matters."""
    x = np.random.default_rng(1).normal(size=(100, 2))
    jaxgmm.log_prob(MIXTURE, x)  # no warning: warnings are errors here
    jaxgmm.log_prob(MIXTURE, x + 1e3)
    jaxgmm.log_prob(MIXTURE, np.round(x) + 2.0**20)  # exact in float32
    with pytest.warns(UserWarning, match="column 1") as caught:
        jaxgmm.fit(x + np.array([0, 1e6]), MIXTURE, max_steps=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="column 0 lies so far from zero"):
        jaxgmm.log_prob(MIXTURE, (100 * x).astype(np.int32) + 10**9)


def test_float64_is_kept_in_64_bit_mode(x64):
    x = np.random.default_rng(1).normal(size=(100, 2)) + 1e6
    assert jaxgmm.fit(x, jaxgmm.initialize(jax.random.key(0), x, 2)).mixture.dtype == np.float64
