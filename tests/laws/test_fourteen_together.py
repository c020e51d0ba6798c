"""Laws of mclust's fourteen families, which one program fits: their code is traced.

The program is EM to its end, of two clusters that overlap a little. That it fits a family as the
family's own EM does is tested in `tests/families/test_universal.py`.
"""

import dataclasses
import functools

import every_family
import fourteen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import ortho_group

from jaxgmm import EM, Mixture
from jaxgmm.data.rows import Rows
from jaxgmm.families.registry import FOURTEEN, family_class
from jaxgmm.families.universal import CodedFamily, Universal, code_of
from jaxgmm.fitting.status import RUNNING, Status
from jaxgmm.fitting.step import Problem

N, D, K = 120, 3, 2
RNG = np.random.default_rng(5)
LABELS = np.repeat([0, 1], [70, 50])
X = RNG.normal(size=(N, D)) @ np.array([[1.0, 0.6, 0.2], [0.0, 1.5, -0.4], [0.0, 0.0, 0.7]])
X[LABELS == 1] = X[LABELS == 1] @ np.diag([0.6, 1.2, 0.9])[[1, 0, 2]] + [3.0, -1.0, 2.5]
PAIRS = [pair for pair in every_family.PAIRS if set(pair) <= set(FOURTEEN)]
# How many fits the program makes at once.
LANES = 28
CODES = np.stack([code_of(letters) for letters in FOURTEEN]).astype(float)


@functools.cache
def program(batched=True):
    """EM without a prior, from a mixture to D < 1e-14 or to its 3000th step."""

    def climb(mixture, x, weight):
        zero = jnp.zeros(D)
        problem = Problem(
            Rows(x, weight, zero), None, zero, 1e-14, 3000, EM(), "em-gain", "whitened"
        )
        unfinished = lambda state: state.status == RUNNING
        first = problem.begin_in_loop(mixture)
        end = jax.lax.while_loop(unfinished, lambda state: problem.step(state)[0], first)
        return end.mixture, end.objective, end.status, end.mixture.frame.dense

    return jax.jit(jax.vmap(climb) if batched else climb)


@functools.cache
def start_program():
    """Uncorrelated components at the means of the labels."""

    @jax.jit
    @jax.vmap
    def start(code, x):
        shares = jax.nn.one_hot(LABELS, K, dtype=x.dtype)
        means = shares.T @ x / shares.sum(axis=0)[:, None]
        even = CodedFamily(code).of_scales(jnp.std(x, axis=0), K)
        return Mixture(jnp.log(shares.mean(axis=0)), means, even)

    return start


def starts(codes, x):
    return start_program()(jnp.asarray(codes), jnp.asarray(x))


def fit(mixture, x, weight=None):
    """Fits of up to LANES mixtures; the last one fills the others."""
    lanes = len(mixture.logits)
    fill = lambda leaf: jnp.concatenate([leaf, jnp.repeat(leaf[-1:], LANES - lanes, axis=0)])
    weight = np.ones((lanes, N)) if weight is None else weight
    found = program()(*jax.tree.map(fill, (mixture, jnp.asarray(x), jnp.asarray(weight))))
    return jax.tree.map(lambda leaf: np.asarray(leaf)[:lanes], found)


@functools.cache
def fits():
    """The fits of all families."""
    x = np.broadcast_to(X, (14, N, D))
    return fit(starts(CODES, x), x)


def test_fits_are_equivariant(x64):
    """Under the maps that keep a family: all of them, those of the axes, or those of angles."""
    general = RNG.normal(size=(D, D)) + 2 * np.eye(D)
    maps = dict.fromkeys(("EEE", "VEE", "EVV", "VVV"), general)
    maps |= dict.fromkeys(("EEI", "VEI", "EVI", "VVI"), np.diag([0.3, -2.0, 11.0]))
    similar = 1.7 * ortho_group.rvs(D, random_state=2)
    maps = [maps.get(letters, similar) for letters in FOURTEEN]
    shift = np.array([5.0, -3.0, 1.0])
    x = np.stack([X @ a.T + shift for a in maps])
    mixture, value, status, dense = fits()
    moved, other, moved_status, moved_dense = fit(starts(CODES, x), x)
    assert set(status) == set(moved_status) == {Status.CONVERGED}
    determinant = np.log(np.abs(np.linalg.det(maps)))
    np.testing.assert_allclose(other, value - N * determinant, atol=1e-7 * N)
    means = np.einsum("lij,lkj->lki", maps, mixture.means) + shift
    np.testing.assert_allclose(moved.means, means, rtol=1e-4, atol=1e-4)
    expected = np.einsum("lij,lkjm,lnm->lkin", maps, dense, maps)
    np.testing.assert_allclose(moved_dense, expected, rtol=1e-3, atol=1e-3)


def test_a_larger_family_fits_no_worse(x64):
    """From the fit of a family, EM of one that contains it never falls."""
    mixture, value, _, _ = fits()
    smaller, larger = (np.array([FOURTEEN.index(pair[i]) for pair in PAIRS]) for i in (0, 1))
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf[smaller]), mixture)
    code = jnp.asarray(np.broadcast_to(CODES[larger][:, None], start.covariance.code.shape))
    start = dataclasses.replace(start, covariance=dataclasses.replace(start.covariance, code=code))
    _, found, status, _ = fit(start, np.broadcast_to(X, (len(PAIRS), N, D)))
    assert set(status) == {Status.CONVERGED}
    for pair, rise in zip(PAIRS, found - value[smaller], strict=True):
        assert rise > -1e-9 * N, pair
    assert np.mean(found > value[smaller] + 0.1) > 0.8  # the data are of no smaller family


def test_lanes_are_fits_of_their_own(x64):
    """A batch is a loop, and neither a lane that fails nor rows of weight 0 change the others."""
    x = np.broadcast_to(X, (14, N, D)).copy()
    weight = np.ones((14, N))
    weight[:, ::9] = 0
    mixture = starts(CODES, x)
    _, value, status, dense = fit(mixture, x, weight)
    assert set(status) == {Status.CONVERGED}
    x[::2, ::9] = 1e3 * RNG.normal(size=(7, *X[::9].shape))
    broken = lambda leaf: jnp.concatenate([leaf, jnp.full_like(leaf[:1], jnp.nan)])
    several = [
        jax.tree.map(broken, mixture),
        np.append(x, x[:1], 0),
        np.append(weight, weight[:1], 0),
    ]
    _, again, status, _ = fit(*several)
    assert status[-1] == Status.NONFINITE
    np.testing.assert_allclose(again[:-1], value, rtol=1e-9)
    for lane in map(FOURTEEN.index, ("VVE", "EVV")):
        one = jax.tree.map(lambda leaf, lane=lane: leaf[lane], mixture)
        _, alone, _, own = program(batched=False)(one, jnp.asarray(X), jnp.asarray(weight[0]))
        np.testing.assert_allclose(alone, value[lane], rtol=1e-9)
        np.testing.assert_allclose(own, dense[lane], rtol=1e-4, atol=1e-4)


@functools.cache
def likeliest(d):
    """Scatters, masses and the likeliest covariances (14, k, d, d) of all families."""
    mass = np.array([30.0, 45.0, 25.0])
    draw = np.random.default_rng(d).normal(size=(len(mass), 4 * d, d))
    draw[:, :, 0] *= np.array([3.0, 1.0, 2.0])[:, None]
    scatter = np.stack(
        [n * np.cov(rows.T, bias=True).reshape(d, d) for n, rows in zip(mass, draw, strict=True)]
    )

    @jax.jit
    @jax.vmap
    def find(code):
        unit = Universal.identity(len(mass), d, float)
        unit = dataclasses.replace(unit, code=jnp.broadcast_to(code[None], unit.code.shape))
        frame = unit.frame(d)
        local = unit.likeliest(frame.pool(jnp.asarray(scatter)), frame.pool(jnp.asarray(mass)), d)
        return unit.moved(local).frame(d).dense

    return scatter, mass, np.asarray(find(jnp.asarray(CODES)))


def value_of(dense, scatter, mass):
    """Q of covariances (…, k, d, d), without its constants."""
    log_volume = np.linalg.slogdet(dense)[1] * mass
    distances = np.trace(
        np.linalg.solve(dense, np.broadcast_to(scatter, dense.shape)), axis1=-2, axis2=-1
    )
    return -np.sum(log_volume + distances, axis=-1) / 2


def member_near(kind, dense, size, rng):
    """Dense covariances of a member whose leaves are near those of another one."""
    member = kind.from_own(kind.own(dense), np)
    member = jax.tree.map(lambda leaf: leaf + size * rng.normal(size=leaf.shape), member)
    factor = member.factor_on_host(dense.shape[-1])
    factor = factor if factor.ndim == 3 else factor[:, :, None] * np.eye(dense.shape[-1])
    root = np.linalg.inv(factor)
    return np.broadcast_to(root @ np.swapaxes(root, 1, 2), dense.shape)


@pytest.mark.parametrize("d", [3, pytest.param(7, marks=pytest.mark.thorough)])
def test_no_member_is_likelier(d, x64):
    """Neither those nearby nor those far away; and the likeliest one is known otherwise."""
    scatter, mass, found = likeliest(d)
    rng = np.random.default_rng(0)
    for letters, dense in zip(FOURTEEN, found, strict=True):
        common = letters in ("EII", "EEI", "EEE")
        sums = (scatter.sum(axis=0)[None], mass.sum(keepdims=True)) if common else (scatter, mass)
        best = value_of(dense, scatter, mass)
        reference = np.broadcast_to(fourteen.covariances_of(*sums, letters)[0], dense.shape)
        np.testing.assert_allclose(best, value_of(reference, scatter, mass), rtol=1e-6)
        kind = family_class(letters)
        for size in np.repeat([1e-3, 1e-2, 0.1, 0.5], 25):
            near = member_near(kind, dense, size, rng)
            assert value_of(near, scatter, mass) <= best + 1e-9 * abs(best), (letters, size)
