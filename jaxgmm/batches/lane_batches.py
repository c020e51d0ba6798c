"""Which fits of a sweep run in one batch, and how the programs of batches are compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..internal.compiling import LITTLE_TO_RUN
from .lane_programs import LaneSettings

MOST_LANES = 64
# While a group begins, each of its lanes stores a few numbers per row (and row weights, where there
# are folds). All of them together may take this many bytes.
ROW_BYTES = 1 << 30
# A second, smaller group is compiled only if a step of the larger one does this much work.
WORTH_COMPILING = 1e8
# If a step of MOST_LANES does less work than this, calls of small functions dominate its time.
# Above it, the natural kernel is faster. On CPUs, half as many lanes then have the same throughput
# and wait less for the slowest one.
LITTLE_WORK = 1e6


def _work_of_lane(settings: LaneSettings, n: int, d: int) -> int:
    """Return roughly how much a step of one lane computes, for n rows."""
    return n * settings.k * d * (d + 1)


def is_much_work(settings: LaneSettings, n: int, d: int) -> bool:
    """Return whether a step of a batch takes longer than calling its functions."""
    return MOST_LANES * _work_of_lane(settings, n, d) >= LITTLE_WORK


class Batches(NamedTuple):
    """The settings of batches.

    Attributes:
      large: most lanes run in batches of these.
      small: the last few lanes do, if it is worth the compilation.
      alone: a lane for which the rows are divided runs alone on a device, or None if none does.
    """

    large: LaneSettings
    small: LaneSettings
    alone: LaneSettings | None

    def next_group(
        self, waiting: np.ndarray, coarse: np.ndarray, may_divide: Callable[[int], bool]
    ) -> tuple[LaneSettings, np.ndarray]:
        """Return the settings of the next batch, and its lanes: some of the first that wait.

        Args:
          waiting: the lanes that have not ended, in order.
          coarse: whether the natural kernel is too inaccurate for all but a few steps of each.
          may_divide: tells of such a lane whether dividing the rows for it may pay.
        """
        settings = self.small if len(waiting) <= self.small.size else self.large
        group, coarse = waiting[: settings.size], coarse[: settings.size]
        if self.alone is None or not coarse.any() or not may_divide(group[np.argmax(coarse)]):
            return settings, group
        same = int(np.argmin(coarse == coarse[0])) or len(group)
        if coarse[0]:
            return self.alone, group[: min(same, self.alone.size)]
        return settings, group[:same]

    def may_run_at_end(self, settings: LaneSettings, group: int, waiting: int, least: int) -> int:
        """Return how many lanes of a batch may still run when it returns.

        It returns once three eighths of it have ended, so that waiting lanes can fill it up; or
        once the rest fits the small batch. One that is not full, since other lanes do not belong to
        it, runs to its end.

        Args:
          settings: the settings of the batch.
          group: its number of lanes.
          waiting: the number of lanes that wait, with those of the batch.
          least: how many lanes may still run when all that wait are in the batch.
        """
        if group < min(waiting, settings.size):
            return 0
        n_left = 5 * settings.size // 8 if waiting > settings.size else least
        if n_left == 0 and settings is self.large and waiting > self.small.size:
            return self.small.size
        return n_left


def batches_of(
    settings: LaneSettings, n: int, d: int, dtype: np.dtype, lanes: int, several: bool
) -> Batches:
    """Return the settings of all batches.

    Args:
      settings: the settings, apart from those that this function chooses.
      n: the number of rows.
      d: the number of features.
      dtype: that of the rows.
      lanes: the number of all lanes.
      several: whether they differ in their number of components. Such a sweep is usually run only
        once.
    """
    work, much_work = _work_of_lane(settings, n, d), is_much_work(settings, n, d)
    cpu = settings.mesh.devices.flat[0].platform == "cpu"
    quickly = cpu and MOST_LANES * work < LITTLE_TO_RUN and several
    kernel = settings.kernel
    if kernel == "auto" and quickly and settings.codes:
        # In the program of many families, a second kernel takes longer to compile than it saves.
        # The double kernel is accurate for all components that are no artifacts.
        kernel = "double" if dtype == np.float32 else "whitened"
    room = max(1, ROW_BYTES // (n * 4 * dtype.itemsize))
    most = MOST_LANES // 2 if much_work and cpu else MOST_LANES
    most = min(most, room, -(-lanes // settings.mesh.size))
    products = much_work and kernel == "auto" and cpu and not quickly
    large = dataclasses.replace(
        settings, kernel=kernel, lanes=most, quickly=quickly, products=products
    )
    small = large
    if large.size * work >= WORTH_COMPILING:
        small = dataclasses.replace(large, lanes=max(1, most // 8))
    alone = None
    if kernel == "auto" and not settings.codes and settings.columns is None and cpu:
        alone = dataclasses.replace(small, lanes=1, quickly=False, products=False, divides=True)
    return Batches(large, small, alone)


def fill_group(lanes: np.ndarray, settings: LaneSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return a full group of these lanes, and the places of each lane in it, once.

    Lanes are distributed over the devices in turn. Where there are too few, copies of the first one
    fill the group.
    """
    filled = np.concatenate([lanes, np.repeat(lanes[:1], settings.size - len(lanes))])
    order = np.arange(settings.size).reshape(-1, settings.mesh.size).T.ravel()
    return filled[order], np.flatnonzero(order < len(lanes))
