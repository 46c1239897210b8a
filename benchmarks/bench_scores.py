"""Scores of points: Shapley values and Bayesian influence beside bare loops, and all methods beside exact retraining.

    python benchmarks/bench_scores.py [--coverage] [--tables]

Same data, same process; the ratio is what carries over to another machine. --coverage repeats sampled Shapley values
300 times and counts how often their intervals hold the exact values; --tables compares every method with exact
leave-one-out on breast_cancer, threes against eights and all ten digits.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef
from epsflow.attribution.bayes._posterior import posterior_of, precision
from epsflow.attribution.compare._scores import PROXIMAL

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


def once(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


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


@dataclass(frozen=True)
class Peer:
    """pyDVL with our utility."""

    values: Any
    utility: Any
    backend: Any

    def exact(self) -> Any:
        return self.values.shapley.combinatorial_exact_shapley(self.utility, parallel_backend=self.backend)

    def permutations(self, count: int) -> Any:
        options = {"done": self.values.MaxUpdates(count), "parallel_backend": self.backend, "seed": 0}
        return self.values.shapley.permutation_montecarlo_shapley(self.utility, **options)


def pydvl(utility: Any, n: int) -> Peer:
    """pyDVL 0.9.2 asking for V(S) − V(∅), one coalition at a time: along an order it begins at 0, whatever V(∅) is."""
    # It names np.float_ in annotations, which NumPy 2 has dropped; nothing else of it needs the old name.
    np.float_ = np.float64  # noqa: NPY201
    warnings.simplefilter("ignore")  # on import, and in every call
    import pydvl.value as values
    from pydvl.parallel import JoblibParallelBackend
    from pydvl.utils import Dataset, Utility
    from sklearn.linear_model import LogisticRegression

    class Ours(Utility):
        def _utility(self, indices: Any) -> float:
            members = np.zeros((2, n), bool)
            members[0, list(indices)] = True
            found = utility(members)
            return float(found[0] - found[1])

    class InThisProcess(JoblibParallelBackend, backend_name="in this process"):
        """A worker of its own would import pyDVL without the old name, and die of it."""

        @classmethod
        def executor(cls, max_workers: Any = None, **_: Any) -> Any:
            return ThreadPoolExecutor(1)

    nothing = np.zeros((n, 1)), np.arange(n) % 2
    return Peer(values, Ours(LogisticRegression(), Dataset(*nothing, *nothing)), InThisProcess())


def shapley_peer(console: Console) -> None:
    """The same utility in pyDVL: all coalitions of ten points, and permutations."""
    table = Table("Shapley values on the same utility", "epsflow, CPU ms", "pyDVL, CPU ms", "ratio", "agreement")

    def compare(what: str, ours: Callable[[], Any], theirs: Callable[[], Any], words: Callable[..., str]) -> None:
        start = time.process_time()
        found = values_of(theirs())
        slow, fast = time.process_time() - start, cpu(ours)
        table.add_row(what, f"{1e3 * fast:.1f}", f"{1e3 * slow:.0f}", f"{slow / fast:.0f}", words(ours().values, found))

    problem, test = logistic(10, 3)
    utility = ef.ModelUtility(problem, test, metric="accuracy")
    peer = pydvl(utility, 10)
    exact = ef.data_shapley(utility, 10, method="exact").values

    def errors(mine: np.ndarray, found: np.ndarray) -> str:
        sizes = [np.sqrt(np.mean((sampled - exact) ** 2)) for sampled in (mine, found)]
        return f"r.m.s. error {sizes[0]:.4f}, {sizes[1]:.4f}"

    compare(
        "n = 10, all coalitions",
        lambda: ef.data_shapley(utility, 10, method="exact"),
        peer.exact,
        lambda mine, found: f"largest difference {np.abs(mine - found).max():.0e}",
    )
    compare("n = 10, 400 permutations", lambda: sampled(utility, 10, 400), lambda: peer.permutations(400), errors)
    problem, test = logistic(40, 5)
    larger = ef.ModelUtility(problem, test, metric="accuracy")
    compare(
        "n = 40, 1,000 marginals",
        lambda: sampled(larger, 40, 25),
        lambda: pydvl(larger, 40).permutations(25),
        lambda mine, found: f"difference of the sums {abs(mine.sum() - found.sum()):.0e}",
    )
    console.print(table)


def sampled(utility: Any, n: int, count: int) -> Any:
    return ef.data_shapley(utility, n, max_permutations=count, tolerance=1e-9, throw=False)


def values_of(result: Any) -> np.ndarray:
    """pyDVL's values in the order of the points."""
    found = np.empty(len(result))
    found[np.asarray(result.indices)] = np.asarray(result.values)
    return found


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


def mislabelled(data: ef.Dataset, classes: int, share: float) -> tuple[ef.Dataset, ef.Dataset, np.ndarray]:
    """Points to train on, of whose labels one in twenty is another one, points to judge at, and which are wrong."""
    rng = np.random.default_rng(0)
    order = rng.permutation(data.n)
    count = round(share * data.n)
    train, test = order[:count], order[count:]
    y = data.y[train].copy()
    wrong = rng.choice(count, size=count // 20, replace=False)
    y[wrong] = (y[wrong] + (1.0 if classes == 2 else rng.integers(1, classes, size=len(wrong)))) % classes
    return ef.Dataset(data.x[train], y, data.name), ef.Dataset(data.x[test], data.y[test]), wrong


def tables(console: Console) -> None:
    for data in (ef.load_dataset("breast_cancer"), digits()):
        train, test, wrong = mislabelled(data, 2, 0.5)
        problem = ef.Problem(ef.LinearModel(data.x.shape[1]), ef.LogisticLoss(), train, l2=1.0)
        found = ef.compare_attributions(
            problem,
            ("influence", "newton", "pbrf", "bif", "shapley", "banzhaf", "knn", "random"),
            test=test,
            mislabelled=wrong,
            options={
                "bif": {"draws": 2_000, "max_rhat": 1.02},
                "shapley": {"max_permutations": 100, "truncation": 0.02, "throw": False},
            },
        )
        print(markdown(f"{data.name}, {train.n} points", found))
    classes()


def classes() -> None:
    """All ten digits by softmax regression with an intercept: 650 parameters, 1,438 points, judged at the other 359.

    Methods that train coalitions, or sample the posterior, would take hours here. Seconds are of processor time.
    """
    train, test, wrong = mislabelled(ef.load_dataset("digits").add_intercept(), 10, 0.8)
    model = ef.LinearModel(train.x.shape[1], 10)
    problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), train, l2=1.0)
    methods = ("influence", "newton", "pbrf", "knn", "random")
    found = ef.compare_attributions(problem, methods, test=test, mislabelled=wrong)
    theta, losses = ef.train(problem).theta, ef.Losses(model, problem.loss, test.x, test.y)
    work = {
        "influence": lambda: ef.influence(problem, theta, points="all", functional=losses),
        "newton": lambda: ef.analysis.newton_step_all(problem, theta),
        "pbrf": lambda: ef.pbrf(problem, theta, points="all", **PROXIMAL),
        "exact": lambda: ef.retrain_all(problem, theta),
    }
    print(markdown("all ten digits, 1,438 points", found, {name: once(call) for name, call in work.items()}))


FULL_NAMES = {
    "newton": "one Newton step",
    "pbrf": "proximal Bregman response",
    "bif": "Bayesian influence",
    "shapley": "Shapley",
    "banzhaf": "Banzhaf",
    "knn": "nearest neighbours",
    "random": "chance",
}
UNITLESS = ("knn", "random")
"""Methods whose numbers are not changes of φ."""


def markdown(heading: str, found: Any, measured: dict[str, float] | None = None) -> str:
    """The table as `benchmarks/README.md` has it; `measured` seconds in place of those of the comparison."""
    times = measured or {"exact": found.exact_seconds, **{name: found.scores[name].seconds for name in found.names}}
    names = "slope", "relative error", "Spearman", "LDS", "AUC", "lost", "seconds"
    lines = ["| " + " | ".join((heading, *names)) + " |", "|---" * (len(names) + 1) + "|"]
    for row in found.summary().rows:
        sizes = ["", ""] if row["method"] in UNITLESS else [f"{row['slope']:.3g}", f"{row['rel. error']:.2g}"]
        score = f"{row['LDS']:.3f} [{row['LDS low']:.3f}, {row['LDS high']:.3f}]"
        cells = [f"{row['Spearman']:.3f}", score, f"{row['AUC']:.3f}", f"{row['least − most']:.3f}"]
        name = FULL_NAMES.get(row["method"], row["method"])
        seconds = f"{times[row['method']]:.2g}" if row["method"] in times else ""
        lines.append("| " + " | ".join((name, *sizes, *cells, seconds)) + " |")
    return "\n".join([*lines, "", f"Exact leave-one-out: {times['exact']:.2g} s."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coverage", action="store_true", help="300 repetitions of sampled Shapley values")
    parser.add_argument("--tables", action="store_true", help="all methods against exact leave-one-out, as Markdown")
    parser.add_argument("--digits", action="store_true", help="of these, the table of all ten digits alone, and stop")
    options = parser.parse_args()
    console = Console(width=160)
    if options.digits:
        classes()
        return
    shapley(console)
    shapley_peer(console)
    neighbours(console)
    bayes(console)
    if options.coverage:
        coverage(console)
    if options.tables:
        tables(console)


if __name__ == "__main__":
    main()
