"""One pass: its sums, all kernels, blocks, weights."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import Mixture
from jaxgmm.data.rows import Rows
from jaxgmm.kernels.rounding_bounds import natural_is_safe, safe_rounding
from jaxgmm.objective.statistics import statistics


def close(a, b, rtol=1e-10, atol=1e-9):
    chex.assert_trees_all_close(a, b, rtol=rtol, atol=atol)


def setting(family, n=60, d=3, k=3, dtype=np.float64):
    parameters = reference.random_mixture(7, k, d, family)
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(n, d)) * 2).astype(dtype)
    mixture = Mixture.from_parameters(*[p.astype(dtype) for p in parameters], family=family)
    return mixture, parameters, x, rng.uniform(0.2, 3, n).astype(dtype)


def test_sums_are_their_definition(family, kernel, x64):
    mixture, parameters, x, weight = setting(family)
    joint = reference.log_joint(*parameters, x)
    likelihood = np.logaddexp.reduce(joint, axis=1)
    share = weight[:, None] * np.exp(joint - likelihood[:, None])
    residual = np.stack([mixture.frame.whiten(row[None] - mixture.means) for row in x])  # n k d
    found = jax.jit(statistics, static_argnames="kernel")(
        mixture, Rows(x, weight, jnp.zeros(3)), kernel=kernel
    )
    np.testing.assert_allclose(found.mass, share.sum(axis=0), rtol=1e-11)
    np.testing.assert_allclose(found.shift, np.einsum("nk,nkd->kd", share, residual), atol=1e-10)
    np.testing.assert_allclose(found.log_likelihood, weight @ likelihood, rtol=1e-12)
    spread = sum(
        mixture.frame.outer(s[:, None] * y, y) for s, y in zip(share, residual, strict=True)
    )
    np.testing.assert_allclose(found.spread, spread, atol=1e-9)


@pytest.mark.parametrize("block", [7, 30])
def test_blocks_do_not_show(family, block, kernel, x64, monkeypatch):
    mixture, _, x, weight = setting(family)
    rows = Rows(x, weight, jnp.zeros(3))
    whole = statistics(mixture, rows, kernel)
    monkeypatch.setattr("jaxgmm.objective.statistics.block_rows", lambda kernel: block)
    close(statistics(mixture, rows, kernel), whole)


def test_statistics_add(family, x64):
    mixture, _, x, weight = setting(family)
    a = jaxgmm.e_step(mixture, x[:25], weight=weight[:25])
    b = jaxgmm.e_step(mixture, x[25:], weight=weight[25:])
    close(a + b, jaxgmm.e_step(mixture, x, weight=weight))


def test_whole_weights_are_repeated_rows(family, x64):
    mixture, _, x, _ = setting(family)
    times = np.arange(len(x)) % 4
    repeated = jaxgmm.e_step(mixture, np.repeat(x, times, axis=0))
    close(jaxgmm.e_step(mixture, x, weight=times), repeated)


def test_vmap_is_a_loop(family, x64):
    mixture, _, x, weight = setting(family)
    weights = np.stack([weight, weight[::-1], 0 * weight])
    many = jax.vmap(lambda weight: jaxgmm.e_step(mixture, x, weight=weight))(weights)
    for i in range(2):
        close(
            jax.tree.map(lambda leaf, i=i: leaf[i], many),
            jaxgmm.e_step(mixture, x, weight=weights[i]),
        )
    assert not any(np.any(leaf[2]) for leaf in jax.tree.leaves(many))


@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_float32_keeps_its_digits(family, offset, x64):
    """Tight components (1e-2 of the spread) at an offset: the spread is right to 1e-5."""
    rng = np.random.default_rng(5)
    centers = rng.normal(size=(4, 3))
    component = rng.integers(4, size=2000)
    x = (centers[component] + 0.01 * rng.normal(size=(2000, 3)) + offset).astype(np.float32)
    parameters = np.full(4, 0.25), centers + offset, np.stack([1e-4 * np.eye(3)] * 4)
    narrow = Mixture.from_parameters(
        *[np.asarray(p, np.float32) for p in parameters], family=family
    )
    wide = jax.tree.map(lambda leaf: leaf.astype(np.float64), narrow)
    found = jaxgmm.e_step(narrow, x)
    truth = jaxgmm.e_step(wide, x.astype(np.float64))
    assert found.spread.dtype == np.float32
    close(found, truth, rtol=3e-5, atol=3e-5 * 500)


def test_rule_for_the_kernel(x64):
    """The rule holds the natural kernel's error under its limit, and refuses where it is not."""
    rng = np.random.default_rng(6)
    errors = {}
    for width in (1.0, 1e-2, 1e-4):
        centers = rng.normal(size=(4, 3))
        x = centers[rng.integers(4, size=500)] + width * rng.normal(size=(500, 3))
        mixture = Mixture.from_parameters(
            np.full(4, 0.25, np.float32), centers.astype(np.float32),
            np.stack([width**2 * np.eye(3, dtype=np.float32)] * 4),
        )  # fmt: skip
        rows = Rows(jnp.asarray(x, jnp.float32), None, jnp.zeros(3, jnp.float32))
        natural = statistics(mixture, rows, "natural").log_likelihood
        exact = statistics(
            jax.tree.map(lambda leaf: leaf.astype(jnp.float64), mixture),
            Rows(rows.x.astype(jnp.float64), None, jnp.zeros(3)), "whitened",
        ).log_likelihood  # fmt: skip
        errors[width] = bool(natural_is_safe(mixture)), abs(float(natural - exact)) / 500
    assert errors[1.0][0]
    assert errors[1.0][1] < 1e-5
    assert not errors[1e-4][0]
    assert errors[1e-4][1] > 1e-2


def _noise(rng, shape: str, n: int, d: int) -> np.ndarray:
    """n rows of unit width: in all directions; correlated; or with one direction narrower, which is
    no axis's."""
    noise = rng.normal(size=(n, d))
    if shape == "correlated":
        return noise + 2 * rng.normal(size=(n, 1))
    if shape == "flat":
        along = np.linalg.qr(rng.normal(size=(d, 1)))[0]
        return noise - 0.8 * noise @ along @ along.T
    return noise


@pytest.mark.thorough
@pytest.mark.parametrize("shape", ["round", "correlated", "flat"])
@pytest.mark.parametrize("d", [4, 16, 48])
def test_where_the_rule_allows_it_the_natural_kernel_keeps_second_moments(d, shape, x64):
    """Up to the limit, whatever the number of features and the clusters' shape: they become
    narrower and narrower, until the rule refuses them; not long before the error is there (a bound
    that sums absolute values does so a hundred times too early)."""
    rng = np.random.default_rng(d)
    centers, component = 2 * rng.normal(size=(3, d)), rng.integers(3, size=3000)
    noise, allowed, errors = _noise(rng, shape, 3000, d), [], []
    sums = jax.jit(statistics, static_argnames="kernel")
    for width in 2.0 ** np.arange(5, -7, -1):
        x = jnp.asarray(centers[component] + width * noise, jnp.float32)
        mixture = jax.tree.map(
            lambda leaf: leaf.astype(jnp.float32),
            jaxgmm.from_labels(np.asarray(x, float), component),
        )
        wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), mixture)
        found = sums(mixture, Rows.of(x, None), kernel="natural")
        truth = sums(wide, Rows.of(x.astype(jnp.float64), None), kernel="whitened")
        error = jnp.abs(found.spread - truth.spread) / truth.mass[:, None, None]
        errors.append(float(jnp.max(error)))
        allowed.append(bool(natural_is_safe(mixture)))
        assert not allowed[-1] or errors[-1] < safe_rounding(mixture)
    assert allowed[0]
    assert not allowed[-1]
    assert errors[allowed.index(False)] > safe_rounding(mixture) / 30


def test_auto_takes_either_kernel_beyond_a_few_thousand_rows(x64):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(5000, 2))
    parameters = reference.random_mixture(8, 2, 2, "full")
    for scale in (1.0, 1e-7):  # the second is beyond what the natural kernel can do
        shrunk = parameters[0], parameters[1], parameters[2] * scale**2
        mixture = Mixture.from_parameters(*shrunk)
        rows = Rows(jnp.asarray(x), None, jnp.zeros(2))
        assert bool(natural_is_safe(mixture)) == (scale == 1.0)
        close(
            jax.jit(statistics)(mixture, rows), statistics(mixture, rows, "whitened"), rtol=1e-8,
            atol=1e-6,
        )  # fmt: skip


def test_compensated_sums():
    """A million rows in float32: the log-likelihood is right to a few units in the last place."""
    x = np.random.default_rng(8).normal(size=(1_000_000, 1)).astype(np.float32)
    mixture = Mixture.from_parameters([1.0], [[0.0]], [[[1.0]]])
    truth = -0.5 * (x.astype(float) ** 2 + np.log(2 * np.pi)).sum()
    assert abs(float(jaxgmm.log_likelihood(mixture, x)) - truth) < 3e-7 * abs(truth)
    assert abs(float(jaxgmm.e_step(mixture, x).mass[0]) - 1e6) < 0.1


def test_no_array_of_rows_times_components():
    """The compiled E-step and gradient of a large problem need little memory beside the data."""
    n, d, k = 200_000, 4, 16
    mixture = jax.eval_shape(
        lambda: Mixture(
            jnp.zeros(k), jnp.zeros((k, d)), jaxgmm.FAMILIES["full"].identity(k, d, jnp.float32)
        )
    )
    x = jax.ShapeDtypeStruct((n, d), jnp.float32)
    from jaxgmm.data.rows import Rows
    from jaxgmm.objective.log_likelihood import value_of_array
    from jaxgmm.objective.statistics import statistics_at

    one_pass = jax.jit(lambda mixture, x, weight: statistics_at(Rows.of(x, weight), mixture))
    for function in (
        one_pass,
        jax.jit(jax.value_and_grad(functools.partial(value_of_array, (None, None)))),
    ):
        analysis = function.lower(mixture, x, None).compile().memory_analysis()
        assert analysis.temp_size_in_bytes < n * k * 4 / 2
