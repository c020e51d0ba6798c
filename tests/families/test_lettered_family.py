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
    """What a family says of random members, of moves between them and of its M-step."""

    @jax.jit
    def compute(member, other, step, scatter, mass):
        frame = member.frame(D)
        vectors = jnp.broadcast_to(jnp.eye(D)[:, None], (D, K, D))
        columns = jax.vmap(frame.whiten)(vectors)
        moments, count = frame.pool(frame.whiten_stack(scatter)), frame.pool(mass)
        flat, unravel = ravel_pytree(member.coordinates(member.zero_local()))
        moved_to = lambda offsets: member.moved(member.local_at(unravel(offsets)))
        density = lambda offsets: jnp.sum(
            frame.expected(moved_to(offsets).frame(D), moments, count)
        )
        local, gain = member.maximize(moments, count, D)
        best = ravel_pytree(member.coordinates(local))[0]
        near = member.local_at(unravel(0.05 * step))
        second = member.local_at(unravel(0.03 * step[::-1]))
        of_leaves, back = ravel_pytree(member)
        information = lambda offsets: -jnp.sum(
            frame.expected(moved_to(offsets).frame(D), frame.pool(frame.whiten_stack(
                jnp.broadcast_to(frame.dense, (K, D, D)) * mass[:, None, None])), count)
        )  # fmt: skip
        return dict(
            whitening=columns, unwhitened=jax.vmap(frame.unwhiten)(columns),
            transposed=jax.vmap(frame.unwhiten_transposed)(columns),
            log_determinant=jnp.broadcast_to(frame.log_determinant, (K,)), dense=dense_of(member),
            between=dense_of(member.moved(member.between(other))), other=dense_of(other),
            rescaled=dense_of(member.rescale(-3)),
            still=dense_of(member.moved(member.zero_local())),
            circle=ravel_pytree(member.coordinates(member.local_at(unravel(0.05 * step))))[0],
            combined=dense_of(member.moved(member.combine(near, second))),
            in_turn=dense_of(member.moved(near).moved(second)),
            near=jax.vmap(member.moved(near).frame(D).whiten)(vectors),
            **({} if kind.shared else dict(change=member.change(near, D))),
            rank=jax.jacfwd(lambda leaves: dense_of(back(leaves)))(of_leaves),
            gain=jnp.sum(count * gain) / 2, rise=density(best) - density(flat),
            slope=jax.grad(density)(best), best=dense_of(moved_to(best)),
            likeliest=dense_of(member.moved(member.likeliest(moments, count, D))),
            metric=ravel_pytree(member.metric(count, D))[0],
            hessian=jax.hessian(information)(flat),
        )  # fmt: skip

    member, other = random_member(kind, 0), random_member(kind, 1)
    zero = jax.eval_shape(lambda: member.coordinates(member.zero_local()))
    size = sum(leaf.size for leaf in jax.tree.leaves(zero))
    step = np.random.default_rng(2).normal(size=size)
    found = compute(member, other, step, SCATTER, MASS)
    return member, jax.tree.map(np.asarray, found) | dict(step=step)


def stack(values):
    return np.asarray(values).reshape(K, D, D)


def test_frames_whiten(kind):
    """L W = I, WᵀW = Σ⁻¹, log |W|, at leaves of any value."""
    _, found = facts(kind)
    whitening = np.moveaxis(found["whitening"], 0, -1)  # column by column
    dense, unit = stack(found["dense"]), np.broadcast_to(np.eye(D), (K, D, D))
    assert (np.linalg.eigvalsh(dense) > 0).all()
    np.testing.assert_allclose(np.swapaxes(whitening, 1, 2) @ whitening @ dense, unit, atol=1e-12)
    np.testing.assert_allclose(np.moveaxis(found["unwhitened"], 0, -1), unit, atol=1e-12)
    back = np.linalg.solve(np.swapaxes(whitening, 1, 2), whitening)
    np.testing.assert_allclose(np.moveaxis(found["transposed"], 0, -1), back, atol=1e-10)
    expected = np.linalg.slogdet(whitening)[1]
    np.testing.assert_allclose(found["log_determinant"], expected, atol=1e-12)


def test_covariances_are_of_the_family(kind):
    """What the letters say of volumes, shapes and orientations, and nothing more."""
    _, found = facts(kind)
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
    rank = np.linalg.matrix_rank(found["rank"], tol=1e-8)
    assert kind.n_parameters(K, D) == rank
    np.testing.assert_array_equal(
        kind.n_parameters(np.array([1, K]), D), [kind.n_parameters(1, D), rank]
    )


def test_locals_describe_members(kind):
    _, found = facts(kind)
    close = functools.partial(np.testing.assert_allclose, atol=1e-12, rtol=1e-11)
    close(found["still"], found["dense"])
    close(64 * found["rescaled"], found["dense"])
    close(found["between"], found["other"])
    close(found["combined"], found["in_turn"])
    close(found["circle"], 0.05 * found["step"])


def test_the_change_of_factors_is_accurate(kind):
    """T − I, and log|T| less its trace, from numbers near zero and not from two factors."""
    _, found = facts(kind)
    if "change" not in found:
        assert kind.shared  # those have a closed form for their gain
        return
    change, bend = found["change"]
    if change.ndim == 2:
        change = change[:, :, None] * np.eye(D)
    both = np.moveaxis(found["near"], 0, -1), np.moveaxis(found["whitening"], 0, -1)
    expected = both[0] @ np.linalg.inv(both[1]) - np.eye(D)
    np.testing.assert_allclose(change, expected, atol=1e-12)
    rest = np.linalg.slogdet(expected + np.eye(D))[1] - np.trace(expected, axis1=1, axis2=2)
    np.testing.assert_allclose(bend, rest, atol=1e-12)


def test_the_m_step_is_the_reference(kind):
    """The likeliest member of all, what it gains, and where the slope is zero."""
    _, found = facts(kind)
    scatter, mass = SCATTER, MASS
    if kind.shared:
        scatter, mass = SCATTER.sum(axis=0)[None], MASS.sum(keepdims=True)
    expected = np.broadcast_to(fourteen.covariances_of(scatter, mass, kind.letters)[0], (K, D, D))
    np.testing.assert_allclose(stack(found["likeliest"]), expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found["slope"], 0, atol=1e-7)
    np.testing.assert_allclose(found["gain"], found["rise"], rtol=1e-11)
    assert found["rise"] > 0
    if not issubclass(kind, Rotated):  # whose M-step starts at its own axes
        np.testing.assert_allclose(stack(found["best"]), expected, rtol=1e-9, atol=1e-10)


def test_the_metric_is_the_fisher_information(kind):
    _, found = facts(kind)
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
@pytest.mark.parametrize("name", FOURTEEN)
def test_members_come_back(name, d, x64):
    """`from_own` of a member is the member, in NumPy; leaves and parameters have the same number."""
    kind = family_class(name)
    flat, unravel = ravel_pytree(kind.identity(K, d, float))
    member = unravel(flat + 0.4 * np.random.default_rng(d).normal(size=flat.shape))
    factor = member.factor_on_host(d)
    root = np.linalg.inv(factor if factor.ndim == 3 else factor[:, :, None] * np.eye(d))
    dense = np.broadcast_to(root @ np.swapaxes(root, 1, 2), (K, d, d))
    back = kind.from_own(kind.own(dense), np)
    shapes = [leaf.shape for leaf in jax.tree.leaves(back)]
    assert shapes == [leaf.shape for leaf in jax.tree.leaves(member)]
    assert kind.own(dense).shape == kind.array_shape(K, d)
    factor = back.factor_on_host(d)
    root = np.linalg.inv(factor if factor.ndim == 3 else factor[:, :, None] * np.eye(d))
    np.testing.assert_allclose(
        np.broadcast_to(root @ np.swapaxes(root, 1, 2), dense.shape), dense, rtol=1e-10, atol=1e-12
    )
    r = d * (d - 1) // 2
    counts = dict(
        EII=1, VII=K, EEI=d, VEI=K + d - 1, EVI=1 + K * (d - 1), VVI=K * d, EEE=d + r,
        VEE=K + d - 1 + r, EVE=1 + K * (d - 1) + r, VVE=K * d + r, EEV=d + K * r,
        VEV=K + d - 1 + K * r, EVV=1 + K * (d - 1) + K * r, VVV=K * d + K * r,
    )  # fmt: skip
    assert kind.n_parameters(K, d) == counts[name]


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
