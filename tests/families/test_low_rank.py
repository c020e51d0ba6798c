"""The laws of low-rank families, each against dense linear algebra in NumPy.

One program for each family computes everything that the tests look at.
"""

import copy
import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxgmm
from jaxgmm.families.registry import family_class, family_name

K, D = 3, 5
STEMS = ("factors", "ppca", "tied-factors", "tied-ppca")
NAMES = [f"{stem}-{q}" for stem in STEMS for q in (1, 2)]
QUICK = ("factors-2",)
MASS = np.array([30.0, 45.0, 25.0])
RNG = np.random.default_rng(4)
ROWS = RNG.normal(size=(K, 40, D)) @ (RNG.normal(size=(K, D, D)) + np.eye(D))
SCATTER = np.swapaxes(ROWS, 1, 2) @ ROWS


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if name in QUICK else pytest.mark.thorough) for name in NAMES
    ]
)
def kind(request, x64):
    return family_class(request.param)


def random_member(kind, seed):
    """A member with random leaves, any of which are valid."""
    flat, unravel = ravel_pytree(kind.identity(K, D, float))
    return unravel(flat + 0.6 * np.random.default_rng(seed).normal(size=flat.shape))


@functools.cache
def facts(kind):
    """What a family says of random members, of moves between them and of its M-step."""

    @jax.jit
    def compute(member, other):
        frame, flat, unravel = member.frame(D), *ravel_pytree(member)
        dense_of = lambda leaves: unravel(leaves).frame(D).dense
        vectors = jnp.broadcast_to(jnp.eye(D)[:, None], (D, K, D))
        whitened = jax.vmap(frame.whiten)(jnp.moveaxis(jnp.asarray(ROWS), 1, 0))
        moments = jnp.sum(jax.vmap(frame.outer)(whitened, whitened), axis=0)
        density = lambda leaves: jnp.sum(frame.expected(unravel(leaves).frame(D), moments, MASS))
        distance = lambda leaves: jnp.sum(MASS * (
            jnp.linalg.slogdet(dense_of(leaves))[1]
            + jnp.trace(jnp.linalg.inv(dense_of(leaves)) @ frame.dense, axis1=1, axis2=2)
        )) / 2  # fmt: skip
        near = jax.tree.map(lambda leaf: 0.1 * leaf, other)
        return dict(
            whitening=jax.vmap(frame.whiten)(vectors), dense=frame.dense, moments=moments,
            mixed=frame.outer(whitened[0], whitened[1]), whitened=whitened[:2],
            stack=frame.whiten_stack(SCATTER), trace=frame.trace(moments),
            quadratic=frame.quadratic(SCATTER[0]), largest=frame.largest(SCATTER[0]),
            other=other.frame(D).dense,
            expected=frame.expected(frame, moments, MASS),
            bound=frame.expected(other.frame(D), moments, MASS),
            slope=jax.grad(density)(flat),
            rank=jax.jacfwd(lambda leaves: dense_of(leaves).ravel())(flat),
            gauge=jax.vmap(lambda tree: ravel_pytree(tree)[0])(member.gauge()),
            hessian=jnp.diagonal(jax.hessian(distance)(flat)),
            metric=ravel_pytree(member.metric(MASS, D))[0],
            near_gain=jnp.sum(MASS * member.gain(near, moments, MASS, D)) / 2,
            near_rise=density(ravel_pytree(member.moved(near))[0]) - density(flat),
        )  # fmt: skip

    member, other = random_member(kind, 0), random_member(kind, 1)
    return member, jax.tree.map(np.asarray, compute(member, other))


def q_of(covariances):
    """N log|W| − ½ tr Σ⁻¹ M of dense covariances, for each component."""
    inside = np.trace(np.linalg.solve(covariances, SCATTER), axis1=1, axis2=2)
    return -(MASS * np.linalg.slogdet(covariances)[1] + inside) / 2


def test_second_moments(kind):
    """Sums of e zᵀ and e² over rows, of two vectors, and of a dense matrix."""
    _, found = facts(kind)
    w = np.moveaxis(found["whitening"], 0, -1)
    dense = w @ SCATTER @ np.swapaxes(w, 1, 2)
    np.testing.assert_allclose(found["stack"], found["moments"], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found["trace"], np.trace(dense, axis1=1, axis2=2), rtol=1e-12)
    first = w @ SCATTER[0] @ np.swapaxes(w, 1, 2)
    np.testing.assert_allclose(found["quadratic"], np.trace(first, axis1=1, axis2=2), rtol=1e-12)
    np.testing.assert_allclose(found["largest"], np.linalg.eigvalsh(first)[:, -1], rtol=0.05)
    member, _ = facts(kind)
    a, b = found["whitened"]
    outer = member.frame(D).outer
    both = (outer(a + b, a + b) - outer(a, a) - outer(b, b)) / 2
    np.testing.assert_allclose(found["mixed"], both, atol=1e-10)


def test_the_gauge_changes_nothing(kind):
    """The gauge's directions change nothing, and are all that do."""
    _, found = facts(kind)
    assert len(found["gauge"]) == found["rank"].shape[1] - kind.n_parameters(K, D)
    assert np.linalg.matrix_rank(found["gauge"]) == len(found["gauge"])
    np.testing.assert_allclose(found["gauge"] @ found["rank"].T, 0, atol=1e-12)


def test_the_metric_is_the_fisher_information(kind):
    """But for the floor of loadings, of at most a hundredth of a row's information."""
    _, found = facts(kind)
    excess = found["metric"] ** 2 - found["hessian"]
    floor = ravel_pytree(kind.identity(K, D, float))[0] + 0.01 * MASS.max()
    assert (excess > -1e-9).all() and (excess <= floor + 1e-9).all()


def test_the_expected_density_is_a_lower_bound(kind):
    """It touches at the member itself, where its gradient is that of the bounded value."""
    member, found = facts(kind)
    np.testing.assert_allclose(found["expected"], q_of(found["dense"]), rtol=1e-12)
    assert (found["bound"] < q_of(found["other"])).all()
    slope = found["rank"].reshape(K, D, D, -1)
    precision = np.linalg.inv(found["dense"])
    by_dense = (precision @ SCATTER @ precision - MASS[:, None, None] * precision) / 2
    expected = np.einsum("kij,kijp->p", by_dense, slope)
    np.testing.assert_allclose(found["slope"], expected, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(found["near_gain"], found["near_rise"], rtol=1e-11)


def test_members_come_back(kind):
    """From pickles and copies, and by their names."""
    member, found = facts(kind)
    factor = member.factor_on_host(D)
    assert not np.triu(factor, 1).any()
    np.testing.assert_allclose(
        np.swapaxes(factor, 1, 2) @ factor, np.linalg.inv(found["dense"]), atol=1e-12
    )
    again = pickle.loads(pickle.dumps(member))
    assert type(again) is kind and copy.deepcopy(kind) is kind
    np.testing.assert_array_equal(again.loadings, member.loadings)
    assert family_class(family_name(kind)) is kind is family_class(kind)


def test_names():
    assert family_class("factors-2") is jaxgmm.factors(2) is jaxgmm.factors(np.int64(2))
    assert family_class("UCU-3", d=4) is jaxgmm.factors(3, tied_noise=True)
    assert family_name(jaxgmm.ppca(1, tied_noise=True)) == "tied-ppca-1"
    assert jaxgmm.factors(1).depends_on_units() is False and jaxgmm.ppca(1).depends_on_units()
    for name, said in (
        ("factors", "family 'factors' needs its number of factors: write e.g. 'factors-2'"),
        ("UUC", "family 'UUC' needs its number of factors: write e.g. 'UUC-2'"),
        ("factors-0", "family 'factors-0' needs a whole number of factors, 1 or more"),
        ("ppca-1.5", "family 'ppca-1.5' needs a whole number of factors, 1 or more"),
        ("ppca-", "needs a whole number of factors"),
        ("ppca-4", "family 'ppca-4' has 4 factors for 4 features: use fewer factors than features"),
        (jaxgmm.factors(6), "family 'factors-6' has 6 factors for 4 features"),
        ("factor-2", "unknown family 'factor-2'.* or a number of factors such as 'factors-2'"),
    ):
        with pytest.raises(ValueError, match=said):
            family_class(name, 2, 4)
    for q in (0, 1.5, "2", True, None):
        with pytest.raises(ValueError, match=r"q is .* must be a whole number, 1 or more"):
            jaxgmm.factors(q)
    with pytest.raises(ValueError, match="there is a family 'factors-2' already"):
        jaxgmm.family("factors-2")(type("Mine", (jaxgmm.Family,), {}))


def test_more_factors_than_can_be_told_apart_are_allowed():
    """Ledermann's bound for four features is one factor."""
    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    mixture = jaxgmm.initialize(jax.random.key(0), rows, 1, family="factors-3")
    assert np.isfinite(mixture.covariances).all()
    assert jaxgmm.n_parameters(mixture) == 4 + 4 + 4 * 3 - 3


def test_covariances_that_are_not_of_the_family():
    with pytest.raises(
        ValueError, match=r"are not of family 'factors-1': one is 0\.\d+ from the near"
    ):
        jaxgmm.Mixture.from_parameters(
            [1.0], np.zeros((1, D)), np.eye(D)[None] + SCATTER[:1] / 40, family=jaxgmm.factors(1)
        )
    with pytest.raises(ValueError, match="family 'full' has no factors: use a mixture of a low-ra"):
        jaxgmm.loadings(jaxgmm.Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]]))
