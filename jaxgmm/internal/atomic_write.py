"""Writing of files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def open_atomically(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces the file at `path` when the with-block ends.

    An older file stays in place until then, and also if the block raises, so that nobody ever reads
    an incomplete file. Whatever is not a regular file (a pipe, /dev/stdout) is written to directly.

    Raises:
      OSError: if the file cannot be written.
    """
    path = os.path.realpath(os.fspath(path))  # replace the target of a link, not the link
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            yield file
        return
    temporary = f"{path}.{os.getpid()}.tmp"  # in the same folder, so that renaming is atomic
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename == temporary:  # name the file that the user knows
            error.filename = path
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
