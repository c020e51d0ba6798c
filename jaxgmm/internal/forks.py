"""A process that was forked after JAX had started is told so at once: in it, JAX waits for threads
that the fork did not copy."""

from __future__ import annotations

import os

from jax._src import xla_bridge

_forked_late = False


def _has_started() -> bool:
    # Without a lock, which another thread may have held when the process was forked.
    return bool(getattr(xla_bridge, "_backends", True))


def _mark() -> None:
    global _forked_late
    _forked_late = _forked_late or _has_started()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_mark)


def refuse() -> None:
    """Raise RuntimeError in a process that was forked after JAX had started."""
    if _forked_late:
        raise RuntimeError(
            "this process was forked after JAX had started, and JAX would wait here for ever: use "
            'multiprocessing.get_context("spawn") for worker processes, or joblib with its backend '
            '"loky", the default.'
        )
