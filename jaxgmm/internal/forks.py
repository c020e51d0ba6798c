"""An immediate error in processes that were forked after JAX had started.

In such a process JAX would wait forever for threads that the fork did not copy.
"""

from __future__ import annotations

import os

from jax._src import xla_bridge

_forked_late = False


def _has_started() -> bool:
    # Reads JAX's variable without its lock, which another thread may have held during the fork.
    return bool(getattr(xla_bridge, "_backends", True))


def _record_fork() -> None:
    global _forked_late
    _forked_late = _forked_late or _has_started()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_record_fork)


def raise_if_forked() -> None:
    """Raise RuntimeError in a process that was forked after JAX had started."""
    if _forked_late:
        raise RuntimeError(
            "this process was forked after JAX had started, and JAX would wait here forever: use "
            'multiprocessing.get_context("spawn") for worker processes, or joblib with its default '
            'backend "loky".'
        )
