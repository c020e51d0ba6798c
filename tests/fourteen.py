"""EM of mclust's fourteen families in NumPy, float64: principal axes by eigenvectors, and textbook
iterations to their end, on dense covariances. It shares no code with the library."""

import pathlib

import numpy as np
import pytest
import reference
from scipy.linalg import expm
from scipy.optimize import minimize

IRIS = pathlib.Path(__file__).parent.parent / "examples" / "data" / "iris.csv"

FOURTEEN = [
    "EII", "VII", "EEI", "VEI", "EVI", "VVI", "EEE", "VEE", "EVE", "VVE", "EEV", "VEV", "EVV", "VVV"
]  # fmt: skip
# One of each kind of leaves; tests of the others are `thorough`.
QUICK = ("VEI", "VEE", "VVE")
NAMES = {"VVV": "full", "EEE": "tied", "VVI": "diagonal", "VII": "spherical"}


def scales_of(s, mass, volume, shape):
    """Variances (k, d) along given axes, from s (k, d) and masses."""
    k, d = s.shape
    if (volume, shape) == ("E", "E"):
        return np.tile(s.sum(axis=0) / mass.sum(), (k, 1))
    if (volume, shape) == ("V", "V"):
        return s / mass[:, None]
    if (volume, shape) == ("E", "V"):
        size = np.exp(np.log(s).mean(axis=1))
        return s / size[:, None] * size.sum() / mass.sum()
    v = s.sum(axis=1) / mass / d
    for _ in range(2000):
        b = (s / v[:, None]).sum(axis=0) / mass.sum()
        v, before = (s / b).sum(axis=1) / mass / d, v
        if np.abs(v / before - 1).max() < 1e-15:
            break
    return v[:, None] * b


def isotropic(s, mass, volume):
    """Variances of all features together."""
    total = s.sum(axis=1)
    one = total.sum() / mass.sum() if volume == "E" else total / mass
    return np.tile(np.atleast_1d(one / s.shape[1])[:, None], (len(s) // np.size(one), s.shape[1]))


def common_axes(scatter, mass, volume, axes):
    """Axes by quasi-Newton steps on the matrix exponential of skew matrices."""
    d = len(axes)
    if d == 1:
        return axes
    rows, columns = np.tril_indices(d, -1)

    def turned(turn):
        skew = np.zeros((d, d))
        skew[rows, columns], skew[columns, rows] = turn, -turn
        return axes @ expm(skew)

    def loss(turn):
        s = np.einsum("ij,kil,lj->kj", turned(turn), scatter, turned(turn))
        variance = scales_of(s, mass, volume, "V")
        return (mass[:, None] * np.log(variance) + s / variance).sum() / mass.sum()

    axes = turned(minimize(loss, np.zeros(len(rows)), method="BFGS", options=dict(gtol=1e-4)).x)
    # Jacobi rotations to the last digits.
    for _ in range(60):
        largest = 0.0
        for p in range(d):
            for q in range(p):
                s = np.einsum("ij,kil,lj->kj", axes, scatter, axes)
                a = 1 / scales_of(s, mass, volume, "V")
                between = np.einsum("i,kij,j->k", axes[:, p], scatter, axes[:, q])
                x = ((a[:, p] - a[:, q]) * (s[:, p] - s[:, q])).sum() / 2
                y = ((a[:, p] - a[:, q]) * between).sum()
                angle = np.arctan2(-y, -x) / 2
                c, sine = np.cos(angle), np.sin(angle)
                axes[:, [p, q]] = np.c_[c * axes[:, p] + sine * axes[:, q],
                                        c * axes[:, q] - sine * axes[:, p]]  # fmt: skip
                largest = max(largest, abs(angle))
        if largest < 1e-13:
            break
    return axes


def covariances_of(scatter, mass, family, axes=None):
    """The likeliest covariances (k, d, d) of a family, and common axes if it has them."""
    volume, shape, orientation = family
    k, d, _ = scatter.shape
    if orientation == "I":
        s = np.diagonal(scatter, axis1=1, axis2=2)
        variance = isotropic(s, mass, volume) if shape == "I" else scales_of(s, mass, volume, shape)
        return variance[:, :, None] * np.eye(d), None
    if family == "EEE":
        return np.tile(scatter.sum(axis=0) / mass.sum(), (k, 1, 1)), None
    if family == "VVV":
        return scatter / mass[:, None, None], None
    if family == "EVV":
        size = np.exp(np.linalg.slogdet(scatter)[1] / d)
        return scatter / size[:, None, None] * size.sum() / mass.sum(), None
    if family == "VEE":
        v = np.trace(scatter, axis1=1, axis2=2) / mass / d
        for _ in range(2000):
            c = (scatter / v[:, None, None]).sum(axis=0) / mass.sum()
            c = c / np.linalg.det(c) ** (1 / d)
            v, before = np.einsum("ij,kji->k", np.linalg.inv(c), scatter) / mass / d, v
            if np.abs(v / before - 1).max() < 1e-15:
                break
        return v[:, None, None] * c, None
    if orientation == "V":
        vectors = np.linalg.eigh(scatter)[1]
    else:
        start = np.linalg.eigh(scatter.sum(axis=0))[1] if axes is None else axes
        axes = common_axes(scatter, mass, volume, start)
        vectors = np.tile(axes, (k, 1, 1))
    s = np.einsum("kij,kil,klj->kj", vectors, scatter, vectors)
    variance = scales_of(s, mass, volume, shape)
    return np.einsum("kij,kj,klj->kil", vectors, variance, vectors), axes


def em(weights, means, covariances, x, family, steps, pseudo_rows=0.0, axes=None):
    """EM steps; pseudo_rows > 0 adds the default prior of that strength."""
    d = x.shape[1]
    centered = x - x.mean(axis=0)
    prior = pseudo_rows * centered.T @ centered / len(x)
    for _ in range(steps):
        joint = reference.log_joint(weights, means, covariances, x)
        resp = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
        mass = resp.sum(axis=0)
        means = resp.T @ x / mass[:, None]
        scatter = np.stack(
            [(r[:, None] * (x - m)).T @ (x - m) for r, m in zip(resp.T, means, strict=True)]
        )
        count = mass + pseudo_rows
        scatter = scatter + prior
        if family in ("EII", "EEI", "EEE"):  # one covariance, and one prior
            scatter = (scatter.sum(axis=0) - (len(mass) - 1) * prior)[None]
            count = np.array([mass.sum() + pseudo_rows])
        covariances, axes = covariances_of(scatter, count, family, axes)
        covariances = np.broadcast_to(covariances, (len(mass), d, d))
        weights = mass / mass.sum()
    return weights, means, covariances


def each(names, quick=QUICK):
    """Parameters for pytest: the quick families, and the others as thorough tests."""
    return [
        pytest.param(name, marks=() if name in quick else pytest.mark.thorough) for name in names
    ]
