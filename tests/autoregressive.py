"""A family of covariances that users define: those of autoregressive series."""

import jax
import jax.numpy as jnp

import jaxgmm


def autoregressive():
    """Registers the family under the name AR(1)."""

    @jaxgmm.family("AR(1)")
    class AR1(jaxgmm.Family):
        log_sd: jax.Array
        logit: jax.Array

        def frame(self, d):
            rho = jnp.tanh(self.logit)[:, None, None]
            below, unit = jnp.eye(d, k=-1)[None], jnp.eye(d)[None]
            root = jnp.where(jnp.arange(d)[None, :, None] == 0, 1, jnp.sqrt(1 - rho**2))
            return jaxgmm.Dense.of(
                jnp.exp(-self.log_sd)[:, None, None] * (unit - rho * below) / root
            )

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.zeros(k, dtype), jnp.full(k, 0.1, dtype))

    return AR1
