"""What two programs agree on that compute the same climb: everything up to rounding, which may let
one of them stop a step before the other."""

import numpy as np


def same_climb(found, expected, rtol=1e-9, end_rtol=1e-8):
    """Two fits, or two batches of fits of the same shape, take the same steps.

    Histories agree to rtol as far as both go, and ends to end_rtol: what the step may gain that one
    of them did not make."""
    steps, others = np.asarray(found.steps), np.asarray(expected.steps)
    assert steps.shape == others.shape
    assert (np.abs(steps - others) <= 1).all(), (steps, others)
    np.testing.assert_array_equal(found.status, expected.status)
    for name in ("history", "history_passes"):
        one, other = (np.asarray(getattr(fit, name)) for fit in (found, expected))
        width = min(one.shape[-1], other.shape[-1])
        made = np.arange(width) <= np.minimum(steps, others)[..., None]
        one, other = (np.where(made, values[..., :width], 0) for values in (one, other))
        np.testing.assert_allclose(one, other, rtol=rtol, err_msg=name)
    np.testing.assert_allclose(found.objective, expected.objective, rtol=end_rtol)


def between(low, value, high):
    """low ≤ value ≤ high, entry by entry."""
    return (np.asarray(low) <= value).all() and (value <= np.asarray(high)).all()
