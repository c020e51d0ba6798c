"""What holds for the members of every family, each law against dense linear algebra in NumPy.

One program for a family, a number of features and a dtype computes everything that the tests look
at, from random leaves.
"""

import functools
from typing import Any, NamedTuple

import every_family
import fourteen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from every_family import LOW_RANK, OWN, _own_family, dense_on_host, random_member  # noqa: F401
from jax.flatten_util import ravel_pytree

import jaxgmm
from jaxgmm import Mixture
from jaxgmm.families.registry import FOURTEEN, family_class

K = 3
MASS = np.array([30.0, 45.0, 25.0])
# Rounding errors of entries that are near 1, in units of the dtype's own.
ROUNDINGS = 300
# Every family once. All numbers of features and both dtypes occur in each kind of leaves.
CHOSEN = {
    ("EII", 1, "float32"), ("VII", 5, "float64"), ("EEI", 2, "float64"), ("VEI", 5, "float32"), ("EVI", 2, "float32"),
    ("VVI", 1, "float64"), ("EEE", 5, "float32"), ("VEE", 2, "float64"), ("EVE", 1, "float64"), ("VVE", 2, "float32"),
    ("EEV", 1, "float32"), ("VEV", 2, "float64"), ("EVV", 2, "float32"), ("VVV", 5, "float64"), ("factors-1", 5, "float32"),
    ("factors-2", 5, "float64"), ("ppca-1", 2, "float64"), ("ppca-2", 5, "float32"), ("tied-factors-1", 2, "float32"),
    ("tied-factors-2", 5, "float32"), ("tied-ppca-1", 5, "float64"), ("tied-ppca-2", 5, "float64"), (OWN, 2, "float64"),
}  # fmt: skip
# There, K numbers in the leaves change nothing: ρ of a single feature, and one of the four numbers
# that describe the three of a covariance of two features (Ledermann's bound).
REDUNDANT = {(OWN, 1), ("factors-1", 2)}


@pytest.fixture(params=every_family.cases(CHOSEN, every_family.DTYPES), scope="module")
def case(request):
    """All tests of a case run one after another, and then it is forgotten."""
    with every_family.precision(request.param[2]):
        yield Case(*request.param, facts(*request.param))
    jax.clear_caches()  # too many programs exhaust the process's memory maps


class Case(NamedTuple):
    """A family by its name, a number of features, a dtype, and what its program says."""

    name: str
    d: int
    dtype: str
    found: dict[str, Any]

    def close(self, found, expected, roundings=ROUNDINGS):
        """Equal up to that many roundings of the largest entry, or of 1."""
        scale = max(np.abs(expected).max(initial=0), 1)
        atol = roundings * np.finfo(self.dtype).eps * scale
        np.testing.assert_allclose(found, np.broadcast_to(expected, np.shape(found)), 0, atol)


@functools.cache
def rows(d):
    """Rows (k, n, d) of components of which none is of a special form, and their scatter."""
    rng = np.random.default_rng(d)
    x = rng.normal(size=(K, 8 * d, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(K, d, d)))
    scatter = np.stack(
        [n * np.cov(r.T, bias=True).reshape(d, d) for n, r in zip(MASS, x, strict=True)]
    )
    return x, scatter


def program(name, d):
    """What a family says of a member, of moves from it, and of its M-step."""

    @jax.jit
    def compute(member, other, offsets, scatter, mass, x, logits, means):
        frame, (flat, unravel) = member.frame(d), ravel_pytree(member)
        dense_of = lambda one: jnp.broadcast_to(one.frame(d).dense, (K, d, d))
        vectors = jnp.broadcast_to(jnp.eye(d, dtype=flat.dtype)[:, None], (d, K, d))
        columns = lambda function: jnp.moveaxis(jax.vmap(function)(vectors), 0, -1)
        _, at = ravel_pytree(member.coordinates(member.zero_local()))
        first, second = (member.local_at(at(row)) for row in offsets)
        near = member.moved(first)
        moments, count = frame.pool(frame.whiten_stack(scatter)), frame.pool(mass)
        local, gain = member.maximize(moments, count, d)
        mixture = Mixture(logits, means, member)
        found = dict(
            dense=dense_of(member), precision=frame.dense_precision, whitening=columns(frame.whiten),
            inverse=columns(frame.unwhiten), transposed=columns(frame.unwhiten_transposed),
            log_determinant=frame.log_determinant,
            slopes=jax.jacfwd(lambda leaves: dense_of(unravel(leaves)))(flat),
            still=dense_of(member.moved(member.zero_local())),
            between=dense_of(member.moved(member.between(other))), other=dense_of(other),
            combined=dense_of(member.moved(member.combine(first, second))),
            in_turn=dense_of(near.moved(second)),
            coordinates=ravel_pytree(member.coordinates(first))[0],
            near=columns(near.frame(d).whiten),
            **(dict(rescaled=dense_of(member.rescale(-3))) if name != OWN else {}),
            gain=jnp.sum(count * gain) / 2, best=dense_of(member.moved(local)),
            gradient=jax.value_and_grad(jaxgmm.log_likelihood)(mixture, x),
        )  # fmt: skip
        if changes(name):
            found |= dict(change=member.change(first, d))
        if name not in LOW_RANK:
            found |= dict(likeliest=member.moved(member.likeliest(moments, count, d)))
        return found

    return compute


def changes(name):
    """Whether the M-step's gain is that of a change of factors. The others have closed forms."""
    return name not in LOW_RANK and name not in ("EII", "VII", "EEI", "VVI", "EEE", "VVV")


def facts(name, d, dtype):
    """What the program says at a random member, and what its M-step gains at the likeliest one."""
    rng, (x, scatter) = np.random.default_rng(7), rows(d)
    member, other = (random_member(name, K, d, dtype, seed) for seed in (1, 2))
    zero = jax.eval_shape(lambda: member.coordinates(member.zero_local()))
    size = sum(leaf.size for leaf in jax.tree.leaves(zero))
    offsets = 0.2 * rng.normal(size=(2, size))
    logits, means = rng.normal(size=K), rng.normal(size=(K, d))
    given = offsets, scatter, MASS, x.reshape(-1, d), logits, means
    given = [jnp.asarray(values) for values in given]
    compute = program(name, d)
    found = compute(member, other, *given)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(dtype)}
    likeliest = found.pop("likeliest", None)
    if likeliest is not None:
        found["gain_there"] = compute(likeliest, other, *given)["gain"]
    found = jax.tree.map(lambda values: np.asarray(values, float), found)
    return found | dict(
        member=member, likeliest=likeliest, offsets=offsets, logits=logits, means=means
    )


def test_frames_whiten(case):
    """WᵀW = Σ⁻¹, L W = I and log |W|, at leaves of any value."""
    found, unit = case.found, np.broadcast_to(np.eye(case.d), (K, case.d, case.d))
    dense, whitening, inverse = found["dense"], found["whitening"], found["inverse"]
    assert (np.linalg.eigvalsh(dense) > 0).all()
    case.close(np.swapaxes(whitening, 1, 2) @ whitening @ dense, unit)
    case.close(inverse @ whitening, unit)
    case.close(found["transposed"], np.swapaxes(inverse, 1, 2))
    case.close(np.broadcast_to(found["precision"], unit.shape) @ dense, unit)
    log_determinant = np.broadcast_to(found["log_determinant"], K)
    case.close(log_determinant, -np.linalg.slogdet(dense)[1] / 2)


def test_parameters_are_free_directions(case):
    """The covariances can move in as many directions as there are parameters."""
    slopes = case.found["slopes"].reshape(K * case.d**2, -1)
    sizes = np.linalg.svd(slopes, compute_uv=False)
    rank = np.sum(sizes > 0.1 * np.finfo(case.dtype).eps ** 0.5 * sizes.max())
    redundant = K if (case.name, case.d) in REDUNDANT else 0
    assert family_class(case.name).n_parameters(K, case.d) == rank + redundant


def test_locals_describe_members(case):
    """Zero is the member itself, `between` undoes `moved`, and `combine` is one move after another."""
    found = case.found
    case.close(found["still"], found["dense"])
    case.close(found["between"], found["other"])
    case.close(found["combined"], found["in_turn"])
    case.close(found["coordinates"], found["offsets"][0])
    if "rescaled" in found:  # the unit of the features is eight times as large
        case.close(64 * found["rescaled"], found["dense"])


def test_the_change_of_factors(case):
    """T − I, and log|T| less its trace."""
    if "change" not in case.found:
        return
    (change, bend), unit = case.found["change"], np.eye(case.d)
    change = change[:, :, None] * unit if change.ndim == 2 else change
    factor = case.found["near"] @ np.linalg.inv(case.found["whitening"])
    case.close(change, factor - unit)
    case.close(bend, np.linalg.slogdet(factor)[1] - np.trace(change, axis1=1, axis2=2))


def q_of(dense, scatter):
    """N log|W| − ½ tr Σ⁻¹M, for all components together."""
    inside = np.trace(np.linalg.solve(dense, scatter), axis1=-2, axis2=-1)
    return -np.sum(MASS * np.linalg.slogdet(dense)[1] + inside, axis=-1) / 2


def test_the_m_step_gains_what_it_says(case):
    """Or more, where it counts factors as missing."""
    found, (_, scatter) = case.found, rows(case.d)
    before, after = (q_of(found[at], scatter) for at in ("dense", "best"))
    rounding = ROUNDINGS * np.finfo(case.dtype).eps * (MASS.sum() + abs(before))
    assert found["gain"] > 0.1
    assert found["gain"] < after - before + rounding
    if case.name not in LOW_RANK:
        assert found["gain"] > after - before - rounding


def test_no_member_is_likelier(case):
    """Neither a random one, near or far, nor the one that is known; and the M-step stays there."""
    name, d, dtype, found = case
    if name in LOW_RANK:  # there it is a step of EM
        return
    (_, scatter), eps, rng = rows(d), np.finfo(dtype).eps, np.random.default_rng(0)
    value_of = lambda member: q_of(dense_on_host(member, K, d), scatter)
    best = value_of(found["likeliest"])
    rounding = ROUNDINGS * eps * abs(best)
    for size in np.repeat([1e-3, 1e-2, 0.1, 0.5], 25):
        near = jax.tree.map(
            lambda leaf, size=size: np.asarray(leaf + size * rng.normal(size=leaf.shape), dtype),
            found["likeliest"],
        )
        assert value_of(near) < best + rounding
    # The gain of a family without a formula for its change has the rounding error of a difference.
    assert found["gain_there"] / MASS.sum() < (ROUNDINGS * eps) ** (1 if name == OWN else 2)
    if name in FOURTEEN:
        common = name in ("EII", "EEI", "EEE")
        sums = (scatter.sum(axis=0)[None], MASS.sum(keepdims=True)) if common else (scatter, MASS)
        known = np.broadcast_to(fourteen.covariances_of(*sums, name)[0], (K, d, d))
        assert abs(best - q_of(known, scatter)) < max(rounding, 1e-9)


def test_members_come_back(case):
    """From their dense covariances. Where a member is searched for, it comes near."""
    dense = (case.found["dense"] + np.swapaxes(case.found["dense"], 1, 2)) / 2
    weights, means = np.array([0.2, 0.3, 0.5], case.dtype), np.zeros((K, case.d), case.dtype)
    mixture = Mixture.from_parameters(weights, means, dense.astype(case.dtype), family=case.name)
    searched = case.name not in FOURTEEN
    # A search by values of a function finds half of the digits of its maximum, but for one or so.
    roundings = 10 * np.finfo(case.dtype).eps ** -0.5 if searched else ROUNDINGS
    case.close(mixture.covariances, dense, roundings)
    assert mixture.dtype == case.dtype
    shapes = [leaf.shape for leaf in jax.tree.leaves(mixture.covariance)]
    assert shapes == [leaf.shape for leaf in jax.tree.leaves(case.found["member"])]


def test_gradients_are_those_of_a_plain_likelihood(case):
    """By all parameters, by the chain rule through dense covariances."""
    found, x = case.found, rows(case.d)[0].reshape(-1, case.d)
    dense, means = found["dense"], found["means"]
    weights = np.exp(found["logits"]) / np.exp(found["logits"]).sum()
    joint = reference.log_joint(weights, means, dense, x)
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    pulled = np.einsum("kij,nkj->nki", np.linalg.inv(dense), x[:, None] - means)
    by_dense = np.einsum("nk,nki,nkj->kij", shares, pulled, pulled)
    by_dense -= shares.sum(axis=0)[:, None, None] * np.linalg.inv(dense)
    value, gradient = found["gradient"]
    case.close(value, np.logaddexp.reduce(joint, axis=1).sum())
    mass = shares.sum(axis=0)
    case.close(gradient.logits, mass - len(x) * weights, ROUNDINGS * len(x) / mass.max())
    case.close(gradient.means, np.einsum("nk,nki->ki", shares, pulled))
    expected = np.einsum("kij,kijp->p", by_dense / 2, found["slopes"])
    case.close(ravel_pytree(gradient.covariance)[0], expected)
