"""Are certificates ever wrong? Random and adversarial problems, held against exact costs in 60-digit arithmetic.

    python benchmarks/bench_certificates.py [count]

Linear regression with two parameters on n = 6 points, one of them deleted; of each kind below, `count` / 8 problems.
For each, the certified optimum is asked for, and its claims are compared with the cost, in 60 digits from the problem's
own floating-point numbers, of its own schedule, of ε ≡ 0 and 1, of bang-bang schedules with one to three random
switches, and of the optimum with switches moved by a thousandth and by a millionth of the window.

*Bound too high*: `lower_bound` above one of these costs by more than `cost_error`. *Cost off*: `cost` differs from the
exact one of the same schedule by more than `cost_error` and its own last digit. *Closed*: as in `bench_sweep.py`. An
exit status of 1 says that a claim was wrong.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import mpmath as mp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)

CLOSED, POINTS, COUNT = 1e-6, 6, 10_000
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Question:
    """Rows, targets (the first is deleted), θ0, s and T."""

    x: np.ndarray
    y: np.ndarray
    theta0: np.ndarray
    s: float
    T: float

    @property
    def problem(self) -> ef.Problem:
        return ef.linear_regression(ef.Dataset(self.x, self.y), delete=[0], reduction="mean")


# ---- the problems ---------------------------------------------------------------------------------------------------


def plain(rng: np.random.Generator) -> Question:
    """As in `bench_sweep.py`: an outlier, θ0 Gaussian, a window of a few times the flow's own."""
    x = rng.normal(size=(POINTS, 2)) * [1.0, np.exp(rng.normal())]
    y = x @ rng.normal(size=2) + 0.3 * rng.normal(size=POINTS)
    y[0] += 3.0 * rng.normal()
    s = rng.uniform(0.0, 1.0)
    return Question(x, y, rng.normal(size=2), s, s + rng.uniform(0.5, 4.0))


def units(rng: np.random.Generator) -> Question:
    """Rows, targets and time in other units, by up to eight powers of ten each."""
    q, (row, target) = plain(rng), 10.0 ** rng.uniform(-8.0, 8.0, 2)
    return Question(q.x * row, q.y * target, q.theta0 * target / row, q.s / row**2, q.T / row**2)


def columns(rng: np.random.Generator) -> Question:
    """Columns in different units: rates up to sixteen powers of ten apart, and the window fits one of them."""
    q, scales = plain(rng), 10.0 ** rng.uniform(-4.0, 4.0, 2)
    return Question(q.x * scales, q.y, q.theta0 / scales, q.s / (t := scales[rng.integers(2)] ** 2), q.T / t)


def collinear(rng: np.random.Generator) -> Question:
    """Two columns that differ by 1e-1 to 1e-8 of their size."""
    q = plain(rng)
    x = np.stack([q.x[:, 0], q.x[:, 0] + 10.0 ** rng.uniform(-8.0, -1.0) * q.x[:, 1]], axis=1)
    return Question(x, q.y, q.theta0, q.s, q.T)


def windows(rng: np.random.Generator) -> Question:
    """s from 0 and 1e-8 to 10, windows from 1e-8 to 1e4."""
    s = 10.0 ** rng.uniform(-8.0, 1.0) * (rng.uniform() < 0.8)
    q = plain(rng)
    return Question(q.x, q.y, q.theta0, s, s + 10.0 ** rng.uniform(-8.0, 4.0))


def vanishing(rng: np.random.Generator) -> Question:
    """A residual that is 0, to rounding, at s, at T or between, under ε ≡ 0 (at s, under every schedule)."""
    q = plain(rng)
    at = q.s + rng.choice([0.0, rng.uniform(), 1.0]) * (q.T - q.s)
    y = q.y.copy()
    for _ in range(20):  # θ(s) depends on y_0; a contraction unless s is long
        y[0] = float(q.x[0] @ _plain_flow(Question(q.x, y, q.theta0, q.s, q.T), at))
    return Question(q.x, y, q.theta0, q.s, q.T)


def arrived(rng: np.random.Generator) -> Question:
    """θ0 at the target, at the optimum with all points, or 1e-12 to 1e-3 beside one of them; s = 0 in half of them."""
    q, first = plain(rng), rng.integers(2)
    theta0 = np.linalg.lstsq(q.x[first:], q.y[first:], rcond=None)[0]
    theta0 = theta0 + rng.choice([0.0, 10.0 ** rng.uniform(-12.0, -3.0)]) * rng.normal(size=2)
    return Question(q.x, q.y, theta0, q.s * rng.integers(2), q.T)


def degenerate(rng: np.random.Generator) -> Question:
    """Small integers: ties, points that repeat, rows along an axis, a deleted row that is almost nothing."""
    while True:
        x = rng.integers(-2, 3, size=(POINTS, 2)).astype(float)
        if np.linalg.matrix_rank(x[1:]) == 2:
            break
    x[0] = x[1] if rng.uniform() < 0.2 else x[0] * 10.0 ** rng.choice([0.0, 0.0, -6.0, -12.0])
    y, theta0 = rng.integers(-3, 4, size=POINTS).astype(float), rng.integers(-2, 3, size=2).astype(float)
    return Question(x, y, theta0, float(rng.integers(0, 2)), 1.0 + float(rng.integers(1, 5)))


KINDS: tuple[Callable[[np.random.Generator], Question], ...] = (
    plain,
    units,
    columns,
    collinear,
    windows,
    vanishing,
    arrived,
    degenerate,
)


def _plain_flow(q: Question, at: float) -> np.ndarray:
    """θ(at) under 1_[0,s], in double precision."""
    theta = q.theta0
    for first, length in ((0, q.s), (1, at - q.s)):
        x, y = q.x[first:], q.y[first:]
        values, vectors = np.linalg.eigh(x.T @ x / POINTS)
        b = vectors.T @ (x.T @ y) / POINTS
        theta = vectors @ (np.exp(-values * length) * (vectors.T @ theta) - np.expm1(-values * length) * b / values)
    return theta


# ---- exact costs ----------------------------------------------------------------------------------------------------


class Exact:
    """θ(T) and its cost in 60 digits: the 2 × 2 matrix exponential in closed form."""

    def __init__(self, q: Question):
        self.q = q
        rows, self.targets = [[mp.mpf(v) for v in row] for row in q.x.tolist()], [mp.mpf(v) for v in q.y.tolist()]
        self.row, kept = rows[0], range(1, POINTS)
        self.gram = [mp.fsum(rows[i][a] * rows[i][b] for i in kept) for a, b in ((0, 0), (0, 1), (1, 1))]
        self.pull = [mp.fsum(rows[i][a] * self.targets[i] for i in kept) for a in (0, 1)]
        self.target = _solve(self.gram, self.pull)
        self.begin = self._flow([mp.mpf(v) for v in q.theta0.tolist()], mp.mpf(1), mp.mpf(q.s))

    def cost(self, knots: Sequence[float], levels: Sequence[float]) -> mp.mpf:
        """½‖θ(T) − θ*‖² of a piecewise-constant schedule from s to T."""
        theta = self.begin
        for start, end, level in zip(knots[:-1], knots[1:], levels, strict=True):
            theta = self._flow(theta, mp.mpf(level), mp.mpf(end) - mp.mpf(start))
        return mp.fsum((a - b) ** 2 for a, b in zip(theta, self.target, strict=True)) / 2

    def _flow(self, theta: list[mp.mpf], level: mp.mpf, length: mp.mpf) -> list[mp.mpf]:
        u, v = self.row
        a, b, c = (g + level * h for g, h in zip(self.gram, (u * u, u * v, v * v), strict=True))
        pull = [p + level * x * self.targets[0] for p, x in zip(self.pull, self.row, strict=True)]
        middle, spread = (a + c) / 2, mp.sqrt(((a - c) / 2) ** 2 + b * b)
        large = middle + spread
        t = length / POINTS
        fast, slow = mp.exp(-large * t), mp.exp(-(a * c - b * b) / large * t)
        rest = _solve([a, b, c], pull)
        away = [theta[0] - rest[0], theta[1] - rest[1]]
        if spread == 0:
            return [r + fast * e for r, e in zip(rest, away, strict=True)]
        even, odd = (fast + slow) / 2, (slow - fast) / (2 * spread)
        turned = [(a - middle) * away[0] + b * away[1], b * away[0] + (c - middle) * away[1]]
        return [r + even * e - odd * w for r, e, w in zip(rest, away, turned, strict=True)]


def _solve(matrix: list[mp.mpf], right: list[mp.mpf]) -> list[mp.mpf]:
    a, b, c = matrix
    determinant = a * c - b * b
    return [(c * right[0] - b * right[1]) / determinant, (a * right[1] - b * right[0]) / determinant]


def reached(q: Question, exact: Exact, best: ef.ScheduleSolution, rng: np.random.Generator) -> tuple[float, float]:
    """The exact cost of the optimum's own schedule, and the least of all those that were tried."""
    knots = [q.s, *(arc.end for arc in best.arcs[:-1]), q.T]
    levels = [arc.level for arc in best.arcs]
    own = exact.cost(knots, levels)
    tried = [own, exact.cost([q.s, q.T], [0.0]), exact.cost([q.s, q.T], [1.0])]
    for switches in (1, 2, 3):
        times = np.sort(rng.uniform(q.s, q.T, switches)).tolist()
        tried.append(exact.cost([q.s, *times, q.T], [float((k + switches) % 2) for k in range(switches + 1)]))
    for size in (1e-3, 1e-6):
        moved = np.sort(np.clip(np.array(knots[1:-1]) + size * (q.T - q.s) * rng.normal(size=len(knots) - 2), q.s, q.T))
        tried.append(exact.cost([q.s, *moved.tolist(), q.T], levels))
    return float(own), float(min(tried))


# ---- the comparison -------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What was found for the problems of one kind."""

    closed: int = 0
    refused: int = 0
    seconds: float = 0.0
    too_high: list[str] = field(default_factory=list)
    off: list[str] = field(default_factory=list)
    excess: float = -np.inf
    error: float = 0.0

    def add(self, q: Question, name: str, rng: np.random.Generator) -> None:
        start = time.process_time()
        try:
            best = ef.optimal_schedule(q.problem, q.theta0, s=q.s, T=q.T, throw=False)
        except ef.InputError as refusal:
            self.refused += 1
            print(f"{name}: refused: {refusal}", file=sys.stderr)
            return
        finally:
            self.seconds += time.process_time() - start
        own, least = reached(q, Exact(q), best, rng)
        certain = best.status is ef.Status.EXACT or best.scope is ef.Scope.WITHIN_ERROR
        self.closed += certain or best.gap <= CLOSED * best.cost
        self.excess = max(self.excess, (best.lower_bound - least) / least if least > 0.0 else -np.inf)
        allowed = best.cost_error + EPS * own
        self.error = max(self.error, abs(best.cost - own) / allowed if allowed > 0.0 else 0.0)
        if best.lower_bound > least + allowed:
            self.too_high.append(f"{name}: bound {best.lower_bound!r} above {least!r} (error {best.cost_error:.1e})")
        if abs(best.cost - own) > allowed:
            self.off.append(f"{name}: cost {best.cost!r} is {own!r} (error {best.cost_error:.1e})")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    mp.mp.dps = 60
    tallies = {kind.__name__: Tally() for kind in KINDS}
    for k in track(range(count), console=Console(stderr=True), description="solving"):
        kind, rng = KINDS[k % len(KINDS)], np.random.default_rng(k)
        tallies[kind.__name__].add(kind(rng), f"{kind.__name__} {k}", rng)
    table = Table(title=f"certificates of {count} problems against exact costs")
    columns = ("kind", "closed", "refused", "bound too high", "cost off", "largest excess", "largest error", "ms each")
    for column in columns:
        table.add_column(column, justify="left" if column == "kind" else "right")
    each = [len(range(k, count, len(KINDS))) for k in range(len(KINDS))]
    for (name, t), size in zip(tallies.items(), each, strict=True):
        figures = (len(t.too_high), len(t.off), f"{t.excess:.1e}", f"{t.error:.2g}", f"{1e3 * t.seconds / size:.1f}")
        table.add_row(name, f"{t.closed} of {size}", str(t.refused), *map(str, figures))
    console = Console(width=120)
    console.print(table)
    console.print(
        "largest excess: of a bound over a reached cost, relative; largest error: of a cost, over what it claims."
    )
    wrong = [line for t in tallies.values() for line in (*t.too_high, *t.off)]
    for line in wrong[:40]:
        console.print(line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
