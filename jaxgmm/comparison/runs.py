"""Runs one algorithm from every start, except those whose fits are finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ..fitting.fit import trim_history
from ..fitting.result import Fit
from ..mixture.mixture import Mixture
from .budget import RunFrom
from .checkpoint import Finished, FinishedFits

Report = Callable[[int, Fit], object]


def run_one_by_one(
    run_from: RunFrom,
    starts: list[Mixture],
    max_steps: int,
    finished: FinishedFits,
    place: tuple[str, str],
    report: Report,
) -> list[Finished]:
    """Return the fits in the order of the starts, each timed alone.

    Every fit is added to `finished` under `place`, its data set and its algorithm. The seconds of
    compilation and one pass go into `finished.compile_seconds`.
    """
    known = [finished.get(*place, i, starts[0]) for i in range(len(starts))]
    if None in known:
        began = time.perf_counter()
        jax.block_until_ready(run_from(starts[0], 0))
        finished.compile_seconds.setdefault(place, time.perf_counter() - began)
    results = []
    for i, start in enumerate(starts):
        entry = known[i]
        if entry is None:
            began = time.perf_counter()
            fit = jax.block_until_ready(run_from(start, max_steps))
            entry = Finished(trim_history(fit, max_steps), time.perf_counter() - began)
            finished.add(*place, i, entry)
        report(i, entry.fit)
        results.append(entry)
    return results


def run_batch(
    run_from: RunFrom,
    starts: list[Mixture],
    max_steps: int,
    finished: FinishedFits,
    place: tuple[str, str],
    report: Report,
) -> list[Finished]:
    """Return what `run_one_by_one` does, from one batch whose time is divided by passes."""
    known = [finished.get(*place, i, starts[0]) for i in range(len(starts))]
    if None in known:
        batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        run_all = jax.vmap(run_from, in_axes=(0, None))
        began = time.perf_counter()
        jax.block_until_ready(run_all(batch, 0))
        finished.compile_seconds.setdefault(place, time.perf_counter() - began)
        began = time.perf_counter()
        batched = jax.device_get(run_all(batch, max_steps))
        seconds = (time.perf_counter() - began) * batched.passes / np.sum(batched.passes)
        for i in range(len(starts)):
            lane = jax.tree.map(lambda leaf, i=i: leaf[i], batched)
            entry = Finished(trim_history(lane, max_steps), float(seconds[i]))
            finished.add(*place, i, entry)
            known[i] = entry
    results = [entry for entry in known if entry is not None]
    for i, entry in enumerate(results):
        report(i, entry.fit)
    return results


def stack(trees: list) -> Any:
    """Stack the leaves along a new leading axis, as NumPy arrays.

    Histories are extended to the longest one by repeating their last value.
    """
    longest = max((len(tree.history) for tree in trees if isinstance(tree, Fit)), default=0)

    def stack_leaves(*leaves: ArrayLike) -> np.ndarray:
        arrays = [np.asarray(leaf) for leaf in leaves]
        if arrays[0].ndim == 1 and len({len(array) for array in arrays}) > 1:
            arrays = [np.pad(array, (0, longest - len(array)), "edge") for array in arrays]
        return np.stack(arrays)

    return jax.tree.map(stack_leaves, *trees)
