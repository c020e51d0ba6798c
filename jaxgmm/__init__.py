"""Gaussian mixture models in JAX: one differentiable likelihood, climbed by EM and by gradients."""

from .algorithms import ALGORITHMS
from .best import best
from .certificate import Certificate, certificate
from .climb import Algorithm
from .compare import compare
from .comparison import Comparison, profile
from .coordinates import CovarianceCholesky, Leaves, PrecisionCholesky, Relative, SquareRoot
from .criteria import aic, bic, icl, n_parameters
from .data import Blocks
from .densities import log_joint, log_prob, responsibilities, sample
from .em import EM, m_step
from .families import FAMILIES
from .fit import Fit, fit
from .given import from_labels, from_responsibilities
from .gradient import Gradient
from .grid import Sweep
from .initialize import initialize
from .keep import load, save
from .likelihood import complete_log_likelihood, log_likelihood
from .mixture import Mixture
from .overlap import misassignment, overlap, separation
from .overrelaxed import OverrelaxedEM
from .prior import Prior, log_prior
from .progress import progress
from .scale_by_em import scale_by_em
from .shards import Shards, use_all_cores
from .simulate import Simulation, simulate
from .squarem import SQUAREM
from .statistics import Statistics, e_step
from .status import Status
from .stepwise import StepwiseEM
from .stochastic import Stochastic
from .stream import Stream
from .summary import summary
from .sweep import Progress, sweep
from .tables import Table
from .textbook import textbook_em
from .then import GainBelow, SlowerThan, Then

__version__ = "0.1.0"

# Grouped as the README is.
__all__ = [  # noqa: RUF022
    "FAMILIES", "Mixture", "initialize", "from_responsibilities", "from_labels",
    "log_joint", "log_prob", "responsibilities", "sample",
    "log_likelihood", "complete_log_likelihood", "log_prior",
    "Statistics", "e_step", "m_step",
    "fit", "Fit", "Status", "Prior", "Algorithm",
    "EM", "SQUAREM", "OverrelaxedEM", "StepwiseEM", "Gradient", "Stochastic",
    "Then", "SlowerThan", "GainBelow", "scale_by_em",
    "Relative", "Leaves", "PrecisionCholesky", "CovarianceCholesky", "SquareRoot",
    "textbook_em", "certificate", "Certificate",
    "aic", "bic", "icl", "n_parameters", "best",
    "Blocks", "Shards", "Stream", "use_all_cores",
    "simulate", "Simulation", "overlap", "misassignment", "separation",
    "sweep", "Sweep", "Progress", "Table",
    "summary", "save", "load", "progress",
    "compare", "Comparison", "profile", "ALGORITHMS",
]  # fmt: skip
