"""Gaussian mixture models in JAX, with one differentiable likelihood for EM and for gradients.

`__init__.pyi` lists the public names and their modules, for type checkers and for this file (as in
SPEC 1 of Scientific Python). A module is loaded when one of its names is first used, so that a
program waits only for what it uses.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pathlib
from typing import Any

__version__ = "0.1.0"


@functools.cache
def _public_names() -> tuple[list[str], dict[str, str]]:
    """Return the list `__all__`, and the module of each public name and public module."""
    stub = pathlib.Path(__file__).with_suffix(".pyi").read_text("utf-8")
    listed: list[str] = []
    modules: dict[str, str] = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ImportFrom):
            for name in (alias.name for alias in node.names):
                modules[name] = f"{__name__}.{node.module or name}"
        elif isinstance(node, ast.Assign):
            listed = ast.literal_eval(node.value)
    return listed, modules


def __getattr__(name: str) -> Any:
    """Load a public name, or a public module, when it is first used."""
    listed, modules = _public_names()
    if name == "__all__":
        return listed
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(modules[name])
    globals()[name] = getattr(module, name) if name in listed else module
    return globals()[name]


def __dir__() -> list[str]:
    listed, modules = _public_names()
    return sorted({*listed, *modules, "__version__"})
