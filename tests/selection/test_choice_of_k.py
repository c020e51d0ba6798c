"""The rule by which a family and a K are chosen, on sweeps whose fits are plain numbers."""

import types

import numpy as np
import pytest

from jaxgmm import Status
from jaxgmm.selection.best_of_restarts import Flaw
from jaxgmm.selection.choice_of_k import best_lane_of, choose, scores_of

KS, N, D = (1, 2, 3), 100, 2
PARAMETERS = np.array([5, 11, 17])  # of full covariances: 6 K − 1 in two dimensions
SOUND, SPURIOUS, FAILED = "sound", "spurious", "failed"


def sweep(heights, kinds=SOUND, entropy=0.0, held_out=()):
    """A sweep over KS in one family, with log-likelihoods (K, lanes) and the kinds of its lanes."""
    heights = np.asarray(heights, float)
    kinds = np.broadcast_to(kinds, heights.shape)
    fits = types.SimpleNamespace(
        status=np.where(kinds == FAILED, Status.DEGENERATE, Status.CONVERGED),
        objective=heights,
        log_likelihood=heights,
        mixture=types.SimpleNamespace(means=np.zeros((*heights.shape, max(KS), D))),
    )
    return types.SimpleNamespace(
        n_components=KS,
        fits={"full": fits},
        spurious={"full": kinds == SPURIOUS},
        entropy={"full": np.broadcast_to(entropy, heights.shape)},
        held_out={"full": np.asarray(held_out, float)},
        total_weight=np.float64(N),
    )


def chosen(found, criterion="bic"):
    flaw, (_, k) = choose(found, criterion, [("full", k) for k in KS])
    return flaw, k


def test_each_criterion_has_its_own_penalty():
    """AIC asks 6 nats of a component here, BIC 3 log 100 = 13.8, ICL the entropy besides."""
    found = sweep([[-500.0], [-480.0], [-470.0]], entropy=[[0.0], [8.0], [9.0]])
    assert [chosen(found, criterion)[1] for criterion in ("aic", "bic", "icl")] == [3, 2, 1]
    likelihood = np.array([-500.0, -480.0, -470.0])
    scores = [scores_of(found, ("full", k)) for k in KS]
    bic = PARAMETERS * np.log(N) - 2 * likelihood
    np.testing.assert_allclose([score["AIC"] for score in scores], 2 * (PARAMETERS - likelihood))
    np.testing.assert_allclose([score["BIC"] for score in scores], bic)
    np.testing.assert_allclose([score["ICL"] for score in scores], bic + 2 * np.array([0, 8, 9]))


def test_rows_left_out_are_better_the_likelier_they_are():
    found = sweep([[-500.0], [-400.0], [-300.0]], held_out=[-60.0, -50.0, -55.0])
    assert chosen(found, "held-out") == (Flaw.NONE, 2)
    found.held_out["full"] = np.array([-60.0, np.nan, -55.0])  # a fold has too few rows for K = 2
    assert chosen(found, "held-out") == (Flaw.NONE, 3)


def test_a_cell_without_sound_lanes_is_the_last_resort():
    heights = [[-500.0, -510.0], [-100.0, -90.0], [-10.0, 0.0]]
    rows = [(SOUND,) * 2, (SPURIOUS,) * 2, (FAILED,) * 2]
    assert chosen(sweep(heights, rows)) == (Flaw.NONE, 1)
    assert chosen(sweep(heights, [(FAILED,) * 2, *rows[1:]])) == (Flaw.SPURIOUS, 2)
    assert chosen(sweep(heights, FAILED))[0] == Flaw.FAILED


def test_a_cell_is_represented_by_its_best_sound_lane():
    found = sweep([[-500.0] * 4] * 2 + [[-400.0, -300.0, -200.0, -350.0]],
                  [[SOUND] * 4] * 2 + [[SOUND, SPURIOUS, FAILED, SOUND]])  # fmt: skip
    index, usable = best_lane_of(found, ("full", 3))
    assert index == 3 and usable.tolist() == [True, True, False, True]
    assert best_lane_of(found, ("full", 3), spurious_too=True)[0] == 1
    assert chosen(found) == (Flaw.NONE, 3)
    assert scores_of(found, ("full", 3))["AIC"] == 2 * 17 + 2 * 350
    assert scores_of(found, ("full", 3), lane=0)["AIC"] == 2 * 17 + 2 * 400


def test_of_equal_cells_the_smallest_is_chosen():
    equal = [[-500.0 + number] for number in PARAMETERS]  # AIC is the same everywhere
    assert chosen(sweep(equal), "aic") == (Flaw.NONE, 1)


def test_unknown_criteria_and_rows_that_were_not_left_out():
    found = sweep([[-500.0]] * 3)
    with pytest.raises(ValueError, match="criterion"):
        chosen(found, "mdl")
    with pytest.raises(ValueError, match="left no rows out"):
        chosen(found, "held-out")
