"""Figures: `from jaxgmm import plot`. Needs matplotlib, which nothing else here imports.

Every function takes matplotlib axes as `ax`, or makes a figure of its own (`ax.figure.savefig(…)`),
returns the axes, and shows nothing by itself. A component has the same color everywhere, and
figures can be laid over each other:

    >>> made = jaxgmm.simulate(jax.random.key(0), 200, 2, 2, separation=3.0)
    >>> ax = plot.density(made.mixture)
    >>> ax = plot.responsibilities(made.mixture, made.x, ax)
    >>> ax = plot.ellipses(made.mixture, ax, level=0.9)
    >>> ax.figure.savefig(os.devnull, format="png")
"""

from .fits import bic_curve, comparison, traces
from .mixtures import density, ellipses, pairs, responsibilities
from .style import PALETTE

__all__ = [
    "PALETTE", "bic_curve", "comparison", "density", "ellipses", "pairs", "responsibilities",
    "traces",
]  # fmt: skip
