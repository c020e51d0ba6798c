"""Comparisons that continue after an interruption: finished fits are kept in a file."""

from __future__ import annotations

import json
import os
import time
import zipfile
from typing import Any, NamedTuple

import jax
import numpy as np

from ..fitting.checkpoint import alike
from ..fitting.result import Fit
from ..internal.atomic_write import open_atomically
from ..mixture.mixture import Mixture
from ..objective.prior import Prior

VERSION = 1
LEAST_INTERVAL = 1.0  # seconds between two writes
EXACT_FIELDS = 8  # the fields of a `Fit` beside its mixture


class Finished(NamedTuple):
    """A fit that has ended, and the seconds that it took."""

    fit: Fit
    seconds: float


class FinishedFits:
    """The finished fits of a comparison, in the file at `path` if it is not None.

    The file is written at most once a second, and at the end of the `with` block, also if that
    block raises.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self.path = None if path is None else os.fspath(path)
        self.fits: dict[tuple[str, str, int], tuple[list[np.ndarray], float]] = {}
        self.compile_seconds: dict[tuple[str, str], float] = {}
        self.labels: dict[str, dict[str, Any]] = {}
        self.begun: dict[str, list[np.ndarray]] = {}  # the leaves of the starts and of the prior
        self._written = -np.inf
        self._changed = False
        if self.path is not None and os.path.exists(self.path):
            self._read(self.path)

    def __enter__(self) -> FinishedFits:
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def open_section(
        self, section: str, label: dict[str, Any], starts: Mixture, prior: Prior | None
    ) -> None:
        """Begin the fits of one data set, or check that those in the file are of the same fits.

        Raises:
          ValueError: if the file contains a comparison with other settings, starts or rows.
        """
        begun = [np.asarray(leaf) for leaf in jax.tree.leaves((starts, prior))]
        saved = self.labels.get(section)
        if saved is None:
            self.labels[section], self.begun[section], self._changed = label, begun, True
            return
        for name, value in label.items():
            if saved.get(name) != value:
                raise self._other_error(f"its {name}: {saved.get(name)!r}, but here {value!r}")
        known = self.begun[section]
        same_form = [leaf.shape for leaf in known] == [leaf.shape for leaf in begun]
        if not same_form or not alike(known, begun):
            raise self._other_error("its starts, its rows or its prior")

    def get(self, section: str, algorithm: str, start: int, template: Mixture) -> Finished | None:
        """Return a finished fit, or None; `template` is a mixture of the same form."""
        entry = self.fits.get((section, algorithm, start))
        if entry is None:
            return None
        structure = jax.tree.structure(Fit(template, *np.zeros(EXACT_FIELDS)))
        return Finished(jax.tree.unflatten(structure, entry[0]), entry[1])

    def add(self, section: str, algorithm: str, start: int, finished: Finished) -> None:
        """Keep a finished fit."""
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(finished.fit))]
        self.fits[section, algorithm, start] = (leaves, finished.seconds)
        self._changed = True
        if time.monotonic() > self._written + LEAST_INTERVAL:
            self._write()

    def _write(self) -> None:
        if self.path is None or not self._changed or jax.process_index() != 0:
            return
        description = {
            "comparison checkpoint": VERSION,
            "labels": self.labels,
            "begun": [len(leaves) for leaves in self.begun.values()],
            "fits": [[*key, seconds] for key, (_, seconds) in self.fits.items()],
            "compile": [[*key, seconds] for key, seconds in self.compile_seconds.items()],
        }
        arrays = {
            f"begun.{i}.{j}": leaf
            for i, leaves in enumerate(self.begun.values())
            for j, leaf in enumerate(leaves)
        } | {
            f"fit.{i}.{j}": leaf
            for i, (leaves, _) in enumerate(self.fits.values())
            for j, leaf in enumerate(leaves)
        }
        with open_atomically(self.path) as file:
            np.savez(file, description=np.array(json.dumps(description)), **arrays)  # type: ignore[arg-type]
        self._written, self._changed = time.monotonic(), False

    def _read(self, path: str) -> None:
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                description = json.loads(str(file["description"]))
                if description["comparison checkpoint"] != VERSION:
                    raise ValueError("another version of jaxgmm wrote it")
                self.labels = description["labels"]
                self.begun = {
                    section: [file[f"begun.{i}.{j}"] for j in range(count)]
                    for i, (section, count) in enumerate(
                        zip(self.labels, description["begun"], strict=True)
                    )
                }
                parts = max(
                    (int(n.split(".")[2]) for n in file.files if n[:4] == "fit."), default=0
                )
                for i, (section, algorithm, start, seconds) in enumerate(description["fits"]):
                    leaves = [file[f"fit.{i}.{j}"] for j in range(parts + 1)]
                    self.fits[section, algorithm, start] = (leaves, seconds)
                self.compile_seconds = {
                    (section, algorithm): seconds
                    for section, algorithm, seconds in description["compile"]
                }
        except (OSError, KeyError, IndexError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is not a checkpoint of a comparison ({error}): delete it, or give another "
                "path."
            ) from None

    def _other_error(self, difference: str) -> ValueError:
        return ValueError(
            f"{self.path} is the checkpoint of another comparison (it differs in {difference}): "
            "give another path, or delete it to start again."
        )
