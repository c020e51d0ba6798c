"""The comparison: the same fits as one by one, a judgment in float64, and what tables say of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import between, same_climb

import jaxgmm
from jaxgmm import EM, SQUAREM, Gradient, Status
from jaxgmm.comparison import optima
from jaxgmm.comparison.optima import NEAR, _parameters, distance

KEY = jax.random.key(2)
DIVERGES = Gradient(optax.sgd, learning_rate=1e30, coordinates="leaves")
CONTENDERS = {
    "EM": EM(),
    "squarem": "squarem",
    "L-BFGS": Gradient(optax.lbfgs),
    "runs off": DIVERGES,
}


@pytest.fixture(scope="module")
def compared(iris):
    with jax.enable_x64(True):
        return jaxgmm.compare(KEY, iris, 3, CONTENDERS, restarts=6, tolerance=1e-10)


def lane(tree, i):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[i]), tree)


def passes_to(compared, trace, target):
    """The least and the most passes after which a climb is at a target: a height so near it that
    rounding decides may count or not."""
    heights = compared.best_known - 150 * trace.gap
    there = [np.flatnonzero(heights >= target + slack) for slack in (-1e-8, 1e-8)]
    return [trace.passes[at[0]] if len(at) else np.inf for at in there]


def test_fits_are_those_of_fit(compared, iris, x64):
    key = jax.random.split(KEY, 6)[4]
    start = jaxgmm.initialize(key, iris, 3)
    for name in ("EM", "squarem"):
        algorithm = {"EM": EM(), "squarem": SQUAREM()}[name]
        alone = jaxgmm.fit(iris, start, algorithm, tolerance=1e-10)
        found = lane(compared.fits[name], 4)
        same_climb(found, alone, rtol=1e-10)
        made = int(found.steps) + 1
        trace = compared.traces[name][4]
        np.testing.assert_array_equal(trace.passes, found.history_passes[:made])
        assert trace.seconds[-1] == compared.seconds[name][4] > 0
        height = compared.best_known - 150 * trace.gap
        np.testing.assert_allclose(height, found.history[:made], rtol=1e-12)


def test_ends_are_judged_by_the_objective(compared, iris, x64):
    prior = jaxgmm.Prior.from_data(iris)
    for name, fits in compared.fits.items():
        end = lane(fits.mixture, 1)
        value = jaxgmm.log_likelihood(end, iris) + jaxgmm.log_prior(end, prior)
        np.testing.assert_allclose(compared.objective[name][1], value, rtol=1e-12)
        np.testing.assert_allclose(
            compared.em_gain[name][1], jaxgmm.fit(iris, end, max_steps=0).em_gain,
            rtol=1e-5, atol=1e-15,
        )  # fmt: skip
    # The gradient's norm, in the frame of the end: means in standard deviations, times √π.
    start = lane(compared.fits["runs off"].mixture, 1)
    slope = jax.grad(
        lambda m: jaxgmm.log_likelihood(m, iris) + jaxgmm.log_prior(m, prior)
    )(start)  # fmt: skip
    means = start.frame.unwhiten_transposed(slope.means) / np.sqrt(start.weights)[:, None]
    assert compared.gradient_norm["runs off"][1] > np.linalg.norm(means) / 150
    assert compared.gradient_norm["EM"].max() < 1e-4


def test_the_best_known_optimum(compared, iris, x64):
    """No end lies above it, and EM stays there."""
    best = compared.optima[0]
    assert best.objective == compared.best_known
    assert all(values.max() <= best.objective + 1e-9 for values in compared.objective.values())
    stays = jaxgmm.fit(iris, jax.tree.map(jnp.asarray, best.mixture), max_steps=0)
    assert stays.em_gain < 1e-12
    heights = [optimum.objective for optimum in compared.optima]
    assert heights == sorted(heights, reverse=True)


def test_fits_that_end_together_agree(compared):
    """In the same basin, converged: the same objective to 1e-6 per row."""
    for name in ("squarem", "L-BFGS"):
        together = compared.optimum[name] == compared.optimum["EM"]
        assert together.sum() >= 3
        apart = np.abs(compared.objective[name] - compared.objective["EM"])[together]
        assert apart.max() < 1e-6 * 150
    for name in ("EM", "squarem", "L-BFGS"):
        for end, value in zip(compared.optimum[name], compared.objective[name], strict=True):
            assert abs(compared.optima[end].objective - value) < 1e-6 * 150


def test_one_that_runs_off_keeps_its_row_and_harms_no_other(compared, iris, x64):
    rows = {row["algorithm"]: row for row in compared.table()}
    assert list(rows) == list(CONTENDERS)
    assert rows["runs off"]["failed"] == 6
    assert rows["runs off"]["at best"] == "0 of 6"
    assert rows["EM"]["converged"] == rows["EM"]["same end"] == 6
    without = jaxgmm.compare(KEY, iris, 3, [EM()], restarts=6, tolerance=1e-10)
    same_climb(without.fits["EM"], compared.fits["EM"], rtol=1e-12)
    for a, b in zip(
        jax.tree.leaves(without.fits["EM"].mixture), jax.tree.leaves(compared.fits["EM"].mixture),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    # Medians over common starts are over those of the others only if it is left out.
    assert len(compared.common_starts()) == 0
    assert len(compared.common_starts("EM", "squarem")) >= 3
    assert np.isnan(rows["EM"]["passes to 1e-6"])
    assert without.table()[0]["passes to 1e-6"] <= rows["EM"]["passes"]


def test_table_reads_as_text(compared):
    text = str(compared)
    assert text.startswith("6 starts; the best known optimum has objective")
    for name in CONTENDERS:
        assert f"\n{name}" in text
    assert "priced" not in text  # every pass made all statistics
    assert repr(compared) == "Comparison(EM, squarem, L-BFGS, runs off; 6 starts)"


def test_components_match_in_any_order(compared):
    mixture = lane(compared.fits["EM"].mixture, 0)
    turned = jax.tree.map(lambda leaf: leaf[jnp.array([2, 0, 1])], mixture)
    other = jaxgmm.Mixture(
        mixture.logits, mixture.means + mixture.frame.unwhiten(jnp.full((3, 4), 0.2)),
        mixture.covariance,
    )  # fmt: skip
    one = _parameters(mixture)
    assert distance(one, _parameters(turned)) < 1e-5
    np.testing.assert_allclose(distance(one, _parameters(other)), 0.4, rtol=1e-4)
    assert distance(one, _parameters(other)) > NEAR


def test_the_cost_of_the_own_optimum(compared):
    """Finite from every start, and another where another algorithm found a higher one."""
    names = ("EM", "squarem", "L-BFGS")
    for name in names:
        own = compared.cost(name, to="own")
        for start, trace in enumerate(compared.traces[name]):
            target = compared.optima[compared.optimum[name][start]].objective - 1e-6 * 150
            assert between(*passes_to(compared, trace, target), own[start])
    assert any((compared.cost(name, to="own") < compared.cost(name)).any() for name in names)


def test_optima_at_other_heights_are_others(compared, iris, monkeypatch, x64):
    """However near they lie."""
    monkeypatch.setattr(optima, "distance", lambda known, other, in_order: 0.0)
    again = jaxgmm.compare(KEY, iris, 3, [EM()], restarts=6, tolerance=1e-10)
    steps = np.diff(np.sort(again.objective["EM"]))
    assert not ((steps > 1e-5) & (steps < 1e-2)).any()  # ends at one height, or at others
    assert len(again.optima) == 1 + (steps > 1e-2).sum() >= 3


def test_profiles(compared):
    """Against the costs themselves, counted by hand."""
    names = ("EM", "squarem", "L-BFGS")
    cost = {name: compared.cost(name) for name in CONTENDERS}
    assert np.isinf(cost["runs off"]).all()
    for name in names:
        for start, trace in enumerate(compared.traces[name]):
            ends = [compared.optimum[other][start] for other in names]
            target = compared.optima[min(ends)].objective - 1e-6 * 150
            assert between(*passes_to(compared, trace, target), cost[name][start])
    best = np.min([cost[name] for name in names], axis=0)
    for name, curve in compared.profile().items():
        assert (np.diff(curve.ratio) >= 0).all()
        for ratio, fraction in zip(curve.ratio, curve.fraction, strict=True):
            assert fraction <= np.mean(cost[name] <= ratio * best * (1 + 1e-12))
        if len(curve.fraction):
            assert curve.fraction[-1] == pytest.approx(np.mean(np.isfinite(cost[name])))
    twice = compared.profile(compared, clock="seconds")
    assert len(twice["EM"].ratio) == 2 * len(compared.profile()["EM"].ratio)
    with pytest.raises(ValueError, match="unknown clock"):
        compared.profile(clock="sundial")


def test_each_method_compiles_once(iris):
    made = []
    listen = lambda name, seconds, **_: made.append(seconds) if "backend_compile" in name else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    x, other = iris.astype(np.float32), jax.random.key(9)
    first = jaxgmm.compare(KEY, x, 3, [EM(), SQUAREM()], restarts=3)
    assert sum(first.compile_seconds.values()) > max(made)  # the clock that holds the other
    made.clear()
    again = jaxgmm.compare(other, x + 1, 3, [EM(), SQUAREM()], restarts=3)
    assert not made
    assert again.fits["EM"].objective.dtype == np.float32
    assert again.objective["EM"].dtype == np.float64


def test_starts_side_by_side(iris, x64):
    """Under vmap the same fits, with the time shared out by passes."""
    apart = jaxgmm.compare(KEY, iris, 3, [EM()], restarts=4, tolerance=1e-10)
    beside = jaxgmm.compare(KEY, iris, 3, [EM()], restarts=4, tolerance=1e-10, side_by_side=True)
    same_climb(beside.fits["EM"], apart.fits["EM"], rtol=1e-12)
    np.testing.assert_allclose(beside.objective["EM"], apart.objective["EM"], rtol=1e-8)
    share = beside.seconds["EM"] / beside.fits["EM"].passes
    np.testing.assert_allclose(share, share[0], rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["shards", "stream"])
def test_every_kind_of_rows(kind, iris, x64):
    rows = jaxgmm.Shards(iris) if kind == "shards" else jaxgmm.Stream([iris[:70], iris[70:]])
    run = functools.partial(
        jaxgmm.compare, jax.random.key(2), n_components=2, algorithms=["em"], restarts=2
    )
    found, expected = run(x=rows), run(x=iris)
    np.testing.assert_allclose(found.objective["em"], expected.objective["em"], rtol=1e-10)
    np.testing.assert_allclose(found.em_gain["em"], expected.em_gain["em"], rtol=1e-3, atol=1e-14)
    assert len(found.optima) == len(expected.optima)
    if kind == "stream":
        with pytest.raises(ValueError, match="side_by_side needs rows in memory"):
            run(x=rows, side_by_side=True)


@pytest.mark.thorough
def test_passes_for_the_value_alone_have_a_price_of_their_own(iris, x64):
    search = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20))
    contenders = {"EM": EM(), "backtracking": Gradient(search)}
    found = jaxgmm.compare(KEY, iris, 2, contenders, restarts=2, weight=np.ones(150), prior=None)
    fits, alone = found.fits["backtracking"], found.forward_passes["backtracking"]
    np.testing.assert_array_equal(alone, fits.passes - fits.steps - 1)
    assert not found.forward_passes["EM"].any()
    rows = {row["algorithm"]: row for row in found.table()}
    assert rows["EM"]["priced"] == rows["EM"]["passes"]
    expected = np.median(fits.passes + alone * (found.forward_price - 1))
    np.testing.assert_allclose(rows["backtracking"]["priced"], expected)
    assert found.forward_price > 0


def test_where_nothing_converged(iris, x64):
    """The highest end stands for the optimum, and who reached it is said."""
    found = jaxgmm.compare(KEY, iris, 3, ["em"], restarts=2, max_steps=1)
    assert (found.fits["em"].status == Status.MAX_STEPS).all()
    assert len(found.optima) == 1
    assert found.best_known >= found.objective["em"].max() - 1e-9
    assert found.table()[0]["gap"] > 0


@pytest.mark.thorough
def test_what_overlap_decides(x64):
    """EM's extrapolation costs next to nothing where EM is quick, and halves the passes where
    clusters overlap, as L-BFGS does; on separated clusters no gradient beats EM."""
    contenders = ["em", "squarem", "lbfgs"]
    medians = {}
    for separation in (0.5, 4.0):
        costs = []
        for seed in range(10):
            made = jaxgmm.simulate(
                jax.random.key(seed), 600, 2, 3, separation=separation, eccentricity=4.0
            )
            found = jaxgmm.compare(
                jax.random.key(seed), made.x, 3, contenders, restarts=1,
                tolerance=1e-11, max_steps=4000,
            )  # fmt: skip
            fits = found.fits
            if len(found.common_starts("em", "squarem")):
                assert fits["squarem"].passes[0] <= 1.1 * fits["em"].passes[0] + 3
            if len(found.common_starts()):
                costs.append([found.cost(name)[0] for name in contenders])
        assert len(costs) >= 5
        medians[separation] = np.median(costs, axis=0)
    em, squarem, lbfgs = medians[0.5]
    assert max(squarem, lbfgs) <= em / 2
    em, squarem, lbfgs = medians[4.0]
    assert em <= lbfgs
    assert squarem <= em + 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(algorithms=["simplex"]), "unknown algorithm 'simplex'"),
        (dict(algorithms=[EM(), optax.lbfgs]), "pass an instance with init and move"),
        (dict(algorithms=[EM(), EM()]), "two algorithms are called 'EM'"),
        (dict(algorithms=[]), "algorithms is empty"),
        (dict(restarts=0), "restarts is 0"),
        (dict(features=["a"]), "there are 1 names for"),
        (dict(n_components=200), "distinct"),
        (dict(family="round"), "unknown family"),
        (dict(stopping="late"), "unknown stopping"),
        (dict(prior="flat"), "unknown prior"),
        (dict(tolerance=-1), "tolerance"),
    ],
)
def test_bad_input(change, words, iris):
    given = dict(key=KEY, x=iris.astype(np.float32), n_components=3, algorithms=[EM()]) | change
    with pytest.raises(ValueError, match=words):
        jaxgmm.compare(**given)
