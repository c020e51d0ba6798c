"""Expectation-maximization step by step: every claim about it is computed, printed and checked.

There are six sections: (a) the two log-likelihoods and the bound between them; (b) why setting the
derivative of the first to zero does not solve for the parameters; (c) why it does for the second;
(d) minibatch SGD compared with EM; (e) the number of components by AIC and BIC; (f) k-means as the
limit of vanishing variance. A line that starts with [ok] is a claim that has just been checked; a
claim that fails raises AssertionError. The script takes a few seconds.

    .venv/bin/python examples/em_by_hand.py
"""

# %%
import dataclasses
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import load
import numpy as np
import optax
from jax.typing import ArrayLike

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


def print_title(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def check(claim: str, is_true: ArrayLike) -> None:
    """Print the claim if it is true, and raise AssertionError otherwise."""
    if not bool(is_true):
        raise AssertionError(f"this claim is false: {claim}")
    print(f"  [ok] {claim}")


def largest(tree) -> float:
    """Return the largest absolute value in any leaf."""
    return max(float(np.max(np.abs(leaf))) for leaf in jax.tree.leaves(tree))


def close(a, b, tolerance: float = 1e-9) -> bool:
    """Return whether all leaves of a and b agree, relative to the largest value in each leaf."""
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(largest(np.subtract(p, q)) <= tolerance * max(1, largest(q)) for p, q in leaves)


# %% Weights, means and covariances of two components in two dimensions: the true ones, from which
# rows are drawn, and a poor guess to start from.
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
    """Draw components z by the weights, then rows x by their Gaussians; return x and z.

    `jaxgmm.sample` does the same.
    """
    rng = np.random.default_rng(0)
    z = rng.choice(len(weights), n, p=weights)
    roots = np.linalg.cholesky(covariances)[z]
    return means[z] + np.einsum("nij,nj->ni", roots, rng.normal(size=(n, means.shape[1]))), z


# %% (a) The definitions, in NumPy
def joint_by_hand(weights, means, covariances, x: np.ndarray) -> np.ndarray:
    """Return pi_k N(x_n; mu_k, Sigma_k) as (n, k)."""
    difference = x[:, None] - means
    squared = np.einsum("nki,kij,nkj->nk", difference, np.linalg.inv(covariances), difference)
    return weights * np.exp(-squared / 2) / np.sqrt(np.linalg.det(2 * np.pi * covariances))


def show_two_likelihoods(x: np.ndarray, z: np.ndarray, parameters) -> None:
    print_title("(a) Incomplete and complete data")
    print(
        f"There are {len(x)} rows x, drawn with their components z. Incomplete data is x without\n"
        "z: its likelihood sums over all values of each z. If z is known there is no sum."
    )
    mixture = Mixture.from_parameters(*parameters)
    joint = joint_by_hand(*parameters, x)
    incomplete = log_likelihood(mixture, x)
    complete = complete_log_likelihood(mixture, x, np.eye(2)[z])
    print(f"  incomplete  log p(x)    = {incomplete:10.4f}")
    print(f"  complete    log p(x, z) = {complete:10.4f}")
    check("log p(x) = sum_n log sum_k pi_k N_k(x_n)", close(incomplete, np.log(joint.sum(1)).sum()))
    joint_of_z = joint[np.arange(len(x)), z]
    check(
        "log p(x, z) = sum_n log pi_z N_z(x_n), where z is the component of row n",
        close(complete, np.log(joint_of_z).sum()),
    )
    check(
        "complete <= incomplete: it is one term of a sum of positive terms", complete <= incomplete
    )

    print(
        "Without z, the average of the complete log-likelihood over responsibilities r is Q. The\n"
        "sum of Q and the entropy H of r is a lower bound of log p(x), for every r."
    )
    posterior = np.asarray(responsibilities(mixture, x))
    equal = np.full_like(posterior, 1 / 2)

    def bound(r: np.ndarray) -> jax.Array:
        return complete_log_likelihood(mixture, x, r) - np.sum(r * np.log(r))

    gap = np.sum(equal * np.log(equal / posterior))
    print(f"  Q + H at equal responsibilities = {bound(equal):10.4f}")
    print(f"  Q + H at the posterior          = {bound(posterior):10.4f}")
    check(
        "responsibilities are the posterior p(z | x)",
        close(posterior, joint / joint.sum(1)[:, None]),
    )
    check("Q + H = log p(x) at the posterior", close(bound(posterior), incomplete))
    check("Q + H < log p(x) elsewhere", bound(equal) < incomplete)
    check("the gap is the divergence KL(r || posterior)", close(incomplete - bound(equal), gap))


# %% (b) The derivative of log p(x) for mean k is sum_n r_nk inv(Sigma_k) (x_n - mu_k).
gradient_of_likelihood = jax.jit(jax.grad(log_likelihood))
gradient_of_q = jax.jit(jax.grad(complete_log_likelihood))


def show_coupled_equations(x: np.ndarray, weights, means, covariances) -> None:
    print_title("(b) Setting the derivative of log p(x) to zero")
    print(
        "For mean k the equation is sum_n r_nk inv(Sigma_k) (x_n - mu_k) = 0. It looks like a\n"
        "weighted mean, but r_nk depends on every parameter, so the equations are coupled."
    )
    mixture = Mixture.from_parameters(weights, means, covariances)
    r = np.asarray(responsibilities(mixture, x))
    weighted_sum = np.einsum("nk,nkd->kd", r, x[:, None] - means)
    by_hand = np.einsum("kij,kj->ki", np.linalg.inv(covariances), weighted_sum)
    gradient, fixed = gradient_of_likelihood(mixture, x), gradient_of_q(mixture, x, r)
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
                (gradient_of_likelihood(moved, x), gradient),
                (gradient_of_q(moved, x, r), fixed),
            )
        ]
        changes.append(change)
        print(f"    if we change {name:20}{change[0]:14.4f}{change[1]:19.4f}")
    coupled, separate = zip(*changes, strict=True)
    check("log p(x) couples mean 1 to every parameter of the other component", min(coupled) > 0.01)
    check("Q does not, because r is fixed", max(separate) < 1e-9)

    print("A gradient method needs no solution, and both functions have the same gradient here.")
    check("grad log p(x) = grad Q at its own r (Fisher's identity)", close(gradient, fixed))


# %% (c) The zero of the derivative of Q, in closed form
def m_step_by_hand(x: np.ndarray, r: np.ndarray) -> Mixture:
    """Return the mixture that maximizes Q at responsibilities r (n, k)."""
    mass = r.sum(axis=0)
    means = r.T @ x / mass[:, None]
    difference = x[:, None] - means
    scatter = np.einsum("nk,nki,nkj->kij", r, difference, difference)
    return Mixture.from_parameters(mass / len(x), means, scatter / mass[:, None, None])


def em(x: np.ndarray, mixture: Mixture, steps: int) -> tuple[Mixture, np.ndarray]:
    """Return the mixture after this number of steps, and log p(x) at the start and after each."""
    history = []
    for _ in range(steps):
        sums = e_step(mixture, x)  # the sums over rows that an M-step needs, and log p(x)
        history.append(float(sums.log_likelihood))
        mixture = m_step(mixture, sums)
    return mixture, np.array([*history, float(e_step(mixture, x).log_likelihood)])


def show_closed_form(x: np.ndarray, old: Mixture) -> None:
    print_title("(c) Setting the derivative of Q to zero: the M-step")
    print(
        "For fixed r the equations are independent: weights are proportional to the mass\n"
        "sum_n r_nk, and means and covariances are averages weighted by r."
    )
    r = responsibilities(old, x)
    new = m_step_by_hand(x, np.asarray(r))
    before, after = (largest(gradient_of_q(mixture, x, r)) for mixture in (old, new))
    q = [float(complete_log_likelihood(mixture, x, r)) for mixture in (old, new)]
    likelihood = [float(log_likelihood(mixture, x)) for mixture in (old, new)]
    print(f"  {'':28}{'before':>14}{'after':>14}{'gain':>12}")
    print(f"  {'largest derivative of Q':28}{before:14.4g}{after:14.4g}")
    for name, (low, high) in (("Q", q), ("log p(x)", likelihood)):
        print(f"  {name:28}{low:14.4f}{high:14.4f}{high - low:12.4f}")
    check("the derivative of Q is zero after the step", after < 1e-9 * before)
    check("jaxgmm.m_step takes the same step", close(m_step(old, e_step(old, x)), new))
    check("log p(x) gains at least what Q gains", likelihood[1] - likelihood[0] >= q[1] - q[0] > 0)
    print("So maximizing Q repeatedly, with new r each time, never decreases log p(x). This is EM.")
    _, history = em(x, old, 30)
    shown = " ".join(f"{history[step]:.2f}" for step in (0, 1, 2, 3, 10, 20, 30))
    print(f"  log p(x) after 0, 1, 2, 3, 10, 20, 30 steps: {shown}")
    check("it never decreased", np.all(np.diff(history) > 0))


# %% (d) The leaves of a mixture are unconstrained, so an optimizer needs no constraints.
def minibatch_sgd(
    x: np.ndarray, start: Mixture, key: jax.Array, epochs: int, batch: int, rate: float
) -> tuple[Mixture, np.ndarray]:
    """Return the last mixture, and the mean log-likelihood of all rows after every epoch."""
    x, n = jnp.asarray(x), len(x)
    per_epoch = n // batch
    # The rate decays to zero. With a constant rate the mixture would fluctuate about the maximum.
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

    # scan compiles `epoch` once, so that no step returns to Python.
    (mixture, _), history = jax.lax.scan(
        epoch, (start, optimizer.init(start)), jax.random.split(key, epochs)
    )
    return mixture, np.asarray(history)


def compare_sgd_with_em(x: np.ndarray) -> None:
    passes, batch, k = 100, 38, 3
    print_title("(d) A diagonal mixture by minibatch SGD and by EM")
    print(
        f"{len(x)} penguins, {x.shape[1]} standardized measurements, {k} components, one start.\n"
        f"A step of SGD uses {batch} rows; a pass uses every row once."
    )
    means = x[np.random.default_rng(0).choice(len(x), k, replace=False)]
    start = Mixture.from_parameters(np.full(k, 1 / k), means, np.ones_like(means), "diagonal")
    by_em, em_history = em(x, start, passes)
    by_sgd, sgd_history = minibatch_sgd(x, start, jax.random.key(1), passes, batch, rate=0.3)
    em_history = em_history[1:] / len(x)
    print("  mean log-likelihood after pass          EM         SGD")
    for count in (1, 3, 10, 30, 100):
        print(f"  {count:>30}{em_history[count - 1]:12.5f}{sgd_history[count - 1]:12.5f}")
    check("EM has converged", em_history[-1] - em_history[-2] < 1e-9)
    check("SGD ends within 0.001 nats per row of EM", abs(sgd_history[-1] - em_history[-1]) < 1e-3)
    gap = largest((by_sgd.weights - by_em.weights, by_sgd.means - by_em.means))
    check(f"and at the same mixture: weights and means differ by at most {gap:.4f}", gap < 0.02)


# %% (e) vmap runs all restarts and all numbers of components in one batch.
def choose_number_of_components(x: np.ndarray, most: int = 6, restarts: int = 10) -> None:
    print_title("(e) How many components? AIC and BIC")
    print(
        "AIC = -2 log p(x) + 2 p and BIC = -2 log p(x) + p log n, where p is the number of free\n"
        "parameters. Lower is better. Other authors maximize log p(x) - (p/2) log n = -BIC/2.\n"
        f"The same penguins, full covariances, the best of {restarts} starts for each K."
    )

    keys = jax.random.split(jax.random.key(0), restarts)
    starts = jax.vmap(lambda key: initialize(key, x, most, method="random-rows"))(keys)

    def first(k: jax.Array, start: Mixture) -> Mixture:
        """Return the start with only its first k components."""
        # A component with logit -inf is absent, so all K have the same shapes and one program.
        logits = jnp.where(jnp.arange(most) < k, start.logits, -jnp.inf)
        return dataclasses.replace(start, logits=logits)

    def best_of(k: jax.Array) -> tuple:
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
    check("log p(x) alone always increases with more components", np.all(np.diff(likelihood) > 0))
    check("BIC chooses three, the number of species", sizes[b.argmin()] == 3)
    check("AIC, whose penalty does not grow with n, chooses more", sizes[a.argmin()] > 3)


# %% (f) k-means
def distances(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return squared distances (n, k)."""
    return np.sum((x[:, None] - means) ** 2, axis=2)


def lloyd_step(x: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Return the means after one iteration of Lloyd's algorithm for k-means."""
    labels = distances(x, means).argmin(axis=1)
    return np.array([x[labels == k].mean(axis=0) for k in range(len(means))])


def restricted_mixture(means: np.ndarray, variance: float) -> Mixture:
    """Return a mixture with equal weights and the same spherical variance for all components."""
    k = len(means)
    return Mixture.from_parameters(
        np.full(k, 1 / k), means, np.full(k, variance), family="spherical"
    )


def em_step(x: np.ndarray, means: np.ndarray, variance: float) -> np.ndarray:
    """Return the means after one EM step, without its new weights and variances."""
    mixture = restricted_mixture(means, variance)
    return np.asarray(m_step(mixture, e_step(mixture, x)).means)


def iterate(step: Callable[[np.ndarray], np.ndarray], means: np.ndarray) -> tuple[np.ndarray, int]:
    """Repeat a step until the means are constant; return them and the number of steps."""
    for steps in itertools.count():
        moved = step(means)
        if np.max(np.abs(moved - means)) < 1e-9:
            return moved, steps
        means = moved


def show_k_means_limit(x: np.ndarray) -> None:
    print_title("(f) k-means is the limit of vanishing variance")
    print(
        "Irises, all four measurements in cm, K = 3. Weights are fixed at 1/3 and covariances at\n"
        "s^2 times the identity. At s^2 = 1 some responsibilities are far from 0 and 1; for\n"
        "s^2 -> 0 the steps become those of k-means."
    )
    start = x[[0, 60, 120]]
    hard, distance = lloyd_step(x, start), distances(x, start).min(axis=1).sum()
    print("     s^2  least certain row  distance to Lloyd   -2 s^2 (log p(x) + constants)")
    for variance in (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-6):
        mixture = restricted_mixture(start, variance)
        least_certain = np.min(np.max(responsibilities(mixture, x), axis=1))
        distance_to_lloyd = largest(em_step(x, start, variance) - hard)
        constants = len(x) * (np.log(3) + x.shape[1] / 2 * np.log(2 * np.pi * variance))
        scaled = -2 * variance * (float(e_step(mixture, x).log_likelihood) + constants)
        print(
            f"  {variance:6.0e}{least_certain:14.6f}{distance_to_lloyd:18.6f} cm{scaled:22.4f} cm^2"
        )
    print(f"  {'k-means':6}{1:13.6f}{0:18.6f} cm{distance:22.4f} cm^2")
    check("responsibilities become one-hot", least_certain > 1 - 1e-9)
    check("EM's means become Lloyd's", distance_to_lloyd < 1e-9)
    check("-2 s^2 log p(x) becomes the sum of squared distances", abs(scaled / distance - 1) < 1e-4)

    print("Both algorithms until convergence, from the same start, at s^2 = 1e-6:")
    by_em, em_steps = iterate(lambda means: em_step(x, means, 1e-6), start)
    by_lloyd, lloyd_steps = iterate(lambda means: lloyd_step(x, means), start)
    check(f"EM and Lloyd make the same {lloyd_steps} steps", em_steps == lloyd_steps)
    check("and end at the same means", close(by_em, by_lloyd))
    labels = np.argmax(responsibilities(restricted_mixture(by_em, 1e-6), x), axis=1)
    check("with the same labels", np.array_equal(labels, distances(x, by_lloyd).argmin(axis=1)))


# %%
def main() -> None:
    """Run all six sections."""
    x, z = draw(*TRUTH, n=300)
    show_two_likelihoods(x, z, TRUTH)
    show_coupled_equations(x, *GUESS)
    show_closed_form(x, Mixture.from_parameters(*GUESS))

    penguins, _, _ = load.penguins()
    standardized = (penguins - penguins.mean(axis=0)) / penguins.std(axis=0)
    compare_sgd_with_em(standardized)
    choose_number_of_components(standardized)

    irises, _, _ = load.iris()
    show_k_means_limit(irises)


if __name__ == "__main__":
    with jax.enable_x64(True):
        main()
