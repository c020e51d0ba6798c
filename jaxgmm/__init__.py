"""Gaussian mixture models in JAX: one differentiable likelihood, climbed by EM and by gradients."""

from .climb import Algorithm
from .coordinates import Leaves, Relative
from .em import EM, m_step
from .families import FAMILIES
from .fit import Fit, fit
from .gradient import Gradient
from .grid import Sweep
from .initialize import from_labels, from_responsibilities, initialize
from .likelihood import complete_log_likelihood, log_likelihood
from .mixture import Mixture, log_joint, log_prob, responsibilities, sample
from .prior import Prior, log_prior
from .select import aic, best, bic, icl, n_parameters
from .statistics import Statistics, e_step
from .status import Status
from .sweep import Progress, sweep
from .tables import Table
from .textbook import textbook_em

__version__ = "0.1.0"

# Grouped as the README is.
__all__ = [  # noqa: RUF022
    "FAMILIES", "Mixture", "initialize", "from_responsibilities", "from_labels",
    "log_joint", "log_prob", "responsibilities", "sample",
    "log_likelihood", "complete_log_likelihood", "log_prior",
    "Statistics", "e_step", "m_step",
    "fit", "Fit", "Status", "Algorithm", "EM", "Gradient", "Relative", "Leaves", "Prior",
    "textbook_em",
    "aic", "bic", "icl", "n_parameters", "best",
    "sweep", "Sweep", "Progress", "Table",
]  # fmt: skip
