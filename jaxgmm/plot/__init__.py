"""Figures, with matplotlib: `from jaxgmm import plot`.

Only this package needs matplotlib. Every function takes matplotlib axes as `ax`, or creates a
figure of its own (`ax.figure.savefig(…)`), and returns the axes. No function opens a window. A
component has the same color in every figure, so figures can be drawn into the same axes:

    >>> made = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0)
    >>> ax = plot.density(made.mixture)
    >>> ax = plot.responsibilities(made.mixture, made.x, ax)
    >>> ax = plot.ellipses(made.mixture, ax, level=0.9)
    >>> ax.figure.savefig(os.devnull, format="png")
"""

from .algebra import conditional, entropy_curve, modes, transport
from .fits import bic_curve, comparison, profiles, traces
from .mixtures import density, ellipses, responsibilities
from .pair_grid import pairs
from .style import PALETTE

__all__ = [
    "PALETTE", "bic_curve", "comparison", "conditional", "density", "ellipses", "entropy_curve",
    "modes", "pairs", "profiles", "responsibilities", "traces", "transport",
]  # fmt: skip
