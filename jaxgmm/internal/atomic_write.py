"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A binary file to write, which takes its place at `path` when the block ends well.

    An older file there stays until then, and stays if the block raises: nobody ever reads half a
    file. What is not a plain file (a pipe, /dev/stdout) is written to as it is. Raises OSError.
    """
    path = os.path.realpath(os.fspath(path))  # of a link, what it points to is replaced
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            yield file
        return
    beside = f"{path}.{os.getpid()}.tmp"  # in the same folder: renaming across disks is copying
    try:
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        if error.filename == beside:  # nobody has heard of that file
            error.filename = path
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
