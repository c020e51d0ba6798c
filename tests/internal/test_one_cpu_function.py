"""One function of machine code computes what its function does, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgmm.internal.one_cpu_function import as_one_cpu_function


def plain(x, scale):
    return jnp.sin(x) * scale[None], x**2


joined = as_one_cpu_function(plain)
# So many numbers that XLA would divide each result among threads.
X, SCALE = np.linspace(0, 3, 40_000).reshape(40, 1000), np.linspace(1, 2, 1000)


def test_results_and_derivatives(x64):
    for one, other in zip(jax.jit(joined)(X, SCALE), plain(X, SCALE), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    total = lambda function: lambda x: jnp.sum(function(x, SCALE)[0] * function(x, SCALE)[1])
    slope = lambda function: jax.jit(jax.grad(total(function)))(X)
    np.testing.assert_allclose(slope(joined), slope(plain), rtol=1e-12)


def test_a_batch_of_which_one_result_is_used():
    first = lambda function: jax.jit(jax.vmap(lambda x: function(x[None], SCALE)[0]))(X)
    np.testing.assert_allclose(first(joined), first(plain), rtol=1e-6)


def test_a_cpu_has_one_call_of_it():
    program = jax.jit(lambda x: jnp.cos(joined(jnp.exp(x), SCALE)[0])).lower(X).compile()
    if jax.default_backend() == "cpu":
        assert "xla_cpu_small_call" in program.as_text()
