"""Gaussian mixture models in JAX, with one differentiable likelihood for EM and for gradients."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public.names import *  # noqa: F403

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Load the public names when the first of them is used, so that `--help` is quick."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    public = importlib.import_module(f"{__name__}.public.names")
    exported = {key: getattr(public, key) for key in public.__all__}
    globals().update(exported, __all__=public.__all__)
    if name in ("convert", "plot", "sklearn"):
        return importlib.import_module(f"{__name__}.{name}")
    if name not in globals():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals()[name]


def __dir__() -> list[str]:
    return [*__getattr__("__all__"), "__version__", "convert", "plot", "sklearn"]
