"""The memory that is available on this machine."""

from __future__ import annotations

import os
from pathlib import Path


def available_bytes() -> int | None:
    """Return the number of bytes that this process can still allocate, or None if it is unknown.

    On Linux this is the kernel's estimate, or the rest of the control group's limit if that is
    less. On other systems it is the machine's total memory.
    """
    limits = [limit for limit in (_kernel_estimate(), _group_limit()) if limit is not None]
    if limits:
        return min(limits)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _kernel_estimate() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        entries = dict(line.split(":", 1) for line in lines)
        return 1024 * int(entries["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _group_limit(folder: str = "/sys/fs/cgroup") -> int | None:
    """Return a container's limit minus the memory that is in use and cannot be reclaimed."""
    try:
        group = Path(folder)
        most = int((group / "memory.max").read_text())  # "max", a ValueError, if there is no limit
        in_use = int((group / "memory.current").read_text())
        pages = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(most - in_use + int(pages.get("inactive_file", 0)), 0)
    except (OSError, ValueError):
        return None
