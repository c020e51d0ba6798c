"""Restarts × K × families: every lane is a fit of its own, and none costs or changes another."""

import dataclasses
import types
import warnings

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import same_climb

import jaxgmm
from jaxgmm import EM, Status
from jaxgmm.batches import lane_batches, lanes
from jaxgmm.fitting.spurious import doubts
from jaxgmm.internal import compiling
from jaxgmm.starts.initialization import split
from jaxgmm.starts.methods import METHODS

KEY = jax.random.key(0)
KS = (1, 2, 3, 4)
# The families without constraints, and two whose components share something.
SOME = ("full", "tied", "diagonal", "spherical", "VEE", "VVE")


@pytest.fixture(scope="module")
def full(iris):
    with jax.enable_x64(True):
        return jaxgmm.sweep(KEY, iris, KS, restarts=5, strategy="full")


def lane(fits, *index):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], fits)


def record_settings(monkeypatch):
    """A list to which every call of a program adds its settings."""
    used, advance = [], lanes.Lanes._advance

    def record(self, settings, *arguments):
        used.append(settings)
        return advance(self, settings, *arguments)

    monkeypatch.setattr(lanes.Lanes, "_advance", record)
    return used


@pytest.mark.parametrize(("k", "restart"), [(2, 0), (3, 4)])
def test_a_lane_is_a_fit_of_its_own(full, k, restart, iris, x64):
    start = jaxgmm.initialize(jax.random.split(KEY, 5)[restart], iris, k)
    alone = jaxgmm.fit(iris, start)
    found = full.fit("full", k, restart)
    assert found.mixture.n_components == k
    np.testing.assert_allclose(found.objective, alone.objective, rtol=1e-10)
    np.testing.assert_allclose(found.mixture.means, alone.mixture.means, rtol=1e-5)
    assert found.steps == len(found.history) - 1
    same_climb(found, alone)


@pytest.mark.thorough
def test_lanes_in_several_groups_are_fits_of_their_own(iris, monkeypatch, x64):
    """Eleven lanes, two on each device at a time, some of them longer than a history's first room."""
    monkeypatch.setattr(lane_batches, "MOST_LANES", 2)
    found = jaxgmm.sweep(KEY, iris, 4, restarts=11, strategy="full")
    steps = found.fits["full"].steps[0]
    assert steps.min() < 32 and steps.max() > lanes.MOST_STEPS_IN_A_CALL
    for restart in (int(np.argmin(steps)), int(np.argmax(steps)), 10):
        start = jaxgmm.initialize(jax.random.split(KEY, 11)[restart], iris, 4)
        alone, beside = jaxgmm.fit(iris, start), found.fit("full", 4, restart)
        assert beside.steps == len(beside.history) - 1
        same_climb(beside, alone)


def test_the_small_group_leads_to_the_same_ends(full, iris, monkeypatch, x64):
    monkeypatch.setattr(lane_batches, "WORTH_COMPILING", 0)
    used = record_settings(monkeypatch)
    again = jaxgmm.sweep(KEY, iris, KS, restarts=5, strategy="full")
    assert {each.lanes for each in used} == {1, 10}  # an eighth of 20 lanes on 2 devices
    same_climb(again.fits["full"], full.fits["full"], rtol=1e-10)


def test_programs_compiled_quickly_lead_to_the_same_ends(full, iris, monkeypatch, x64):
    """A grid over K of so few rows is compiled quickly, one K is not."""
    used = record_settings(monkeypatch)
    jaxgmm.sweep(KEY, iris, KS, restarts=5, strategy="full")
    assert {each.quickly for each in used} == {True}
    monkeypatch.setattr(lane_batches, "LITTLE_TO_RUN", 0)
    used.clear()
    thorough = jaxgmm.sweep(KEY, iris, KS, restarts=5, strategy="full")
    assert {each.quickly for each in used} == {False}
    same_climb(thorough.fits["full"], full.fits["full"], rtol=1e-10)
    assert not compiling._supported(("xla_no_such_option", 1))


@pytest.mark.thorough
def test_spurious_lanes_have_an_artifact(full, iris, x64):
    fits, doubtful = full.fits["full"], full.spurious["full"]
    assert (fits.status == Status.CONVERGED).all()
    prior = jaxgmm.Prior.from_data(iris)
    for at in np.ndindex(doubtful.shape):
        mixture = lane(fits.mixture, *at)
        sums = jaxgmm.e_step(mixture, iris)
        found = doubts(mixture, sums, jnp.cov(iris.T, bias=True), prior, jnp.zeros(4))
        np.testing.assert_array_equal(full.artifact["full"][at], found.artifact)
    assert 0 < doubtful.sum() < doubtful.size
    assert [row["spurious"] for row in full.table()] == list(doubtful.sum(axis=1))


def test_a_spurious_fit_is_best_only_among_its_like(full):
    objective = full.fits["full"].objective[3]  # five local maxima
    order = np.argsort(-objective)
    for n_doubtful, expected in ((0, order[0]), (1, order[1]), (4, order[4]), (5, order[0])):
        artifact = np.zeros_like(full.artifact["full"])
        artifact[3, order[:n_doubtful], 0] = True
        marked = dataclasses.replace(full, artifact={"full": artifact})
        warned = pytest.warns(UserWarning, match="hardly any rows")
        with warned if n_doubtful == 5 else warnings.catch_warnings():
            if n_doubtful < 5:  # what it says of lanes that it refused is not the subject
                warnings.simplefilter("ignore")
            assert marked.best(n_components=4).objective == objective[expected]
        # Spurious lanes above the best are not at it.
        assert marked.table()[3]["at best"] == "1 of 5"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("method", "families"),
    [(method, SOME if method == "k-means++" else ("full",)) for method in METHODS],
    ids=METHODS,
)
def test_starts_do_not_depend_on_the_padding(method, families, iris, x64):
    """For several families at once."""
    found = jaxgmm.sweep(
        KEY, iris, (2, 5), restarts=2, strategy="full", max_steps=0, method=method,
        families=families,
    )  # fmt: skip
    assert list(found.fits) == list(families)
    key = jax.random.split(KEY, 2)[1]
    for family in families:
        start = jaxgmm.initialize(key, iris, 2, method=method, family=family)
        of_sweep = found.fit(family, 2, 1).mixture
        np.testing.assert_allclose(of_sweep.weights, start.weights, rtol=1e-9)
        np.testing.assert_allclose(of_sweep.means, start.means, rtol=1e-9)
        # The order of principal axes is arbitrary.
        np.testing.assert_allclose(of_sweep.covariances, start.covariances, rtol=1e-6, atol=1e-8)


def test_criteria_count_present_components(full, iris, x64):
    for k, row in zip(KS, full.table(), strict=True):
        best = full.best(n_components=k)
        for name in ("aic", "bic", "icl"):
            expected = getattr(jaxgmm, name)(best.mixture, iris)
            np.testing.assert_allclose(row[name.upper()], expected, rtol=1e-9)
        assert row["log-likelihood"] == float(best.log_likelihood)
    assert full.best().mixture.n_components == 2
    assert full.best("aic").objective >= full.best("bic").objective


def test_the_table(full):
    table = full.table()
    assert [row["K"] for row in table] == list(KS)
    assert all(type(row) is dict for row in table)
    assert sum(row["passes"] for row in table) == int(np.sum(full.fits["full"].passes))
    assert all(row["converged"] + row["failed"] == 5 for row in table)
    lines = str(table).splitlines()
    assert len(lines) == len(KS) + 1
    assert lines[0].split() == " ".join(table[0]).split()
    assert "held-out" not in table[0]
    assert repr(full) == "Sweep(full; K = 1, 2, 3, 4; 5 restarts)"


@pytest.mark.thorough
def test_halving_finds_what_all_find_for_less(iris, x64):
    run = lambda strategy: jaxgmm.sweep(KEY, iris, range(1, 7), restarts=32, strategy=strategy)
    every, halved = run("full"), run("halving")
    assert np.sum(halved.fits["full"].passes) < 0.35 * np.sum(every.fits["full"].passes)
    for k in (1, 2, 3, 4):
        gap = every.best(n_components=k).objective - halved.best(n_components=k).objective
        assert gap < 1e-3
    fits = halved.fits["full"]
    assert fits.status.shape == fits.objective.shape == (6, 32 + 4)
    begun = fits.passes > 0
    assert (begun.sum(axis=1) == [32, 33, 34, 35, 36, 36]).all()  # at most K − 1 can be split
    assert set(np.unique(fits.status[begun])) == {Status.CONVERGED, Status.DROPPED}
    assert np.isfinite(fits.objective[begun]).all()
    assert (fits.objective[~begun] == -np.inf).all()
    dropped = begun & (fits.status == Status.DROPPED)
    assert (fits.steps[dropped] <= 4 + 12 + 32).all()
    assert dropped[1:].any(axis=1).all()


def test_a_split_keeps_the_mean_and_the_rest(family, iris, x64):
    mixture = jaxgmm.initialize(KEY, iris, 3, family=family)
    leaves = lambda leaf: leaf if len(leaf) == 1 else jnp.concatenate([leaf, leaf[:1]])
    padded = jax.tree.map(leaves, mixture)
    padded = dataclasses.replace(padded, logits=padded.logits.at[3].set(-jnp.inf))
    halves = jax.jit(split)(padded, 1)
    assert halves.present.all()
    np.testing.assert_allclose(halves.weights[1] + halves.weights[3], mixture.weights[1])
    np.testing.assert_allclose((halves.means[1] + halves.means[3]) / 2, mixture.means[1])
    apart = np.asarray(halves.means[3] - halves.means[1])
    length = apart @ np.asarray(mixture.precisions[1]) @ apart
    np.testing.assert_allclose(length, 1, rtol=1e-9)
    if family in ("full", "tied"):
        longest = np.linalg.eigh(mixture.covariances[1])[1][:, -1]
        assert abs(apart @ longest) > 0.99 * np.linalg.norm(apart)
    np.testing.assert_allclose(halves.covariances[3], mixture.covariances[1], rtol=1e-9)
    np.testing.assert_allclose(halves.means[0], mixture.means[0])


@dataclasses.dataclass(frozen=True)
class Poisoned(EM):
    """EM that turns to NaN where it has made three steps from a mixture of low likelihood."""

    below: float = -np.inf

    def init(self, mixture, statistics):
        return jnp.int32(0), statistics.log_likelihood < self.below

    def move(self, mixture, state, statistics, evaluate, prior):
        mixture, _, sums, passes = super().move(mixture, (), statistics, evaluate, prior)
        bad = state[1] & (state[0] >= 3)
        mixture = dataclasses.replace(mixture, means=jnp.where(bad, jnp.nan, mixture.means))
        return mixture, (state[0] + 1, state[1]), sums, passes


def test_a_failing_lane_changes_no_other(full, iris, x64):
    sound = full.fits["full"]
    poisoned = jaxgmm.sweep(
        KEY, iris, KS, restarts=5, strategy="full", algorithm=Poisoned(-240.0)
    ).fits["full"]
    failed = np.asarray(poisoned.status) == Status.NONFINITE
    assert 0 < failed.sum() < failed.size
    # Two programs: equal to rounding.
    one, other = (jax.tree.map(lambda a: np.asarray(a)[~failed], f) for f in (sound, poisoned))
    same_climb(one, other)
    chex.assert_trees_all_close(one.mixture, other.mixture, rtol=1e-4, atol=1e-4)
    assert (np.asarray(poisoned.steps)[failed] == 3).all()
    assert np.isfinite(np.asarray(poisoned.objective)).all()


def test_two_devices_are_as_good_as_one(full, iris, x64):
    assert len(jax.local_devices()) == 2
    one = jaxgmm.sweep(KEY, iris, KS, restarts=5, strategy="full", devices=jax.local_devices()[:1])
    np.testing.assert_allclose(one.fits["full"].objective, full.fits["full"].objective, rtol=1e-9)
    np.testing.assert_array_equal(one.fits["full"].status, full.fits["full"].status)


def test_two_programs_then_none(iris):
    made = []
    listen = lambda name, seconds, **_: made.append(name) if "backend_compile" in name else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    x = iris.astype(np.float32)
    run = lambda x: jaxgmm.sweep(jax.random.key(1), x, range(1, 6), restarts=7)
    run(x[:100])  # what NumPy arrays and keys need is compiled
    made.clear()
    run(x)
    assert 0 < len(made) <= 3
    made.clear()
    run(x + 1)
    run(x[:149])  # nearby n share the programs
    assert not made


@pytest.mark.thorough
def test_the_shared_kernel_leads_to_the_same_ends(iris, monkeypatch):
    """In float32 lanes climb by the natural kernel beyond where it is safe, and end without it."""
    monkeypatch.setattr(lane_batches, "LITTLE_WORK", 0)
    x = iris.astype(np.float32)
    run = lambda kernel: jaxgmm.sweep(KEY, x, (2, 3), restarts=6, strategy="full", kernel=kernel)
    shared, careful = run("auto").fits["full"], run("whitened").fits["full"]
    assert (shared.status == Status.CONVERGED).all()
    np.testing.assert_allclose(shared.objective, careful.objective, atol=1e-6 * len(x))
    for at, k, row in ((0, 2, 1), (1, 3, 4)):
        with jax.enable_x64(True):
            one = lane(shared.mixture, at, row)
            wide = jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[:k], jnp.float64), one)
            truth = float(jaxgmm.log_likelihood(wide, np.asarray(x, float)))
        assert abs(float(shared.log_likelihood[at, row]) - truth) < 1e-6 * len(x)


@pytest.mark.thorough
def test_weights_are_repeated_rows(iris, x64):
    weight = np.random.default_rng(0).integers(0, 3, len(iris))
    run = lambda x, **given: jaxgmm.sweep(KEY, x, (1, 2), restarts=6, **given)
    weighted, repeated = run(iris, weight=weight), run(np.repeat(iris, weight, axis=0))
    for a, b in zip(weighted.table(), repeated.table(), strict=True):
        for name in ("log-likelihood", "BIC", "ICL"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-9)


@pytest.mark.thorough
def test_rows_left_out(iris, x64):
    found = jaxgmm.sweep(KEY, iris, (1, 3), restarts=4, strategy="full", folds=3)
    shuffle = np.random.default_rng(np.asarray(jax.random.key_data(KEY))).permutation
    fold = shuffle(1 + np.arange(len(iris)) % 3)
    total = 0
    for out in (1, 2, 3):
        fit = jaxgmm.fit(
            iris, jaxgmm.initialize(KEY, iris, 1, weight=fold != out), weight=fold != out
        )
        total += jaxgmm.log_likelihood(fit.mixture, iris[fold == out])
    np.testing.assert_allclose(found.table()[0]["held-out"], total, rtol=1e-9)
    assert found.table()[1]["held-out"] > total
    assert found.best("held-out").mixture.n_components == 3
    np.testing.assert_allclose(found.best(n_components=1).mixture.means[0], iris.mean(axis=0))


@pytest.mark.thorough
def test_families_algorithms_and_priors(iris, x64):
    families = ("tied", "diag")
    found = jaxgmm.sweep(
        KEY, iris, (2, 3), restarts=3, families=families, prior=None,
        algorithm=jaxgmm.Gradient(optax.adam, learning_rate=0.1), max_steps=400, tolerance=1e-7,
    )  # fmt: skip
    assert list(found.fits) == ["tied", "diagonal"]
    assert [(row["family"], row["K"]) for row in found.table()] == [
        ("tied", 2), ("tied", 3), ("diagonal", 2), ("diagonal", 3),
    ]  # fmt: skip
    assert found.best().mixture.family == "tied"
    assert found.best(family="diag").mixture.family == "diagonal"
    # published: tests/objective/test_m_step.py
    np.testing.assert_allclose(
        found.best(family="tied", n_components=3).log_likelihood, -256.354, atol=0.01
    )


def test_a_number_of_components_beyond_the_rows(iris, x64):
    x = np.repeat(iris[:4], 38, axis=0)[:150]
    found = jaxgmm.sweep(KEY, x, (*KS, 7), restarts=5, strategy="full")
    assert found.impossible == (7,)
    assert [row["K"] for row in found.table()] == [*KS, 7]
    assert found.table()[4]["at best"] == "too few distinct rows"
    assert "too few distinct rows" in str(found.table())
    with pytest.raises(ValueError, match="5 components need 5 distinct rows"):
        jaxgmm.sweep(KEY, x, 5)


@pytest.mark.thorough
def test_halving_counts_only_lanes_that_ended():
    """One Gaussian, 40 rows: folds in which all begun lanes of a K are spurious. A lane that was
    never begun says nothing of the rows left out."""
    x = np.random.default_rng(12).normal(size=(40, 2)).astype(np.float32)
    key = jax.random.key(12)
    halved = jaxgmm.sweep(key, x, (1, 2, 3, 4, 5), restarts=8, folds=5)
    whole = jaxgmm.sweep(key, x, (1, 2, 3, 4, 5), restarts=8, folds=5, strategy="full")
    assert halved.best("held-out").mixture.n_components == 1
    assert (halved.held_out["full"] < whole.held_out["full"] + 10)[1:].all()
    fits = halved.fits["full"]
    unbegun = fits.passes == 0
    assert unbegun.any() and (fits.log_likelihood[unbegun] == -np.inf).all()


def test_what_leads_a_cell_has_ended():
    """The lanes that went on end spurious, so that one leads that was dropped when it was not."""
    x = np.random.default_rng(0).normal(size=(40, 1)).astype(np.float32)
    found = jaxgmm.sweep(jax.random.key(0), x, (1, 2, 3), restarts=4)
    for k in found.n_components:
        assert found.fit("full", k).status in (Status.CONVERGED, Status.MAX_STEPS)


@pytest.mark.thorough
def test_a_fold_that_leaves_too_few_rows():
    x = np.array([[0.0], [1.0], [2.2], [4.0], [9.0]], np.float32)
    found = jaxgmm.sweep(jax.random.key(3), x, (2, 4, 5), restarts=2, folds=5)
    held_out = found.held_out["full"]
    assert np.isfinite(held_out[:2]).all() and held_out[1] < 0 and np.isnan(held_out[2])
    assert found.table()[2]["held-out"] != found.table()[2]["held-out"]
    weight = np.r_[np.ones(3), np.zeros(2)]
    found = jaxgmm.sweep(jax.random.key(3), x, 3, restarts=2, folds=2, weight=weight)
    assert np.isnan(found.held_out["full"]).all()


def test_when_every_fit_fails(iris, x64):
    x = np.c_[iris[:, :3], np.ones(150)]
    found = jaxgmm.sweep(KEY, x, KS, restarts=5, strategy="full")
    assert [row["failed"] for row in found.table()] == [5] * len(KS)
    with pytest.warns(UserWarning, match="every fit failed"):
        assert found.best().status == Status.DEGENERATE


@pytest.mark.thorough
def test_a_number_of_components_without_a_sound_fit_yields(x64):
    """Two components, one on rows that are all the same, climb without bound: their BIC is the
    lower one wherever they are stopped, and they are not the best."""
    cloud = np.random.default_rng(0).normal(size=(100, 2))
    x = np.concatenate([cloud, np.full((20, 2), 6.0)])
    found = jaxgmm.sweep(KEY, x, (1, 2), restarts=3, prior=None, strategy="full")
    one, two = found.table()
    assert two["failed"] == 3 and np.isnan(two["BIC"])  # criteria of failed fits are not shown
    height = found.fits["full"].log_likelihood[1].max()
    assert jaxgmm.n_parameters(found.fit("full", 2).mixture) * np.log(120) - 2 * height < one["BIC"]
    with pytest.warns(UserWarning, match="Every fit with K = 2 failed"):
        best = found.best()
    assert best.mixture.n_components == 1 and found.chosen() == (0, "full", 1)
    with pytest.warns(UserWarning, match="every fit failed"):
        assert found.best(n_components=2).status == Status.DEGENERATE


@pytest.mark.thorough
def test_a_start_that_is_not_finite(iris, x64):
    prior = jaxgmm.Prior(strength=1.0, scatter=1e308 * np.eye(4))  # overflows
    found = jaxgmm.sweep(KEY, iris, 2, restarts=2, prior=prior, strategy="full")
    fits, table = found.fits["full"], found.table()
    assert (fits.status == Status.NONFINITE).all() and table[0]["failed"] == 2
    assert (fits.steps == 0).all() and (fits.passes == 1).all()
    assert np.isfinite(fits.mixture.means).all() and (fits.objective == -np.inf).all()
    with pytest.warns(UserWarning, match="every fit failed"):
        best = found.best()
    assert best.history.tolist() == [-np.inf] and best.history_passes.tolist() == [1]


def test_calls_that_are_not_meant(full):
    with pytest.raises(ValueError, match="its own best"):
        jaxgmm.best(full)
    with pytest.raises(ValueError, match="outside jit and vmap"):
        jax.vmap(lambda key: jaxgmm.sweep(key, np.eye(3), 1).total_weight)(jax.random.split(KEY))
    assert full.fit("full", 3.0, 1.0).mixture.n_components == 3
    with pytest.raises(ValueError, match="n_components"):
        full.fit("full", True)


@pytest.mark.thorough
def test_progress_and_interrupts(iris, monkeypatch):
    seen = []
    monkeypatch.setattr(lanes, "REPORT_SECONDS", 1e9)  # as if every step were quick
    run = lambda callback: jaxgmm.sweep(
        KEY, iris.astype(np.float32), 3, restarts=3, strategy="full", callback=callback
    )
    found = run(seen.append)
    assert seen[-1].running == 0
    assert seen[-1].lanes == 3
    assert [p.passes for p in seen] == sorted(p.passes for p in seen)
    assert len(seen) < int(np.max(found.fits["full"].steps))  # quick steps are not told one by one
    seen.clear()
    monkeypatch.setattr(lanes, "REPORT_SECONDS", 0)  # as if every step were slow
    slow = run(seen.append)
    assert len(seen) == int(np.max(slow.fits["full"].steps))
    same_climb(slow.fits["full"], found.fits["full"], rtol=1e-6, end_rtol=1e-6)

    def interrupt(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupt)
    same_climb(run(seen.append).fits["full"], found.fits["full"], rtol=1e-6, end_rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(n_components=[]), "n_components is empty"),
        (dict(n_components=[2, 3, 2]), "n_components lists 2 more than once"),
        (dict(n_components=[0]), "n_components is 0"),
        (dict(n_components="many"), "n_components is 'many'"),
        (dict(restarts=0), "restarts is 0"),
        (dict(families=()), "families is empty"),
        (dict(families=("full", "round")), "unknown family 'round'"),
        (dict(families=("diag", "diagonal")), "families lists 'diagonal' more than once"),
        (dict(strategy="best"), "unknown strategy 'best'"),
        (dict(folds=1), "folds is 1"),
        (dict(folds=151), "folds is 151"),
        (dict(method="guess"), "unknown method 'guess'"),
        (dict(key=jax.random.split(KEY)), "key is not one JAX random key"),
        (dict(tolerance=-1), "tolerance is -1"),
        (dict(callback=3), "callback"),
        (dict(algorithm="simplex"), "unknown algorithm 'simplex'"),
        (dict(devices=[]), "devices is empty"),
        (dict(devices="cpu"), "devices is 'cpu'"),
        (dict(devices=5), "devices is 5"),
        (dict(devices=2 * jax.local_devices()), "a device twice"),
        (dict(families=None), "families is None"),
    ],
)
def test_bad_input(arguments, words, iris):
    given = dict(key=KEY, x=iris.astype(np.float32), n_components=2) | arguments
    with pytest.raises(ValueError, match=words):
        jaxgmm.sweep(**given)


def test_bad_questions(full):
    for question, words in (
        (dict(criterion="best"), "unknown criterion 'best'"),
        (dict(criterion="held-out"), "left no rows out"),
        (dict(family="tied"), "unknown family of this sweep 'tied'"),
        (dict(n_components=9), "this sweep has no K = 9"),
    ):
        with pytest.raises(ValueError, match=words):
            full.best(**question)
    for question, words in (
        (("tied", 2), "unknown family of this sweep 'tied'"),
        (("full", 9), "this sweep has no K = 9"),
        (("full", 2, 5), "lane is 5: it must be a whole number, 0 to 4"),
    ):
        with pytest.raises(ValueError, match=words):
            full.fit(*question)


@pytest.mark.thorough
def test_compile_seconds_are_right_after_the_caches_are_cleared(iris, monkeypatch):
    """By a clock that only compiling moves."""
    compiled = []
    listen = lambda name, _, **__: compiled.append(name) if "backend_compile" in name else None
    jax.monitoring.register_event_duration_secs_listener(listen)
    clock = types.SimpleNamespace(perf_counter=lambda: float(len(compiled)))
    x = iris.astype(np.float32)
    sweep = lambda: jaxgmm.sweep(KEY, x, 3, restarts=3, strategy="full")
    run = lambda: sweep().compile_seconds["full"]
    run()
    monkeypatch.setattr(lanes, "time", clock)
    assert run() == 0
    jax.clear_caches()
    assert run() >= 2
