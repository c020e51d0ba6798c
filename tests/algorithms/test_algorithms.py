"""Algorithms beside EM and plain gradients: the optimum of EM, their own laws, the count of passes."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import same_climb

import jaxgmm
from jaxgmm import EM, SQUAREM, GainBelow, Gradient, OverrelaxedEM, StepwiseEM, Stochastic, Then


class OwnMove(EM):
    """EM whose move needs the statistics of its first mixture."""

    def move(self, mixture, state, statistics, evaluate, prior):
        moved = jaxgmm.m_step(mixture, statistics, prior)
        return moved, state, evaluate(moved), 1


class Inherited(OwnMove):
    pass


class Mixed:
    move = OwnMove.move


class MixedIn(Mixed, EM):
    pass


class Declared(OwnMove):
    starts_without_pass = True


class Renamed(EM):
    pass


@pytest.mark.thorough
def test_only_em_itself_starts_without_a_pass(iris, x64):
    """A subclass of EM with another move does not inherit the start without statistics."""
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    plain = jaxgmm.fit(iris, start, max_steps=8, tolerance=0.0)
    for kind in (OwnMove, Inherited, MixedIn, Renamed):
        fit = jaxgmm.fit(iris, start, kind(), max_steps=8, tolerance=0.0)
        assert (fit.steps, fit.passes) == (plain.steps, plain.passes)
        np.testing.assert_allclose(fit.history, plain.history, rtol=1e-12)
    flags = [kind.starts_without_pass for kind in (EM, Renamed, OwnMove, Inherited, MixedIn)]
    assert flags == [True, True, False, False, False]
    assert Declared.starts_without_pass
    for algorithm in (SQUAREM(), StepwiseEM(), Then(EM(), SQUAREM()), Stochastic(StepwiseEM())):
        assert not getattr(algorithm, "starts_without_pass", False)


def leaves_close(a, b, atol):
    chex.assert_trees_all_close(a, b, rtol=atol, atol=atol)


@pytest.mark.parametrize("algorithm", [SQUAREM(), OverrelaxedEM()], ids=["squarem", "overrelaxed"])
def test_accelerated_em(algorithm, family, iris, x64):
    """The optimum of EM in fewer passes, never falling, and every pass counted."""
    start = jaxgmm.initialize(jax.random.key(0), iris, 3, family=family)
    plain = jaxgmm.fit(iris, start, tolerance=1e-11)
    quick = jaxgmm.fit(iris, start, algorithm, tolerance=1e-11)
    assert plain.converged
    assert quick.converged
    assert abs(float(quick.objective - plain.objective)) < 1e-6 * len(iris)
    assert quick.passes == quick.steps + 1
    assert quick.passes < 1.1 * plain.passes + 3
    assert np.diff(quick.history).min() > -1e-10 * abs(float(quick.objective))
    recomputed = jaxgmm.log_likelihood(quick.mixture, iris)
    np.testing.assert_allclose(quick.log_likelihood, recomputed, rtol=1e-12)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "algorithm",
    [SQUAREM(), OverrelaxedEM(4.0), Then(EM(), Gradient(optax.lbfgs))],
    ids=["squarem", "overrelaxed", "then"],
)
def test_passes_are_counted(algorithm, iris, passes_taken):
    """Against a counter in the pass itself; trials that were not taken count."""
    x = (iris + np.random.default_rng(0).normal(size=iris.shape)).astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    passes_taken.clear()
    fit = jaxgmm.fit(x, start, algorithm, max_steps=30, tolerance=0.0)
    jax.block_until_ready(fit)
    jax.effects_barrier()
    assert len(passes_taken) == int(fit.passes) == int(fit.history_passes[-1])


def test_squarem_begins_as_em(family, iris, x64):
    """The first extrapolation may reach no farther than two EM steps."""
    start = jaxgmm.initialize(jax.random.key(1), iris, 3, family=family)
    plain = jaxgmm.fit(iris, start, max_steps=2, tolerance=0.0)
    quick = jaxgmm.fit(iris, start, SQUAREM(), max_steps=2, tolerance=0.0)
    np.testing.assert_allclose(quick.history, plain.history, rtol=1e-12)
    leaves_close(quick.mixture, plain.mixture, 1e-9)


def test_accelerated_em_ignores_units(iris, x64):
    matrix = np.diag([1e-3, 1.0, 50.0, 1e4])
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    mapped = jaxgmm.Mixture.from_parameters(
        start.weights, start.means @ matrix, matrix @ start.covariances @ matrix
    )
    for algorithm in (SQUAREM(), OverrelaxedEM()):
        plain = jaxgmm.fit(iris, start, algorithm, max_steps=12, tolerance=0.0)
        other = jaxgmm.fit(iris @ matrix, mapped, algorithm, max_steps=12, tolerance=0.0)
        volume = 150 * np.linalg.slogdet(matrix)[1]
        np.testing.assert_allclose(other.log_likelihood + volume, plain.log_likelihood, rtol=1e-8)


def test_a_trial_not_taken_costs_a_pass_and_changes_nothing(iris, x64):
    """Steps twice as long each time must fail; then the fit stays, and EM's step is next."""
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    fit = jaxgmm.fit(iris, start, OverrelaxedEM(growth=4.0), max_steps=40, tolerance=0.0)
    change = np.diff(np.asarray(fit.history))
    refused = np.flatnonzero(change == 0)
    assert len(refused) > 0
    assert (change[refused[refused < len(change) - 1] + 1] > 0).all()
    np.testing.assert_array_equal(np.diff(fit.history_passes), 1)
    relative = jaxgmm.fit(
        iris, start, OverrelaxedEM(growth=4.0), stopping="relative", tolerance=1e-12
    )
    assert relative.converged
    assert relative.steps > refused[0] + 1
    assert relative.em_gain < 1e-8


def test_an_extrapolation_too_far_is_not_taken(x64):
    """On one cloud of rows SQUAREM's path is long and crooked."""
    x = np.random.default_rng(0).normal(size=(300, 2))
    start = jaxgmm.initialize(jax.random.key(0), x, 3)
    fit = jaxgmm.fit(x, start, SQUAREM(), max_steps=200, tolerance=0.0)
    change = np.diff(np.asarray(fit.history))
    assert (change == 0).sum() > 10
    assert change.min() > -1e-10 * abs(float(fit.objective))
    np.testing.assert_array_equal(np.diff(fit.history_passes), 1)


def test_overrelaxed_em_without_growth_is_em(iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    plain = jaxgmm.fit(iris, start, max_steps=10, tolerance=0.0)
    same = jaxgmm.fit(iris, start, OverrelaxedEM(growth=1.0), max_steps=10, tolerance=0.0)
    np.testing.assert_allclose(same.history, plain.history, rtol=1e-13)


PRIORS = {
    "likelihood": lambda x: None,
    "default": jaxgmm.Prior.from_data,
    "all": lambda x: jaxgmm.Prior(2.0, np.cov(x.T), 1.5, np.mean(x, axis=0) + 0.1, 1.0),
}


@pytest.mark.parametrize("prior", PRIORS)
def test_em_out_of_the_gradient(prior, family, iris, x64):
    """scale_by_em alone is EM, step for step, in a plain optax loop."""
    prior = PRIORS[prior](iris)
    mixture = em = jaxgmm.initialize(jax.random.key(0), iris, 3, family=family)
    transformation = jaxgmm.scale_by_em(150, prior)
    state = transformation.init(mixture)

    def objective(mixture):
        return jaxgmm.log_likelihood(mixture, iris) + jaxgmm.log_prior(mixture, prior)

    @jax.jit
    def step(mixture, state):
        updates, state = transformation.update(jax.grad(objective)(mixture), state, mixture)
        return optax.apply_updates(mixture, updates), state

    for _ in range(3):
        mixture, state = step(mixture, state)
        em = jaxgmm.m_step(em, jaxgmm.e_step(em, iris), prior)
        leaves_close(mixture, em, 1e-11)


@pytest.mark.thorough
@pytest.mark.parametrize("prior", ["default", None, PRIORS["all"]], ids=["default", "none", "all"])
def test_em_out_of_the_gradient_in_a_fit(prior, iris, x64):
    """There the fit's own prior counts, about the rows' own center."""
    prior = prior(iris) if callable(prior) else prior
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    by_gradient = Gradient(
        optax.chain(optax.scale(-150.0), jaxgmm.scale_by_em(150)), coordinates="leaves"
    )
    plain = jaxgmm.fit(iris, start, prior=prior, max_steps=10, tolerance=0.0)
    other = jaxgmm.fit(iris, start, by_gradient, prior=prior, max_steps=10, tolerance=0.0)
    np.testing.assert_allclose(other.history, plain.history, rtol=1e-12)
    leaves_close(other.mixture, plain.mixture, 1e-9)


@pytest.mark.thorough
def test_momentum_and_line_search_on_top_of_em(iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    plain = jaxgmm.fit(iris, start)
    base = optax.scale(-150.0), jaxgmm.scale_by_em(150)
    search = optax.scale_by_backtracking_linesearch(10, store_grad=True)
    for extra in (optax.trace(0.3), search):
        fit = jaxgmm.fit(iris, start, Gradient(optax.chain(*base, extra), coordinates="leaves"))
        assert fit.converged
        assert abs(float(fit.objective - plain.objective)) < 1e-6 * 150


@pytest.mark.thorough
def test_an_absent_component_stays_absent(iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 3)
    padded = jaxgmm.Mixture(
        jnp.append(start.logits, -jnp.inf), jnp.append(start.means, start.means[:1], axis=0),
        jax.tree.map(lambda leaf: jnp.append(leaf, leaf[:1], axis=0), start.covariance),
    )  # fmt: skip
    em_of_gradient = optax.chain(optax.scale(-150.0), jaxgmm.scale_by_em(150))
    for algorithm in (
        SQUAREM(),
        OverrelaxedEM(),
        StepwiseEM(decay=0.0),
        Gradient(em_of_gradient, coordinates="leaves"),
    ):
        own = jaxgmm.fit(iris, start, algorithm, max_steps=9, tolerance=0.0)
        fit = jaxgmm.fit(iris, padded, algorithm, max_steps=9, tolerance=0.0)
        assert fit.mixture.weights[3] == 0
        np.testing.assert_allclose(fit.history, own.history, rtol=1e-10)


# ---- minibatches -------------------------------------------------------------------------------


@pytest.mark.thorough
def test_stepwise_em_without_decay_is_em(family, iris, x64):
    start = jaxgmm.initialize(jax.random.key(0), iris, 3, family=family)
    plain = jaxgmm.fit(iris, start, max_steps=8, tolerance=0.0)
    one_batch = Stochastic(StepwiseEM(decay=0.0), batch_rows=150)
    for algorithm in (StepwiseEM(decay=0.0), one_batch):
        same = jaxgmm.fit(iris, start, algorithm, max_steps=8, tolerance=0.0)
        np.testing.assert_allclose(same.history, plain.history, rtol=1e-11)
    assert same.passes == 1 + 2 * 8  # the batch, and the pass that judges


@pytest.mark.thorough
def test_stepwise_em_converges_to_where_em_stays(family, iris, x64):
    """Its own statistics are those at which an M-step stays, whatever the prior."""
    prior = PRIORS["all"](iris)
    optimum = jaxgmm.fit(
        iris, jaxgmm.initialize(jax.random.key(0), iris, 3, family=family), SQUAREM(),
        prior=prior, tolerance=1e-15,
    ).mixture  # fmt: skip
    stayed = jaxgmm.fit(iris, optimum, StepwiseEM(), prior=prior, max_steps=5, tolerance=0.0)
    leaves_close(stayed.mixture, optimum, 1e-5)


ONLINE = {
    "online EM": Stochastic(StepwiseEM(), batch_rows=100),
    "stochastic Adam": Stochastic(Gradient(optax.adam, learning_rate=0.01), batch_rows=100),
}


@pytest.mark.parametrize("algorithm", ONLINE)
def test_minibatches(algorithm, passes_taken):
    """Near the optimum after a few epochs; passes counted in the parts that were looked at; rows of
    weight 0 count for nothing."""
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]])
    x = (centers[rng.integers(3, size=2050)] + rng.normal(size=(2050, 2))).astype(np.float32)
    x[2020:] = 1e3
    weight = np.repeat([1.0, 0.0], [2020, 30]).astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x[:2020], 3)
    plain = jaxgmm.fit(x, start, weight=weight)
    passes_taken.clear()
    fit = jaxgmm.fit(x, start, ONLINE[algorithm], weight=weight, max_steps=20, tolerance=0.0)
    jax.block_until_ready(fit)
    jax.effects_barrier()
    assert len(passes_taken) == 1 + 20 * (2020 // 100 + 1)
    np.testing.assert_allclose(fit.passes, 1 + 20 * (1 + 2000 / 2020), rtol=1e-6)
    assert float(plain.objective - fit.objective) / 2020 < 5e-3
    assert fit.status == jaxgmm.Status.MAX_STEPS


def test_a_minibatch_stands_for_all_rows(x64):
    """Against the prior it weighs as much as they do."""
    x = np.full((100, 2), 3.0)
    start = jaxgmm.Mixture.from_parameters([1.0], [[3.0, 3.0]], np.eye(2)[None])
    prior = jaxgmm.Prior(strength=50.0, scatter=50 * np.eye(2))
    online = Stochastic(StepwiseEM(decay=0), batch_rows=10)
    fit = jaxgmm.fit(x, start, online, prior=prior, max_steps=1, tolerance=0.0)
    np.testing.assert_allclose(fit.mixture.covariances[0], np.eye(2) * 50 / 150, atol=1e-12)


@pytest.mark.thorough
def test_minibatches_come_in_another_order_by_seed(iris):
    x = iris.astype(np.float32)
    start = jaxgmm.initialize(jax.random.key(0), x, 2)
    ends = [
        jaxgmm.fit(x, start, Stochastic(StepwiseEM(), 16, seed), max_steps=2, tolerance=0.0)
        for seed in (0, 0, 1)
    ]
    np.testing.assert_allclose(ends[0].objective, ends[1].objective, rtol=1e-6)
    assert abs(ends[0].objective - ends[2].objective) > 1e-3


# ---- one, then the other -----------------------------------------------------------------------


def test_one_algorithm_then_another(iris, x64):
    """EM up to the switch, and from there what the second does from that mixture."""
    start = jaxgmm.initialize(jax.random.key(3), iris, 3)
    plain = jaxgmm.fit(iris, start, max_steps=40, tolerance=0.0)
    gains = [float(jaxgmm.fit(iris, start, max_steps=i, tolerance=0.0).em_gain) for i in range(9)]
    switch = 6
    threshold = np.sqrt(gains[switch] * gains[switch - 1])
    assert min(gains[:switch]) > threshold > gains[switch]
    both = Then(EM(), SQUAREM(), GainBelow(threshold), least=0)
    fit = jaxgmm.fit(iris, start, both, max_steps=20, tolerance=0.0)
    first = jaxgmm.fit(iris, start, max_steps=switch, tolerance=0.0)
    second = jaxgmm.fit(iris, first.mixture, SQUAREM(), max_steps=20 - switch, tolerance=0.0)
    np.testing.assert_allclose(fit.history[: switch + 1], plain.history[: switch + 1], rtol=1e-12)
    np.testing.assert_allclose(fit.history[switch:], second.history, rtol=1e-10)


@pytest.mark.thorough
def test_em_while_it_is_quick(iris, x64):
    """The default rule keeps to EM on clusters that lie apart, and leaves it where they overlap."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(600, 2))
    apart = noise + 12 * np.array([[1, 0], [0, 1], [-1, 0]])[rng.integers(3, size=600)]
    algorithm = Then(EM(), Gradient(optax.lbfgs))
    for x, same in ((apart, True), (noise, False)):
        start = jaxgmm.initialize(jax.random.key(0), x, 3)
        plain = jaxgmm.fit(x, start, tolerance=1e-11)
        fit = jaxgmm.fit(x, start, algorithm, tolerance=1e-11)
        assert fit.converged
        if same:
            same_climb(fit, plain)
        else:
            assert fit.steps < plain.steps - 10
        assert fit.passes <= plain.passes


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: SQUAREM(growth=0.5), "growth is 0.5"),
        (lambda: OverrelaxedEM(growth=np.nan), "growth is nan"),
        (lambda: StepwiseEM(decay=2), "decay is 2"),
        (lambda: StepwiseEM(decay="fast"), "decay is 'fast'"),
        (lambda: Stochastic(EM()), "cannot run over minibatches"),
        (lambda: Stochastic(Gradient(optax.lbfgs)), "cannot run over minibatches"),
        (lambda: Stochastic(StepwiseEM(), batch_rows=0), "batch_rows is 0"),
        (lambda: Then(EM(), optax.lbfgs), "pass an instance with init and move"),
        (lambda: Then(EM(), EM(), when=0.5), "when is 0.5"),
        (lambda: GainBelow(-1.0), "threshold is -1.0"),
        (lambda: jaxgmm.SlowerThan(1.5), "rate is 1.5"),
        (lambda: jaxgmm.scale_by_em(0), "total_weight is 0"),
    ],
)
def test_bad_settings(made, words):
    with pytest.raises(ValueError, match=words):
        made()


def test_scale_by_em_where_it_does_not_belong(iris):
    transformation = jaxgmm.scale_by_em(150)
    with pytest.raises(ValueError, match="needs params, a Mixture"):
        transformation.update(jnp.ones(3), transformation.init(None), jnp.ones(3))
    start = jaxgmm.initialize(jax.random.key(0), iris.astype(np.float32), 2)
    with pytest.raises(ValueError, match="not of relative"):
        jaxgmm.fit(iris.astype(np.float32), start, Gradient(transformation))
