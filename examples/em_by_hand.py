"""Expectation-maximization taken apart: every claim about it is computed, printed and checked.

Six sections: (a) the two log-likelihoods and the bound between them; (b) why setting the derivative
of the first to zero does not solve for the parameters; (c) why it does for the second; (d) plain
minibatch SGD beside EM; (e) how many components, by AIC and BIC; (f) k-means as the limit of
vanishing variance. A line that starts with [ok] is a claim that has just been checked; a claim that
fails raises AssertionError. Takes some seconds.

    .venv/bin/python examples/em_by_hand.py
"""

# %%
import dataclasses
import itertools

import jax
import jax.numpy as jnp
import load
import numpy as np
import optax

from jaxgmm import (
    Mixture,
    aic,
    best,
    bic,
    complete_log_likelihood,
    e_step,
    fit,
    initialize,
    log_likelihood,
    m_step,
    n_parameters,
    responsibilities,
)


def title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def check(claim: str, true) -> None:
    """Prints the claim if it is true. Raises AssertionError if not."""
    if not bool(true):
        raise AssertionError(f"not so: {claim}")
    print(f"  [ok] {claim}")


def largest(tree) -> float:
    """The largest absolute number in any leaf."""
    return max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(tree))


def close(a, b, tolerance: float = 1e-9) -> bool:
    """Whether all leaves of a and b agree, relative to the largest number in each."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(largest(np.subtract(p, q)) <= tolerance * max(1, largest(q)) for p, q in leaves)


# %% Weights, means and covariances of two components in the plane: some to draw rows from, and a
# poor guess at them, to improve.
TRUTH = (
    np.array([0.7, 0.3]),
    np.array([[0.0, 0.0], [2.0, 1.0]]),
    np.array([[[1.0, 0.5], [0.5, 1.0]], [[0.5, 0.0], [0.0, 0.3]]]),
)
GUESS = (
    np.array([0.5, 0.5]),
    np.array([[-1.0, 1.0], [1.0, -1.0]]),
    np.array([[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 2.0]]]),
)


def draw(weights, means, covariances, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows x and the components z they come from: first z by the weights, then x by its Gaussian.
    (`jaxgmm.sample` does this too.)"""
    rng = np.random.default_rng(0)
    z = rng.choice(len(weights), n, p=weights)
    roots = np.linalg.cholesky(covariances)[z]
    return means[z] + np.einsum("nij,nj->ni", roots, rng.normal(size=(n, means.shape[1]))), z


# %% (a) The definitions, with NumPy alone.
def joint_by_hand(weights, means, covariances, x: np.ndarray) -> np.ndarray:
    """pi_k N(x_n; mu_k, Sigma_k) as (n, k)."""
    apart = x[:, None] - means
    squared = np.einsum("nki,kij,nkj->nk", apart, np.linalg.inv(covariances), apart)
    return weights * np.exp(-squared / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariances))


def two_likelihoods(x: np.ndarray, z: np.ndarray, parameters) -> None:
    title("(a) Incomplete and complete data")
    print(
        f"{len(x)} rows x, drawn with their components z. Incomplete data is x without z: its\n"
        "likelihood sums over what each z may have been. With z known the sum is gone."
    )
    mixture = Mixture.from_parameters(*parameters)
    joint = joint_by_hand(*parameters, x)
    incomplete = log_likelihood(mixture, x)
    complete = complete_log_likelihood(mixture, x, np.eye(2)[z])
    print(f"  incomplete  log p(x)    = {incomplete:10.4f}")
    print(f"  complete    log p(x, z) = {complete:10.4f}")
    check("log p(x) = sum_n log sum_k pi_k N_k(x_n)", close(incomplete, np.log(joint.sum(1)).sum()))
    taken = joint[np.arange(len(x)), z]
    check(
        "log p(x, z) = sum_n log pi_z N_z(x_n), z the row's own",
        close(complete, np.log(taken).sum()),
    )
    check("complete <= incomplete: one term of a sum of positive ones", complete <= incomplete)

    print(
        "Without z, average the complete log-likelihood over responsibilities r: that is Q. With\n"
        "the entropy H of r added it bounds log p(x) from below, whatever r is."
    )
    posterior = np.asarray(responsibilities(mixture, x))
    even = np.full_like(posterior, 1 / 2)

    def bound(resp):
        return complete_log_likelihood(mixture, x, resp) - np.sum(resp * np.log(resp))

    gap = np.sum(even * np.log(even / posterior))
    print(f"  Q + H at even responsibilities = {bound(even):10.4f}")
    print(f"  Q + H at the posterior         = {bound(posterior):10.4f}")
    check(
        "responsibilities are the posterior p(z | x)",
        close(posterior, joint / joint.sum(1)[:, None]),
    )
    check("Q + H = log p(x) at the posterior", close(bound(posterior), incomplete))
    check("Q + H < log p(x) elsewhere", bound(even) < incomplete)
    check("and the gap is the divergence KL(r || posterior)", close(incomplete - bound(even), gap))


# %% (b) The derivative of log p(x) for mean k is sum_n r_nk inv(Sigma_k) (x_n - mu_k).
climb = jax.jit(jax.grad(log_likelihood))
climb_fixed = jax.jit(jax.grad(complete_log_likelihood))


def stuck(x: np.ndarray, weights, means, covariances) -> None:
    title("(b) Setting the derivative of log p(x) to zero")
    print(
        "For mean k it reads sum_n r_nk inv(Sigma_k) (x_n - mu_k) = 0. It looks like a weighted\n"
        "mean, but r_nk depends on every parameter: no equation can be solved without the others."
    )
    mixture = Mixture.from_parameters(weights, means, covariances)
    resp = np.asarray(responsibilities(mixture, x))
    pull = np.einsum("nk,nkd->kd", resp, x[:, None] - means)
    by_hand = np.einsum("kij,kj->ki", np.linalg.inv(covariances), pull)
    gradient, fixed = climb(mixture, x), climb_fixed(mixture, x, resp)
    check("jax.grad gives that derivative for the means", close(gradient.means, by_hand))

    others = {
        "the weights": ([0.6, 0.4], means, covariances),
        "mean 2": (weights, means + np.array([[0.0, 0.0], [0.1, 0.0]]), covariances),
        "covariance 2": (weights, means, covariances * [[[1.0]], [[1.2]]]),
    }
    print("  The equation of mean 1 changes by    in log p(x)    in Q at fixed r")
    changes = []  # for log p(x) and for Q
    for name, parameters in others.items():
        moved = Mixture.from_parameters(*parameters)
        change = [
            largest(np.subtract(after.means, before.means)[0])
            for after, before in (
                (climb(moved, x), gradient),
                (climb_fixed(moved, x, resp), fixed),
            )
        ]
        changes.append(change)
        print(f"    on a change of {name:18}{change[0]:14.4f}{change[1]:19.4f}")
    coupled, apart = zip(*changes, strict=True)
    check("log p(x) couples mean 1 to every parameter of the other component", min(coupled) > 0.01)
    check("Q does not, for r is held fixed", max(apart) < 1e-9)

    print("A gradient needs no solution, only a slope; and here both functions have the same one.")
    check("grad log p(x) = grad Q at its own r (Fisher's identity)", close(gradient, fixed))


# %% (c) The zero of the derivative of Q, in closed form.
def m_step_by_hand(x: np.ndarray, resp: np.ndarray) -> Mixture:
    mass = resp.sum(axis=0)
    means = resp.T @ x / mass[:, None]
    apart = x[:, None] - means
    scatter = np.einsum("nk,nki,nkj->kij", resp, apart, apart)
    return Mixture.from_parameters(mass / len(x), means, scatter / mass[:, None, None])


def em(x: np.ndarray, mixture: Mixture, steps: int) -> tuple[Mixture, np.ndarray]:
    """The mixture after so many steps, and log p(x) at the start and after each."""
    history = []
    for _ in range(steps):
        sums = e_step(mixture, x)  # the sums over rows that an M-step needs, and log p(x)
        history.append(float(sums.log_likelihood))
        mixture = m_step(mixture, sums)
    return mixture, np.array([*history, float(e_step(mixture, x).log_likelihood)])


def closed_form(x: np.ndarray, old: Mixture) -> None:
    title("(c) Setting the derivative of Q to zero: the M-step")
    print(
        "With r fixed the equations come apart: weights are shares of the mass sum_n r_nk, means\n"
        "and covariances are averages weighted by r."
    )
    resp = responsibilities(old, x)
    new = m_step_by_hand(x, np.asarray(resp))
    before, after = (largest(climb_fixed(mixture, x, resp)) for mixture in (old, new))
    q = [float(complete_log_likelihood(mixture, x, resp)) for mixture in (old, new)]
    likelihood = [float(log_likelihood(mixture, x)) for mixture in (old, new)]
    print(f"  {'':28}{'before':>14}{'after':>14}{'gain':>12}")
    print(f"  {'largest slope of Q':28}{before:14.4g}{after:14.4g}")
    for name, (low, high) in (("Q", q), ("log p(x)", likelihood)):
        print(f"  {name:28}{low:14.4f}{high:14.4f}{high - low:12.4f}")
    check("the slope of Q is zero after the step", after < 1e-9 * before)
    check("jaxgmm.m_step takes the same step", close(m_step(old, e_step(old, x)), new))
    check("log p(x) gains at least what Q gains", likelihood[1] - likelihood[0] >= q[1] - q[0] > 0)
    print("So maximizing Q again and again, with new r each time, can only climb: that is EM.")
    _, history = em(x, old, 30)
    shown = " ".join(f"{history[step]:.2f}" for step in (0, 1, 2, 3, 10, 20, 30))
    print(f"  log p(x) after 0, 1, 2, 3, 10, 20, 30 steps: {shown}")
    check("it never fell", np.all(np.diff(history) > 0))


# %% (d) Every leaf of a mixture is a free real number, so an optimizer needs no constraints.
def minibatch_sgd(x: np.ndarray, start: Mixture, key, epochs: int, batch: int, rate: float):
    """The last mixture, and the mean log-likelihood of all rows after every epoch."""
    x, n = jnp.asarray(x), len(x)
    per_epoch = n // batch
    # A rate that falls to zero: with a constant one the mixture would shake about the maximum.
    optimizer = optax.sgd(optax.cosine_decay_schedule(rate, epochs * per_epoch))

    def loss(mixture, rows):
        return -log_likelihood(mixture, x[rows]) / batch

    def step(carry, rows):
        mixture, state = carry
        updates, state = optimizer.update(jax.grad(loss)(mixture, rows), state)
        return (optax.apply_updates(mixture, updates), state), None

    def epoch(carry, key):
        order = jax.random.permutation(key, n)[: per_epoch * batch].reshape(per_epoch, batch)
        carry, _ = jax.lax.scan(step, carry, order)
        return carry, log_likelihood(carry[0], x) / n

    # scan compiles `epoch` once, and with it every step: Python sees only the beginning and the end
    (mixture, _), climbed = jax.lax.scan(
        epoch, (start, optimizer.init(start)), jax.random.split(key, epochs)
    )
    return mixture, np.asarray(climbed)


def sgd_beside_em(x: np.ndarray) -> None:
    passes, batch, k = 100, 38, 3
    title("(d) A diagonal mixture by minibatch SGD, beside EM")
    print(
        f"{len(x)} penguins, {x.shape[1]} measurements brought to mean 0 and variance 1, and {k}\n"
        f"components. One start for both; SGD takes {batch} rows a step; a pass is all rows once."
    )
    means = x[np.random.default_rng(0).choice(len(x), k, replace=False)]
    start = Mixture.from_parameters(np.full(k, 1 / k), means, np.ones_like(means), "diagonal")
    by_em, climbed = em(x, start, passes)
    by_sgd, climbed_by_sgd = minibatch_sgd(x, start, jax.random.key(1), passes, batch, rate=0.3)
    climbed = climbed[1:] / len(x)
    print("  mean log-likelihood after pass          EM         SGD")
    for made in (1, 3, 10, 30, 100):
        print(f"  {made:>30}{climbed[made - 1]:12.5f}{climbed_by_sgd[made - 1]:12.5f}")
    check("EM has converged", climbed[-1] - climbed[-2] < 1e-9)
    check("SGD ends within 0.001 nats per row of EM", abs(climbed_by_sgd[-1] - climbed[-1]) < 1e-3)
    gap = largest((by_sgd.weights - by_em.weights, by_sgd.means - by_em.means))
    check(f"and at the same mixture: weights and means differ by {gap:.4f} at most", gap < 0.02)


# %% (e) Restarts are lanes of vmap, and so are the numbers of components.
def how_many(x: np.ndarray, most: int = 6, restarts: int = 10) -> None:
    title("(e) How many components? AIC and BIC")
    print(
        "AIC = -2 log p(x) + 2 p and BIC = -2 log p(x) + p log n, p the free parameters: lower\n"
        "is better. Other scalings exist, e.g. log p(x) - (p/2) log n = -BIC/2, to be maximized.\n"
        f"The same penguins, full covariances, the best of {restarts} starts for each K."
    )

    keys = jax.random.split(jax.random.key(0), restarts)
    starts = jax.vmap(lambda key: initialize(key, x, most, method="random-rows"))(keys)

    def first(k, start):
        # A component whose logit is -inf is absent, so one compiled program serves every K.
        logits = jnp.where(jnp.arange(most) < k, start.logits, -jnp.inf)
        return dataclasses.replace(start, logits=logits)

    def best_of(k):
        found = best(jax.vmap(lambda start: fit(x, first(k, start), tolerance=1e-6))(starts))
        mixture = found.mixture
        return n_parameters(mixture), found.log_likelihood, aic(mixture, x), bic(mixture, x)

    sizes = np.arange(1, most + 1)
    p, likelihood, a, b = map(np.asarray, jax.jit(jax.vmap(best_of))(sizes))
    print("  K    p   log p(x)        AIC        BIC    (* lowest)")
    for i, k in enumerate(sizes):
        marked = [("* " if i == c.argmin() else "") + f"{c[i]:.1f}" for c in (a, b)]
        print(f"  {k}{p[i]:5}{likelihood[i]:11.1f}{marked[0]:>11}{marked[1]:>11}")
    n, d = x.shape
    by_hand = sizes - 1 + sizes * d + sizes * d * (d + 1) // 2
    check("p = (K - 1) weights + K d means + K d (d + 1)/2 covariances", np.array_equal(p, by_hand))
    check("AIC = -2 log p(x) + 2 p", close(a, -2 * likelihood + 2 * p))
    check("BIC = -2 log p(x) + p log n", close(b, -2 * likelihood + p * np.log(n)))
    check("log p(x) alone always asks for more components", np.all(np.diff(likelihood) > 0))
    check("BIC finds three, as many as there are species", sizes[b.argmin()] == 3)
    check("AIC, whose price does not grow with n, takes more", sizes[a.argmin()] > 3)


# %% (f) k-means.
def distances(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Squared distances (n, k)."""
    return np.sum((x[:, None] - means) ** 2, axis=2)


def lloyd_step(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    labels = distances(x, means).argmin(axis=1)
    return np.array([x[labels == k].mean(axis=0) for k in range(len(means))])


def pegged(means: np.ndarray, variance: float) -> Mixture:
    """Equal weights and one shared spherical variance: only the means are left to learn."""
    k = len(means)
    return Mixture.from_parameters(
        np.full(k, 1 / k), means, np.full(k, variance), family="spherical"
    )


def em_step(x: np.ndarray, means: np.ndarray, variance: float) -> np.ndarray:
    """The means of one EM step; the weights and variances that it would learn are dropped."""
    mixture = pegged(means, variance)
    return np.asarray(m_step(mixture, e_step(mixture, x)).means)


def to_the_end(step, means: np.ndarray) -> tuple[np.ndarray, int]:
    """The means once they move no more, and the steps that took."""
    for steps in itertools.count():
        moved = step(means)
        if np.max(np.abs(moved - means)) < 1e-9:
            return moved, steps
        means = moved


def k_means_limit(x: np.ndarray) -> None:
    title("(f) k-means is the limit of vanishing variance")
    print(
        "Irises, all four measurements in cm, K = 3. Weights are pegged to 1/3 and covariances to\n"
        "s^2 times the identity. At s^2 = 1 rows are still shared; k-means appears as s^2 -> 0."
    )
    start = x[[0, 60, 120]]
    hard, distance = lloyd_step(x, start), distances(x, start).min(axis=1).sum()
    print("     s^2   least sure row   means off Lloyd's   -2 s^2 (log p(x) + constants)")
    for variance in (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6):
        mixture = pegged(start, variance)
        unsure = np.min(np.max(responsibilities(mixture, x), axis=1))
        off = largest(em_step(x, start, variance) - hard)
        constants = len(x) * (np.log(3) + x.shape[1] / 2 * np.log(2 * np.pi * variance))
        scaled = -2 * variance * (float(e_step(mixture, x).log_likelihood) + constants)
        print(f"  {variance:6.0e}{unsure:14.6f}{off:18.6f} cm{scaled:22.4f} cm^2")
    print(f"  {'k-means':6}{1:13.6f}{0:18.6f} cm{distance:22.4f} cm^2")
    check("responsibilities become one-hot", unsure > 1 - 1e-9)
    check("EM's means become Lloyd's", off < 1e-9)
    check("-2 s^2 log p(x) becomes the summed squared distances", abs(scaled / distance - 1) < 1e-4)

    print("Step after step, from the same start, at s^2 = 1e-6:")
    by_em, em_steps = to_the_end(lambda means: em_step(x, means, 1e-6), start)
    by_lloyd, lloyd_steps = to_the_end(lambda means: lloyd_step(x, means), start)
    check(f"EM and Lloyd make the same {lloyd_steps} steps", em_steps == lloyd_steps)
    check("and end at the same means", close(by_em, by_lloyd))
    labels = np.argmax(responsibilities(pegged(by_em, 1e-6), x), axis=1)
    check("with the same labels", np.array_equal(labels, distances(x, by_lloyd).argmin(axis=1)))


# %%
def main() -> None:
    x, z = draw(*TRUTH, n=300)
    two_likelihoods(x, z, TRUTH)
    stuck(x, *GUESS)
    closed_form(x, Mixture.from_parameters(*GUESS))

    penguins, _, _ = load.penguins()
    standardized = (penguins - penguins.mean(axis=0)) / penguins.std(axis=0)
    sgd_beside_em(standardized)
    how_many(standardized)

    irises, _, _ = load.iris()
    k_means_limit(irises)


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
