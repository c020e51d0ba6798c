"""Mixtures as other libraries store them: `from jaxgmm import convert`.

No library is imported until its function is called. scikit-learn's estimators are converted by
`jaxgmm.sklearn`.
"""

from .frames import from_frame, to_frame
from .probabilistic import (
    from_distrax,
    from_numpyro,
    from_tfp,
    to_distrax,
    to_numpyro,
    to_tfp,
)
from .scipy_normals import from_scipy, to_scipy

__all__ = [
    "from_distrax", "from_frame", "from_numpyro", "from_scipy", "from_tfp",
    "to_distrax", "to_frame", "to_numpyro", "to_scipy", "to_tfp",
]  # fmt: skip
