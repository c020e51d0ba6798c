"""The laws of the ten families with constraints, each against dense linear algebra in NumPy.

One program for each family computes everything that the tests look at.
"""

import functools

import fourteen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxgmm import FAMILIES
from jaxgmm.families.registry import ALIASES, FOURTEEN, family_class
from jaxgmm.families.rotated import LEAST_INFORMATION, Rotated

K, D = 3, 3
NEW = [name for name in FOURTEEN if name in FAMILIES]
MASS = np.array([30.0, 45.0, 25.0])
RNG = np.random.default_rng(4)
SCATTER = np.stack([
    (lambda rows: n * np.cov(rows.T, bias=True))(RNG.normal(size=(20, D)) @ (np.diag([1.0, 2.0, 4.0]) + 0.3 * RNG.normal(size=(D, D))))
    for n in MASS
])  # fmt: skip


@pytest.fixture(params=fourteen.each(NEW))
def kind(request, x64):
    return FAMILIES[request.param]


def random_member(kind, seed, size=0.4, d=D):
    """A member with random leaves, any of which are valid."""
    flat, unravel = ravel_pytree(kind.identity(K, d, float))
    return unravel(flat + size * np.random.default_rng(seed).normal(size=flat.shape))


def dense_of(member, d=D):
    return jnp.broadcast_to(member.frame(d).dense, (K, d, d)).ravel()


@functools.cache
def facts(kind):
    """The covariances of a random member, and its metric beside the information."""

    @jax.jit
    def compute(member, mass):
        frame, count = member.frame(D), member.frame(D).pool(mass)
        flat, unravel = ravel_pytree(member.coordinates(member.zero_local()))
        own = jnp.broadcast_to(frame.dense, (K, D, D)) * mass[:, None, None]
        moments = frame.pool(frame.whiten_stack(own))

        def loss(offsets):
            moved = member.moved(member.local_at(unravel(offsets))).frame(D)
            return -jnp.sum(frame.expected(moved, moments, count))

        metric = ravel_pytree(member.metric(count, D))[0]
        return dict(dense=dense_of(member), metric=metric, hessian=jax.hessian(loss)(flat))

    return jax.tree.map(np.asarray, compute(random_member(kind, 0), MASS))


def stack(values):
    return np.asarray(values).reshape(K, D, D)


def test_covariances_are_of_the_family(kind):
    """What the letters say of volumes, shapes and orientations, and nothing more."""
    found = facts(kind)
    dense, (volume, shape, orientation) = stack(found["dense"]), kind.letters
    size = np.linalg.slogdet(dense)[1] / D
    assert (np.ptp(size) < 1e-12) == (volume == "E")
    normed = dense / np.exp(size)[:, None, None]
    values = np.linalg.eigvalsh(normed)
    if orientation == "I":
        np.testing.assert_allclose(dense * (1 - np.eye(D)), 0, atol=1e-15)
    else:
        commute = normed[0] @ normed[1] - normed[1] @ normed[0]
        assert (np.abs(commute).max() < 1e-12) == (orientation == "E")
    assert (np.abs(values[0] - values[1]).max() < 1e-12) == (shape != "V")
    assert (np.ptp(values) < 1e-12) == (shape == "I")


def test_the_metric_is_the_fisher_information(kind):
    found = facts(kind)
    expected, hessian = found["metric"] ** 2, found["hessian"]
    if issubclass(kind, Rotated):  # flat where two scales are equal, but for a floor
        turns = (K if kind.own_orientation else 1) * D * (D - 1) // 2
        mass = MASS.repeat(D * (D - 1) // 2) if kind.own_orientation else MASS.sum()
        expected[-turns:] -= LEAST_INFORMATION * mass
    np.testing.assert_allclose(hessian, np.diag(expected), atol=1e-9)


def test_an_absent_component_changes_nothing(kind, x64):
    """Neither moments of a component of mass 0 nor their absence: common leaves ignore them."""
    member = random_member(kind, 3)
    frame = member.frame(D)

    @jax.jit
    def step(moments, mass):
        local, gain = member.maximize(moments, mass, D)
        return dense_of(member.moved(local)), gain

    if kind.shared:
        return
    moments = frame.whiten_stack(jnp.asarray(SCATTER))
    mass = jnp.asarray(MASS).at[1].set(0)
    dense, gain = step(moments, mass)
    other, again = step(moments.at[1].set(0), mass)
    for found, expected in ((stack(other), stack(dense)), (again, gain)):
        np.testing.assert_allclose(
            np.asarray(found)[[0, 2]], np.asarray(expected)[[0, 2]], rtol=1e-12
        )
    expected = fourteen.covariances_of(SCATTER[[0, 2]], MASS[[0, 2]], kind.letters)[0]
    if not issubclass(kind, Rotated):
        np.testing.assert_allclose(stack(dense)[[0, 2]], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_counts_of_parameters(d):
    """Those of the page, for one K and for several; and the shape in which users pass covariances."""
    r = d * (d - 1) // 2
    counts = dict(
        EII=1, VII=K, EEI=d, VEI=K + d - 1, EVI=1 + K * (d - 1), VVI=K * d, EEE=d + r,
        VEE=K + d - 1 + r, EVE=1 + K * (d - 1) + r, VVE=K * d + r, EEV=d + K * r,
        VEV=K + d - 1 + K * r, EVV=1 + K * (d - 1) + K * r, VVV=K * d + K * r,
    )  # fmt: skip
    for name, count in counts.items():
        kind = family_class(name)
        several = kind.n_parameters(np.array([1, K]), d)
        np.testing.assert_array_equal(several, [kind.n_parameters(1, d), count])
        assert kind.own(np.ones((K, d, d))).shape == kind.array_shape(K, d)


def test_names():
    assert [family_class(name).letters for name in FOURTEEN] == list(FOURTEEN)
    for alias, name in ALIASES.items():
        assert family_class(alias) is FAMILIES[name]
    assert family_class("E", d=1) is FAMILIES["tied"] and family_class("V", d=1) is FAMILIES["full"]
    assert family_class("XXI", k=1).letters == "VVI" and family_class("X", 1, 1).letters == "VVV"
    for name, k, d, said in (
        ("V", 2, 4, "family 'V' is mclust's for one feature, and there are 4"),
        (
            "XII",
            3,
            2,
            "family 'XII' is mclust's for one component, and there are 3: use e.g. 'spher",
        ),
        ("X", 2, 1, "family 'X' is mclust's for one component"),
        ("vev", 2, 2, r"did you mean 'VEV'\? Or choose one of 'full', 'tied'"),
        ("vvi", 2, 2, r"did you mean 'VVI' \(which is 'diagonal'\)"),
        (3, 2, 2, "unknown family 3: choose one of"),
    ):
        with pytest.raises(ValueError, match=said):
            family_class(name, k, d)
