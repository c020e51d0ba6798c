"""The devices over which rows are spread: on a CPU, one for each core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ..internal import checks
from ..numerics import lapack

# Arrays of fewer rows stay on one device: a pass over them takes less time than the communication
# between devices in every step.
SPREAD_ROWS = 1 << 15
AXIS = "rows"


def mesh_of(devices: Sequence[jax.Device]) -> Mesh:
    """Return a mesh of these devices with one axis."""
    return Mesh(np.array(list(devices)), (AXIS,))


def spread_over_devices(devices: Sequence[jax.Device] | None, n: int) -> Mesh | None:
    """Return the mesh of these devices (or all local ones) for n rows, or None for one device."""
    devices = jax.local_devices() if devices is None else devices
    return mesh_of(devices) if len(devices) > 1 and n >= SPREAD_ROWS else None


def use_all_cores(devices: int | None = None) -> int:
    """Make each CPU core a JAX device; call this before anything else in JAX.

    A single CPU device passes over the rows on one core. With several devices, an array passed to
    `fit`, `log_likelihood`, `e_step`, `bic` and similar functions is spread over all of them
    automatically, and `sweep` distributes its lanes among them. The environment variable
    JAX_NUM_CPU_DEVICES has the same effect, and its value is used unless `devices` is passed.

    JAX also gets more threads than devices (by the environment variable PJRT_NPROC). Otherwise,
    batched LAPACK calls by other code, one on each device, could wait forever for a thread. This
    package itself makes no such calls.

    Args:
      devices: the number of CPU devices; None for the number of cores.

    Returns:
      The number of CPU devices.

    Raises:
      ValueError: if JAX already runs with another number of devices, which is fixed by its first
        computation.
    """
    config: Any = jax.config  # whose options have no type hints
    from_environment = config.jax_num_cpu_devices  # −1 if it is not set
    wanted = from_environment if from_environment > 0 else lapack.cores()
    wanted = wanted if devices is None else checks.whole(devices, "devices", 1)
    try:
        jax.config.update("jax_num_cpu_devices", wanted)
    except RuntimeError:
        running = len(jax.local_devices(backend="cpu"))
        if running != wanted:
            raise ValueError(
                f"JAX already runs with {running} CPU devices: call use_all_cores() before the "
                f"first computation, or set JAX_NUM_CPU_DEVICES={wanted} in the environment."
            ) from None
    else:
        lapack.widen_pool(wanted)
    return wanted
