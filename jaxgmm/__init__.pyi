# The public names. `__init__.py` finds in this file which module to load for a name.

from . import convert as convert
from . import plot as plot
from . import sklearn as sklearn
from .algebra.affine import affine, convolve, moments
from .algebra.combine import Combined, combine
from .algebra.condition import condition
from .algebra.marginal import marginal
from .algebra.modes import modes
from .algebra.product import join, product
from .algebra.reduce import reduce
from .algebra.regions import level
from .algebra.regress import Regression, regress
from .algebra.univariate import cdf, quantile
from .algorithms.anderson import Anderson
from .algorithms.annealed import Annealed
from .algorithms.auto import Auto
from .algorithms.classification import Classification
from .algorithms.conjugate_em import ConjugateEM
from .algorithms.em import EM
from .algorithms.gradient import Gradient
from .algorithms.incremental import Incremental
from .algorithms.minibatches import Stochastic
from .algorithms.nesterov import NesterovEM
from .algorithms.newton import Newton
from .algorithms.overrelaxed import OverrelaxedEM
from .algorithms.protocol import Algorithm
from .algorithms.quasi_newton import QuasiNewtonEM
from .algorithms.registry import ALGORITHMS
from .algorithms.scale_by_em import scale_by_em
from .algorithms.squarem import SQUAREM
from .algorithms.stepwise import StepwiseEM
from .algorithms.switching import GainBelow, SlowerThan, Then
from .algorithms.variance_reduced import VarianceReduced
from .comparison.compare import compare
from .comparison.profile import profile
from .comparison.result import Comparison
from .comparison.several import Comparisons
from .data.devices import use_all_cores
from .data.observed import Observed
from .data.shards import Shards
from .data.sources import Blocks
from .data.stream import Stream
from .divergences.bounds import entropy_bounds, kl_variational
from .divergences.estimate import Estimate
from .divergences.inner import cauchy_schwarz, l2, log_inner
from .divergences.sampled import entropy, js, kl
from .divergences.wasserstein import Plan, bures, mw2, mw2_plan
from .families.check_family import check_family
from .families.dense_layout import Dense
from .families.factors import factors, ppca
from .families.family import Family
from .families.registry import FAMILIES, family
from .fitting.fit import fit
from .fitting.result import Fit
from .fitting.solution import solution
from .fitting.status import Status
from .fitting.textbook import textbook_em
from .inference.bootstrap import bootstrap
from .inference.bootstrap_result import Bootstrap
from .inference.certificate import certificate
from .inference.certificate_result import Certificate
from .inference.imputation import Posterior, impute, posterior
from .inference.leave_one_out import Loo, loo
from .inference.likelihood_ratio import LikelihoodRatio, likelihood_ratio
from .inference.parameters import Parameters
from .inference.profile_interval import ProfileInterval, profile_interval
from .inference.takeuchi_criterion import tic
from .inference.uncertainty import uncertainty
from .inference.uncertainty_result import Uncertainty
from .internal.text_table import Table
from .mixture.coordinates import (
    CovarianceCholesky,
    Leaves,
    PrecisionCholesky,
    SquareRoot,
)
from .mixture.loadings import communalities, loadings
from .mixture.mixture import Mixture
from .mixture.overlap import misassignment, overlap, separation
from .mixture.relative_coordinates import Augmented, Relative
from .mixture.sampling import sample
from .mixture.simulation import Simulation, simulate
from .objective.densities import log_joint, log_prob, responsibilities
from .objective.log_likelihood import complete_log_likelihood, log_likelihood
from .objective.m_step import m_step
from .objective.prior import Prior, log_prior
from .objective.statistics import Statistics, e_step
from .reports.progress import progress
from .reports.storage import load, save
from .reports.summary import summary
from .selection.best_of_restarts import best
from .selection.criteria import aic, bic, icl, n_parameters
from .selection.run_families import Progress
from .selection.sweep import sweep
from .selection.sweep_result import Sweep
from .starts.from_assignments import from_labels, from_responsibilities
from .starts.initialization import initialize

__version__: str

# Grouped as in jaxgmm/README.md.
__all__ = [  # noqa: RUF022
    "FAMILIES", "Family", "family", "Dense", "check_family", "factors", "ppca",
    "loadings", "communalities",
    "Mixture", "initialize", "from_responsibilities", "from_labels",
    "log_joint", "log_prob", "responsibilities", "sample",
    "impute", "posterior", "Posterior",
    "log_likelihood", "complete_log_likelihood", "log_prior",
    "Statistics", "e_step", "m_step",
    "fit", "Fit", "Status", "Prior", "Algorithm",
    "Auto", "EM", "SQUAREM", "OverrelaxedEM", "Anderson", "QuasiNewtonEM", "ConjugateEM",
    "NesterovEM", "Newton", "StepwiseEM", "Gradient", "Stochastic",
    "Annealed", "Classification", "Incremental", "VarianceReduced",
    "Then", "SlowerThan", "GainBelow", "scale_by_em",
    "Relative", "Augmented", "Leaves", "PrecisionCholesky", "CovarianceCholesky", "SquareRoot",
    "textbook_em", "certificate", "Certificate",
    "uncertainty", "Uncertainty", "Parameters", "solution",
    "bootstrap", "Bootstrap", "likelihood_ratio", "LikelihoodRatio",
    "profile_interval", "ProfileInterval", "tic", "loo", "Loo",
    "aic", "bic", "icl", "n_parameters", "best",
    "Observed", "Blocks", "Shards", "Stream", "use_all_cores",
    "simulate", "Simulation", "overlap", "misassignment", "separation",
    "sweep", "Sweep", "Progress", "Table",
    "marginal", "condition", "regress", "Regression", "affine", "convolve", "product", "join",
    "moments", "cdf", "quantile", "modes", "level", "reduce", "combine", "Combined",
    "kl", "js", "entropy", "Estimate", "kl_variational", "entropy_bounds",
    "l2", "cauchy_schwarz", "log_inner", "bures", "mw2", "mw2_plan", "Plan",
    "summary", "save", "load", "progress",
    "compare", "Comparison", "Comparisons", "profile", "ALGORITHMS",
]  # fmt: skip
