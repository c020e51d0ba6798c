"""Covariance families: which covariances a mixture may have, and how they are computed with."""
