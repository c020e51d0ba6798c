"""Several data sets, budgets, interruptions, and files of comparisons."""

import jax
import numpy as np
import pytest

import jaxgmm
from jaxgmm import Status
from jaxgmm.comparison import budget
from jaxgmm.comparison.medians import judge, median_of, resample

KEY = jax.random.key(2)
rng = np.random.default_rng(0)
SETS = {
    name: np.concatenate([rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + gap]).astype(
        np.float32
    )
    for name, gap in (("apart", 6.0), ("close", 2.0))
}
OPTIONS = dict(restarts=3, max_steps=200)


def run(x=SETS, algorithms=("squarem", "em"), **options):
    return jaxgmm.compare(KEY, x, 2, list(algorithms), **(OPTIONS | options))


@pytest.fixture(scope="module")
def several():
    return run()


def same(one, other):
    for a, b in zip(jax.tree.leaves(one.fits), jax.tree.leaves(other.fits), strict=True):
        np.testing.assert_array_equal(a, b)
    for name in one.fits:
        np.testing.assert_array_equal(one.optimum[name], other.optimum[name])
        np.testing.assert_array_equal(one.objective[name], other.objective[name])


def test_each_set_is_compared_as_alone(several):
    assert list(several) == ["apart", "close"]
    same(several["close"], run(SETS["close"]))
    rows = several.table()
    assert [(row["data"], row["algorithm"]) for row in rows] == [
        (data, name) for data in SETS for name in ("squarem", "em")
    ]
    starts = sum(np.isfinite(each.cost("em")).sum() for each in several.values())
    assert len(several.profile()["em"].ratio) == starts
    assert "winner" in str(several) and repr(several).startswith(
        "Comparisons(apart, close; squarem"
    )


class Interrupt:
    """Raises after some fits, as a user's Ctrl-C does."""

    def __init__(self, after):
        self.after, self.calls, self.expected = after, [], None

    def expect(self, fits):
        self.expected = fits

    def __call__(self, name, start, fit):
        self.calls.append((name, start))
        if len(self.calls) == self.after:
            raise KeyboardInterrupt


def test_the_figure_shows_the_profiles_of_all_sets(several):
    pytest.importorskip("matplotlib")
    ax = several.plot()
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == ["squarem", "em"]
    for name, profile in several.profile().items():
        np.testing.assert_array_equal(lines[name].get_xdata()[1:-1], profile.ratio)
        np.testing.assert_array_equal(lines[name].get_ydata()[1:-1], profile.fraction)
    assert ax.get_ylim()[1] > 1 and ax.get_xlim()[0] == 1


def test_an_interrupted_comparison_goes_on(several, tmp_path):
    path = tmp_path / "fits.npz"
    stop = Interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        run(checkpoint=path, callback=stop)
    assert stop.expected == 12 and stop.calls[-1] == ("apart: em", 1)
    resumed = run(checkpoint=path)
    for name in SETS:
        same(resumed[name], several[name])
    again = run(checkpoint=path)  # nothing runs any more: the times are those in the file
    for name in SETS:
        np.testing.assert_array_equal(again[name].seconds["em"], resumed[name].seconds["em"])
        assert again[name].compile_seconds == resumed[name].compile_seconds
    for change, words in (
        (dict(tolerance=1e-8), "its tolerance: 1e-09, but here 1e-08"),
        (dict(x={"apart": SETS["apart"] + 1, "close": SETS["close"]}), "its starts, its rows"),
        (dict(algorithms=["em", "lbfgs"]), "its algorithm 'lbfgs'"),
    ):
        with pytest.raises(ValueError, match=words):
            run(checkpoint=path, **change)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="not a checkpoint of a comparison"):
        run(checkpoint=path)


def test_saved_comparisons_are_the_same(several, tmp_path):
    for what in (several, several["close"]):
        path = tmp_path / "found.npz"
        what.save(path)
        loaded = jaxgmm.load(path)
        assert type(loaded) is type(what)
        assert str(loaded.table()) == str(what.table())
    same(loaded, several["close"])
    np.testing.assert_array_equal(
        loaded.optima[0].mixture.means, several["close"].optima[0].mixture.means
    )
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["0.seconds.0"] = arrays["0.seconds.0"][:1]
    arrays.pop("0.starts.0")
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="is damaged"):
        jaxgmm.load(path)
    with pytest.raises(ValueError, match="leave them out"):
        jaxgmm.save(path, several, features=["a", "b"])


def test_budgets():
    x = SETS["close"]
    free = run(x, tolerance=0.0)
    capped = run(x, tolerance=0.0, budget="20 passes")
    for name in ("em", "squarem"):
        fits = capped.fits[name]
        assert (fits.passes >= 20).all() and (fits.passes <= 22).all()
        assert (fits.status == Status.MAX_STEPS).all()
        steps = int(fits.steps[0])
        np.testing.assert_allclose(
            fits.history[0][: steps + 1], free.fits[name].history[0][: steps + 1], rtol=1e-6
        )


def test_a_budget_of_seconds(monkeypatch):
    """By a clock that advances by a second whenever it is read: once at the beginning of a fit, and
    after each of its slices."""
    reads = iter(range(10**6))
    monkeypatch.setattr(budget.time, "perf_counter", lambda: float(next(reads)))
    timed = run(SETS["close"], ["em"], tolerance=0.0, max_steps=10**6, budget="3 seconds")
    fits = timed.fits["em"]
    assert (fits.status == Status.MAX_STEPS).all() and (fits.passes == fits.steps + 1).all()
    assert (fits.steps == 3).all()  # three slices, each of a single step at a second a step


def test_medians_and_their_winner():
    """Coverage of the interval, and verdicts on costs whose order is known."""
    values = np.random.default_rng(2).exponential(size=15)
    resampled = np.array([np.median(values[index]) for index in resample(15)])
    count = len(resampled)
    inside = [np.sum(resampled <= end) / count for end in median_of(values)[1:]]
    assert inside[0] >= 0.025 > np.sum(resampled < median_of(values).low) / count
    assert inside[1] >= 0.975 > np.sum(resampled < median_of(values).high) / count
    draws = np.random.default_rng(1).exponential(size=(200, 25))
    covered = [each.low <= np.log(2) <= each.high for each in map(median_of, draws)]
    assert 0.88 < np.mean(covered) < 0.99
    assert median_of([1, 3, np.inf]) == (3, 1, np.inf)
    base = draws[0]
    verdict = judge(
        {"a": base + 1, "b": base, "c": base + 1e-9 * draws[1] - 1e-9, "d": base * np.inf}
    )
    assert verdict == {"a": "", "b": "tied", "c": "wins", "d": ""} or verdict["b"] == "wins"
    assert set(judge({"a": base[:0], "b": base[:0]}).values()) == {""}
    # The order is that of the same starts, whose own costs differ much more.
    assert judge({"a": 100 * base + 0.1, "b": 100 * base}) == {"a": "", "b": "wins"}
    assert judge({"a": base, "b": base}) == {"a": "wins", "b": "tied"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(budget=200), "budget is 200: write a number above 0 and its unit"),
        (dict(budget="200 hours"), "budget is '200 hours'"),
        (dict(budget="-1 passes"), "budget is '-1 passes'"),
        (dict(budget="1 second", side_by_side=True), "starts that run one after another"),
        (dict(x={}), "dictionary of data sets"),
        (dict(weight={"far": np.ones(120)}), "weight has the names"),
    ],
)
def test_bad_input(change, words):
    with pytest.raises(ValueError, match=words):
        run(**change)


def test_progress_of_a_comparison(several, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with jaxgmm.progress() as report:
        report.expect(6)
        for i in range(6):
            report("em", i, several["close"].fits["em"].__class__(None, *[np.float32(3)] * 8))
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith("1 of 6 fits, em, start 1: 3 passes") and told[-1].startswith(
        "6 of 6"
    )
