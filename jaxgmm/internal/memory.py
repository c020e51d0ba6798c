"""How much memory this machine has to give."""

from __future__ import annotations

import os
from pathlib import Path


def available_bytes() -> int | None:
    """Bytes that this process can still take, or None where the system does not say. On Linux this
    is the kernel's estimate, or what is left to the process's control group if that is less;
    elsewhere it is all of the machine's memory."""
    found = [limit for limit in (_of_kernel(), _of_group()) if limit is not None]
    if found:
        return min(found)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_kernel() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        entries = dict(line.split(":", 1) for line in lines)
        return 1024 * int(entries["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _of_group(folder: str = "/sys/fs/cgroup") -> int | None:
    """The limit of a container, less what is in use there and cannot be given back."""
    try:
        group = Path(folder)
        most = int((group / "memory.max").read_text())  # "max" where there is no limit
        in_use = int((group / "memory.current").read_text())
        pages = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return max(most - in_use + int(pages.get("inactive_file", 0)), 0)
    except (OSError, ValueError):
        return None
