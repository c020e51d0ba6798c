"""Families that users define: the AR(1) family of the page, and what is said of faulty ones."""

import every_family
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

import jaxgmm
from jaxgmm import Mixture
from jaxgmm.internal.pytrees import pytree

K, D = 2, 4


@pytest.fixture(scope="module", autouse=True)
def _table():
    """Leaves the table of families as it was."""
    before = dict(jaxgmm.FAMILIES)
    yield
    jaxgmm.FAMILIES.clear()
    jaxgmm.FAMILIES.update(before)


def rows(n=120):
    """Two clusters of series with correlations 0.8 and −0.5."""
    random, x = np.random.default_rng(0), []
    for rho, scale, center in ((0.8, 1.0, 0.0), (-0.5, 2.0, 5.0)):
        covariance = scale**2 * rho ** np.abs(np.subtract.outer(np.arange(D), np.arange(D)))
        x.append(random.multivariate_normal(np.full(D, center), covariance, n))
    return np.concatenate(x)


LABELS = np.repeat([0, 1], 120)


@pytest.mark.thorough
def test_an_autoregressive_family(x64):
    kind = every_family.AR1
    jaxgmm.FAMILIES[every_family.OWN] = kind
    jaxgmm.check_family(kind)
    jaxgmm.check_family(kind, d=5, k=2)
    assert kind.n_parameters(3, 7) == 6
    x = rows()
    start = jaxgmm.from_labels(x, LABELS, family="AR(1)")
    assert repr(start) == "Mixture(AR(1), K = 2, d = 4, float64)"
    np.testing.assert_allclose(np.tanh(start.covariance.logit), [0.8, -0.5], atol=0.1)
    found = jaxgmm.fit(x, start, prior=None, tolerance=1e-12, max_steps=300)
    assert found.converged
    assert np.diff(found.history).min() > -1e-9
    slope = jax.grad(jaxgmm.log_likelihood)(found.mixture, x)
    for leaf in (slope.means, slope.covariance.log_sd, slope.covariance.logit):
        np.testing.assert_allclose(leaf, 0, atol=1e-3)
    weights, means, covariances = (
        np.asarray(part) for part in (found.mixture.weights, found.mixture.means, found.mixture.covariances)
    )  # fmt: skip
    truth = reference.log_likelihood(weights, means, covariances, x)
    np.testing.assert_allclose(found.log_likelihood, truth, rtol=1e-12)
    # Its covariances are read back by a search.
    back = Mixture.from_parameters(weights, means, covariances, family="AR(1)")
    np.testing.assert_allclose(back.covariances, covariances, rtol=1e-6, atol=1e-8)
    with pytest.raises(
        ValueError, match=r"not of family 'AR\(1\)': one is 0\.\d+ from the nearest"
    ):
        Mixture.from_parameters(weights, means, covariances + np.eye(D), family="AR(1)")
    accelerated = jaxgmm.fit(x, start, jaxgmm.SQUAREM(), prior=None, tolerance=1e-12)
    np.testing.assert_allclose(accelerated.log_likelihood, found.log_likelihood, atol=1e-7)


@pytest.mark.thorough
def test_a_default_step_finds_the_closed_form(x64):
    """An equal-volume family written without an M-step ends where the built-in one does."""

    @jaxgmm.family("common")
    class Common(jaxgmm.Family):
        lower: jax.Array

        def frame(self, d):
            return jaxgmm.Dense.of_precision(
                self.lower @ jnp.swapaxes(self.lower, 1, 2) + 1e-3 * jnp.eye(d)[None]
            )

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.eye(d, dtype=dtype)[None])

        @classmethod
        def n_parameters(cls, k, d):
            return d * (d + 1) // 2

    jaxgmm.check_family(Common, d=2)
    x = rows()
    starts = [jaxgmm.from_labels(x, LABELS, family=name) for name in ("common", "tied")]
    np.testing.assert_allclose(starts[0].covariances, starts[1].covariances, rtol=1e-6)


@pytest.mark.parametrize(
    "kind",
    [
        jaxgmm.factors(2),
        pytest.param(jaxgmm.FAMILIES["diagonal"], marks=pytest.mark.thorough),
        pytest.param(jaxgmm.ppca(1, tied_noise=True), marks=pytest.mark.thorough),
    ],
)
def test_layouts_that_are_not_dense_are_checked(kind, x64):
    """Families of variances and of few factors, and what their M-steps say that they gain."""
    jaxgmm.check_family(kind, d=5)

    class Boastful(kind):
        def maximize(self, moments, mass, d):
            local, gain = super().maximize(moments, mass, d)
            return local, 2 * gain

    pytree(Boastful)
    with pytest.raises(ValueError, match="maximize says that it gains"):
        jaxgmm.check_family(Boastful, d=5)


def test_what_check_family_says(x64):
    class Halves(jaxgmm.Family):
        """Leaves of the wrong length."""

        log_sd: jax.Array

        def frame(self, d):
            return jaxgmm.Dense.of(jnp.exp(-self.log_sd)[:, None, None] * jnp.eye(d)[None])

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.zeros(k + 2, dtype))

    class Repeated(Halves):
        """Two leaves for one number."""

        other: jax.Array

        def frame(self, d):
            sd = jnp.exp(-self.log_sd - self.other)
            return jaxgmm.Dense.of(sd[:, None, None] * jnp.eye(d)[None])

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.zeros(k, dtype), jnp.zeros(k, dtype))

    class Negative(Halves):
        """Finite for positive leaves alone."""

        def frame(self, d):
            return jaxgmm.Dense.of(jnp.sqrt(self.log_sd)[:, None, None] * jnp.eye(d)[None])

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.full(k, 0.1, dtype))

    class Singular(Halves):
        """Finite everywhere but at its identity."""

        def frame(self, d):
            sd = jnp.exp(-self.log_sd) * self.log_sd / self.log_sd
            return jaxgmm.Dense.of(sd[:, None, None] * jnp.eye(d)[None])

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.zeros(k, dtype))

    class Boastful(Negative):
        """An M-step that says what is not so."""

        def frame(self, d):
            return jaxgmm.Dense.of(jnp.exp(-self.log_sd)[:, None, None] * jnp.eye(d)[None])

        def maximize(self, moments, mass, d):
            return jax.tree.map(jnp.zeros_like, self), jnp.ones(len(mass))

    class Bare(Negative):
        """A frame that is an array."""

        def frame(self, d):
            return jnp.eye(d)

    for kind, said in (
        (Halves, r"a leaf of identity\(3, 3, …\) has shape \(5,\): the leading axis must be k = 3"),
        (Repeated, r"n_parameters\(3, 3\) is 6, but the covariances can move in 3 directions"),
        (Negative, "at random leaves is not finite: every number in a leaf must be valid"),
        (Singular, r"^Singular: frame\(3\) at identity is not finite: [^.]*\.$"),
        (Boastful, r"maximize says that it gains .* nats, and it gains 0"),
        (Bare, r"Bare\.frame\(3\) does not return a layout of 3 features: return jaxgmm.Dense.of"),
    ):
        made = jaxgmm.family(kind.__name__)(kind)
        with pytest.raises(ValueError, match=said):
            jaxgmm.check_family(made)
    for name in ("full", "VVV", "E", "all"):
        with pytest.raises(ValueError, match=f"there is a family '{name}' already"):
            jaxgmm.family(name)(Bare)
    with pytest.raises(ValueError, match=r"is no subclass of jaxgmm\.Family"):
        jaxgmm.family("list")(list)
    with pytest.raises(ValueError, match="family needs a name"):
        jaxgmm.family("")
    with pytest.raises(ValueError, match=r"factor has shape \(2, 2\): pass \(k, d, d\)"):
        jaxgmm.Dense.of(jnp.eye(2))


def test_a_frame_of_another_size_is_explained_before_a_start(x64):
    """Neither a shape that does not fit nor an array reaches a compiled program."""
    unit = lambda count, d: jnp.broadcast_to(jnp.eye(d)[None], (count, d, d))
    for name, frame, said in (
        ("Many", lambda _, d: jaxgmm.Dense.of(unit(3, d)), r"returns 3 covariances for 2 comp"),
        ("Array", lambda _, d: unit(K, d), r"does not return a layout of 4 features: return"),
        ("Wide", lambda _, d: jaxgmm.Dense.of(unit(K, d + 1)), r"layout of 4 features"),
    ):
        identity = classmethod(lambda cls, k, d, dtype: cls(jnp.zeros(k, dtype)))
        entries = dict(frame=frame, identity=identity, __annotations__=dict(log_sd=jax.Array))
        kind = jaxgmm.family(name)(type(name, (jaxgmm.Family,), entries))
        said = rf"{name}\.frame\(4\) .*{said}.*check_family\({name}\) examines the whole class"
        with pytest.raises(ValueError, match=said):
            jaxgmm.initialize(jax.random.key(0), rows(), K, family=name)
        mixture = Mixture(jnp.zeros(K), jnp.zeros((K, D)), kind(jnp.zeros(K)))
        with pytest.raises(ValueError, match=said):
            jaxgmm.fit(rows(), mixture)


def test_a_frame_that_is_not_finite_is_explained_before_a_start(x64):
    """By everything that makes a mixture, under `jit` too, and by a fit from leaves of one's own."""

    @jaxgmm.family("linear")
    class Linear(jaxgmm.Family):
        """Zero is not a scale, and is the identity."""

        scale: jax.Array

        def frame(self, d):
            return jaxgmm.Dense.of(jnp.eye(d)[None] / self.scale[:, None, None])

        @classmethod
        def identity(cls, k, d, dtype):
            return cls(jnp.zeros(k, dtype))

    x, key, name = rows(), jax.random.key(0), "linear"
    said = (
        r"^Linear\.frame\(4\) at {} is not finite: every number in a leaf must be valid; .*check_f"
    )
    units = np.stack([np.eye(D)] * K)
    for make in (
        lambda: jaxgmm.initialize(key, x, K, family=name),
        lambda: jax.jit(lambda x: jaxgmm.initialize(key, x, K, family=name))(x),
        lambda: jaxgmm.from_labels(x, LABELS, family=name),
        lambda: jaxgmm.from_responsibilities(x, np.full((len(x), K), 1 / K), family=name),
        lambda: Mixture.from_parameters([0.5, 0.5], np.zeros((K, D)), units, name),
        lambda: jaxgmm.sweep(key, x, K, families=(name,)),
    ):
        with pytest.raises(ValueError, match=said.format("identity")):
            make()
    start = lambda *scales: Mixture(jnp.zeros(K), jnp.asarray(x[:K]), Linear(jnp.array(scales)))
    good, bad = start(1.0, 2.0), start(1.0, 0.0)
    with pytest.raises(ValueError, match=said.format("the start")):
        jaxgmm.fit(x, bad)
    # Where the rows alone are traced, the start has values.
    with pytest.raises(ValueError, match=said.format("the start")):
        jax.eval_shape(lambda x: jaxgmm.fit(x, bad), x)
    jax.eval_shape(lambda x: jaxgmm.fit(x, good), x)
    # Leaves that are traced have no values.
    status = jax.jit(lambda start: jaxgmm.fit(x, start, prior=None).status)(bad)
    assert status == jaxgmm.Status.NONFINITE


def test_ways_to_make_a_layout(x64):
    random = np.random.default_rng(1)
    factor = jnp.asarray(random.normal(size=(2, 3, 3)))
    layout = jaxgmm.Dense.of(factor)
    unit = np.broadcast_to(np.eye(3), (2, 3, 3))
    np.testing.assert_allclose(layout.inverse_factor @ factor, unit, atol=1e-12)
    np.testing.assert_allclose(layout.log_determinant, np.linalg.slogdet(factor)[1], atol=1e-12)
    precision = jnp.swapaxes(factor, 1, 2) @ factor
    for other in (
        jaxgmm.Dense.of_precision(precision), jaxgmm.Dense.of_covariance(jnp.linalg.inv(precision)),
    ):  # fmt: skip
        np.testing.assert_allclose(other.dense_precision, precision, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(other.dense, layout.dense, rtol=1e-8)
        np.testing.assert_allclose(other.log_determinant, layout.log_determinant, atol=1e-10)
