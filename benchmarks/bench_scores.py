"""Scores of points: Shapley values and Bayesian influence beside bare loops, and all methods beside exact retraining.

    python benchmarks/bench_scores.py [--coverage] [--tables]

Same data, same process; the ratio is what carries over to another machine. --coverage repeats sampled Shapley values
300 times and counts how often their intervals hold the exact values; --tables compares every method with exact
leave-one-out on breast_cancer and digits.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef
from epsflow.attribution.bayes._posterior import posterior_of, precision

jax.config.update("jax_enable_x64", True)

try:
    import blackjax
except ImportError as error:
    raise SystemExit("this benchmark compares with blackjax: pip install 'epsflow[bayes]'") from error


def cpu(work: Callable[[], Any], repeat: int = 3) -> float:
    """The least CPU seconds of several runs, after one that compiles."""
    work()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def logistic(n: int, d: int, seed: int = 0) -> tuple[ef.Problem, ef.Dataset]:
    rng = np.random.default_rng(seed)
    x, test = rng.normal(size=(n, d)), rng.normal(size=(200, d))
    y = (x[:, 0] + 0.5 * rng.normal(size=n) > 0.0) * 1.0
    problem = ef.Problem(ef.LinearModel(d), ef.LogisticLoss(), ef.Dataset(x, y), l2=1.0)
    return problem, ef.Dataset(test, (test[:, 0] > 0.0) * 1.0)


def bare_newton(problem: ef.Problem, test: ef.Dataset, orders: np.ndarray, steps: int = 6) -> np.ndarray:
    """Marginals along permutations: every prefix trained by so many stacked Newton steps from zero."""
    x, y, (count, n) = problem.data.x, problem.data.y, orders.shape
    members = (np.argsort(orders, axis=1)[:, None, :] < np.arange(n + 1)[:, None]).reshape(-1, n).astype(float)
    thetas = np.zeros((len(members), x.shape[1]))
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-thetas @ x.T))
        slope = (members * (p - y)) @ x + thetas
        bend = np.einsum("kn,ni,nj->kij", members * p * (1.0 - p), x, x, optimize=True) + np.eye(x.shape[1])
        thetas = thetas - np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
    worth = ((thetas @ test.x.T > 0.0) == (test.y > 0.5)).mean(axis=1).reshape(count, n + 1)
    return np.diff(worth, axis=1)


def shapley(console: Console) -> None:
    problem, test = logistic(40, 5)
    utility = ef.ModelUtility(problem, test, metric="accuracy")
    options = {"max_permutations": 25, "tolerance": 1e-9, "throw": False}
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(40), (25, 1)), axis=1)
    mine = cpu(lambda: ef.data_shapley(utility, 40, **options), 20)
    theirs = cpu(lambda: bare_newton(problem, test, orders), 20)
    table = Table("1,000 marginals, logistic, n = 40, d = 5", "CPU ms", "ours / theirs")
    table.add_row("epsflow, to 1e-10 of the risk before the last step, with errors", f"{1e3 * mine:.2f}", "")
    table.add_row("NumPy, six stacked Newton steps", f"{1e3 * theirs:.2f}", f"{mine / theirs:.2f}")
    console.print(table)


def neighbours(console: Console) -> None:
    rng = np.random.default_rng(0)
    table = Table("kNN-Shapley, d = 10, 100 test points: n", "CPU ms", "ns per n log₂ n per test point")
    test, labels = rng.normal(size=(100, 10)), rng.integers(2, size=100)
    for n in (12_500, 25_000, 50_000, 100_000):
        x, y = rng.normal(size=(n, 10)), rng.integers(2, size=n)
        seconds = cpu(lambda x=x, y=y: ef.knn_shapley(x, y, test, labels, k=5))
        table.add_row(f"{n:,}", f"{1e3 * seconds:.0f}", f"{1e9 * seconds / (100 * n * np.log2(n)):.2f}")
    console.print(table)


def bayes(console: Console) -> None:
    data = ef.load_dataset("breast_cancer")
    problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), data, l2=1.0)
    theta = ef.train(problem).theta
    posterior = posterior_of(problem, theta, 1.0, 0.0)
    values, axes = precision(problem, theta, 1.0, 0.0)
    basis = jnp.asarray(axes / np.sqrt(values))
    held = ef.Losses(problem.model, problem.loss, data.x[:5], data.y[:5])
    table = Table("breast_cancer, 569 losses × 5 functionals", "draws / CPU s", "bare blackjax", "ratio")
    for sampler, draws in (("nuts", 1_000), ("mala", 10_000), ("sgld", 10_000)):
        options = {"functional": held, "sampler": sampler, "draws": draws, "chains": 2, "warmup": draws, "throw": False}
        found = ef.bayesian_influence(problem, theta, **options)
        step = float(found.step[0])
        bare = bare_loop(sampler, posterior, basis, step, 2 * draws)
        # Both walk through the same number of steps, the warm-up included; only the second half of ours are draws.
        mine = 2 * 2 * draws / cpu(lambda o=options: ef.bayesian_influence(problem, theta, **o))
        theirs = 2 * 2 * draws / cpu(lambda b=bare: [jax.block_until_ready(b(jax.random.key(c))) for c in range(2)])
        table.add_row(sampler, f"{mine:,.0f}", f"{theirs:,.0f}", f"{mine / theirs:.2f}")
    console.print(table)


def bare_loop(sampler: str, posterior: Any, basis: jax.Array, step: float, draws: int) -> Callable[[Any], Any]:
    """One compiled scan of blackjax's kernel that returns its positions."""
    d = basis.shape[0]

    def density(u: jax.Array) -> jax.Array:
        return posterior.logdensity(posterior.center + basis @ u)

    if sampler == "sgld":
        algorithm = blackjax.sgld(lambda w, _: jax.grad(posterior.logdensity)(w))

        def run(key: Any) -> Any:
            def move(w: Any, k: Any) -> Any:
                w = algorithm.step(k, w, None, 0.5 * step)
                return w, w

            return jax.lax.scan(move, posterior.center, jax.random.split(key, draws))[1]

        return jax.jit(run)
    if sampler == "nuts":
        kernel = blackjax.nuts(density, step_size=step, inverse_mass_matrix=jnp.ones(d))
    else:
        kernel = blackjax.mala(density, step_size=step)

    def run(key: Any) -> Any:
        def move(state: Any, k: Any) -> Any:
            state, _ = kernel.step(k, state)
            return state, state.position

        return jax.lax.scan(move, kernel.init(jnp.zeros(d)), jax.random.split(key, draws))[1]

    return jax.jit(run)


def coverage(console: Console) -> None:
    problem, test = logistic(10, 3)
    utility = ef.ModelUtility(problem, test, metric="accuracy")
    exact = ef.data_shapley(utility, 10, method="exact").values
    table = Table("300 repetitions, n = 10, 95 % intervals", "covered", "standard error", "permutations, mean")
    for name, options in (
        ("permutations", {}),
        ("truncated at 0.2", {"truncation": 0.2}),
        ("stratified", {"method": "stratified"}),
    ):
        runs = [
            ef.data_shapley(utility, 10, tolerance=0.02, key=jax.random.key(seed), **options) for seed in range(300)
        ]
        rates = [np.mean((r.interval[:, 0] <= exact) & (exact <= r.interval[:, 1])) for r in runs]
        count = np.mean([r.samples * (10 if r.method == "stratified" else 1) for r in runs])
        table.add_row(name, f"{np.mean(rates):.4f}", f"{np.std(rates) / np.sqrt(300):.4f}", f"{count:.0f}")
    console.print(table)


def digits() -> ef.Dataset:
    """Threes against eights; pixels that never vary are left out."""
    data = ef.load_dataset("digits")
    kept = np.isin(data.y, (3.0, 8.0))
    x = data.x[kept]
    return ef.Dataset(x[:, x.std(axis=0) > 0.0], (data.y[kept] == 8.0) * 1.0, "digits, 3 against 8")


def tables(console: Console) -> None:
    for data, bif in ((ef.load_dataset("breast_cancer"), 2_000), (digits(), 2_000)):
        rng = np.random.default_rng(0)
        order = rng.permutation(data.n)
        train, test = order[: data.n // 2], order[data.n // 2 :]
        y = data.y[train].copy()
        wrong = rng.choice(len(train), size=len(train) // 20, replace=False)
        y[wrong] = 1.0 - y[wrong]
        problem = ef.Problem(ef.LinearModel(data.x.shape[1]), ef.LogisticLoss(), ef.Dataset(data.x[train], y), l2=1.0)
        found = ef.compare_attributions(
            problem,
            ("influence", "newton", "pbrf", "bif", "shapley", "banzhaf", "knn", "random"),
            test=ef.Dataset(data.x[test], data.y[test]),
            mislabelled=wrong,
            options={
                "bif": {"draws": bif, "max_rhat": 1.02},
                "shapley": {"max_permutations": 100, "truncation": 0.02, "throw": False},
            },
        )
        console.print(f"{data.name}: {len(train)} points, 5 % of the labels wrong")
        print(found.summary())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coverage", action="store_true", help="300 repetitions of sampled Shapley values")
    parser.add_argument("--tables", action="store_true", help="all methods against exact leave-one-out")
    options = parser.parse_args()
    console = Console(width=160)
    shapley(console)
    neighbours(console)
    bayes(console)
    if options.coverage:
        coverage(console)
    if options.tables:
        tables(console)


if __name__ == "__main__":
    main()
