"""Factorizations in pieces: the same numbers and derivatives as NumPy's and JAX's, and no stack that
LAPACK would split."""

import inspect
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgmm
from jaxgmm.numerics import lapack

RANDOM = np.random.default_rng(0)
ANY = RANDOM.normal(size=(5, 4, 4))
POSITIVE = ANY @ ANY.swapaxes(1, 2) + np.eye(4)
# Ours, JAX's, a stack, and how a change of it looks.
CASES = {
    "cholesky": (lapack.cholesky, jnp.linalg.cholesky, POSITIVE, lambda m: m + m.mT),
    "inverse": (lapack.inverse, jnp.linalg.inv, np.linalg.cholesky(POSITIVE), jnp.tril),
    "lower_root": (lapack.lower_root, lambda m: jnp.linalg.cholesky(m.mT @ m), ANY, lambda m: m),
    "svd": (lapack.svd, lambda m: tuple(jnp.linalg.svd(m)), ANY, lambda m: m),
    "eigh": (lapack.eigh, lambda m: tuple(jnp.linalg.eigh(m)), POSITIVE, lambda m: m + m.mT),
}
RULES = {"inverse": jnp.tril, "cholesky": jnp.tril}


def agree(found, expected, rtol=1e-9):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol), found, expected
    )


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_are_those_of_jax(name, x64):
    ours, theirs, stack, allowed = CASES[name]
    along = allowed(jnp.asarray(RANDOM.normal(size=stack.shape)))
    cotangents = [RANDOM.normal(size=leaf.shape) for leaf in jax.tree.leaves(theirs(stack))]

    def loss(function):
        """Of a stack that is moved in an allowed direction only."""
        moved = lambda change: function(jnp.asarray(stack) + allowed(change))
        pair = lambda change: zip(cotangents, jax.tree.leaves(moved(change)), strict=True)
        return lambda change: sum(jnp.vdot(c, leaf) for c, leaf in pair(change))

    def everything(function):
        zero = jnp.zeros(stack.shape)
        slope = jax.grad(loss(function))
        return (
            jax.jvp(function, (jnp.asarray(stack),), (along,)),
            slope(zero), jax.jvp(slope, (zero,), (along,))[1],
        )  # fmt: skip

    agree(jax.jit(lambda: everything(ours))(), jax.jit(lambda: everything(theirs))(), 1e-7)


@pytest.mark.parametrize("name", CASES)
def test_a_stack_that_is_cut_is_the_same(name, x64, monkeypatch):
    """Under vmap as well, whatever is batched; and without a second axis to merge."""
    ours, theirs, stack, _ = CASES[name]
    monkeypatch.setattr(lapack, "SPLIT_WORK", 200)
    lanes = np.stack([stack, 2 * stack, 3 * stack])
    agree(jax.jit(jax.vmap(ours))(lanes), jax.vmap(theirs)(jnp.asarray(lanes)))
    agree(jax.jit(ours)(stack), theirs(jnp.asarray(stack)))


@pytest.mark.skipif(not lapack.CALLS_WAIT, reason="this jaxlib does not split calls of LAPACK")
@pytest.mark.parametrize("d", [4, 8, 13, 16, 32, 64])
def test_no_call_is_large_enough_to_be_split(d):
    """By the shapes in the compiled program: jaxlib splits from 200 000 operations on, which it
    counts as d³/3 for a Cholesky factor and as d³ for a triangular solve, and never one matrix."""
    spread = jax.vmap(lambda x: (lapack.cholesky(x), lapack.inverse(x), lapack.eigh(x)))
    text = jax.jit(spread).lower(np.zeros((64, 8, d, d), np.float32)).compile().as_text()
    calls = re.findall(rf'f32\[(\d+,)?{d},{d}\].*custom_call_target="lapack_s(\w+?)_ffi"', text)
    assert {name for _, name in calls} == {"potrf", "trsm", "syevd"}
    for count, name in calls:
        work = {"potrf": d**3 // 3, "trsm": d**3}.get(name, 200_000)
        count = int(count.strip(",") or 1)
        assert count == 1 or count * work < 200_000


def test_nothing_else_calls_lapack():
    """A batched call anywhere else could wait for threads that wait for it."""
    sources = pathlib.Path(inspect.getfile(jaxgmm)).parent.rglob("*.py")
    calls = r"(?:jnp|xp|lax|jax\.numpy|jsp|scipy)\.linalg\.(?!norm\b)\w+"
    found = {path.name for path in sources if re.search(calls, path.read_text("utf-8"))}
    assert found == {"lapack.py"}
