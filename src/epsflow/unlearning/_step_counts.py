"""How many gradient steps an algorithm has to take until given noise hides the deletion: exact counts."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, Stored, Tabular, as_count, as_scalar, read_fields, spelled
from ..analysis import Walker
from ..control import ScheduleSolution, optimal_schedule
from ..problem import Problem, Quadratic
from ._gaussian import gaussian_r
from ._parameters import as_positive, as_privacy
from .algorithms._base import as_run
from .algorithms._descents import RewindToDelete


class StepCount(NamedTuple):
    """One row.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> found = ef.steps_to_unlearn(problem, steps=50, sigma=0.01, epsilon_dp=1.0, delta_dp=1e-5)
        >>> [(row.algorithm, row.steps) for row in found.counts]
        [('D2D', 5), ('R2D', 4), ('optimum', 4)]

    Attributes:
        algorithm: its name.
        steps: the least K after which, and for one step less not, the distance is hidden; None where no K ≤ T does.
        distance: ‖θ − θ_retrained‖ after K steps, or after T where K is None.
        before: after K − 1 steps; of the optimum what no schedule comes below, which is proved.
        proved: whether K − 1 steps are too few by proof: exact for D2D and R2D, the lower bound for the optimum.
    """

    algorithm: str
    steps: int | None
    distance: float
    before: float
    proved: bool

    __repr__ = spelled


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class StepCounts(Tabular, Stored):
    """Steps that unlearning takes at one noise level.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.steps_to_unlearn(problem, steps=50, sigma=0.01, epsilon_dp=1.0, delta_dp=1e-5)
        StepCounts(sigma=0.01, D2D=5, R2D=4, optimum=4)

    Attributes:
        title: data and deletion.
        sigma: σ of the noise in the output.
        epsilon, delta: the guarantee, per instance.
        distance: what σ hides.
        steps, step_size: T and η of training.
        counts: one row for D2D, R2D and the optimum.
    """

    title: str
    sigma: float
    epsilon: float
    delta: float
    distance: float
    steps: int
    step_size: float
    counts: tuple[StepCount, ...]

    def __getitem__(self, name: str) -> StepCount:
        """The row of an algorithm.

        Raises:
            KeyError: no row of that name.
        """
        return {row.algorithm: row for row in self.counts}[name]

    @classmethod
    def from_json(cls, text: str) -> "StepCounts":
        """What `to_json` wrote.

        Raises:
            InputError: another document.
        """
        return cls(**read_fields(cls, text, [StepCount]))

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per algorithm."""
        return [row._asdict() for row in self.counts]

    def _rows(self) -> list[dict[str, Any]]:
        return self.rows()

    def _facts(self) -> dict[str, object]:
        return {"sigma": self.sigma, **{row.algorithm: row.steps for row in self.counts}}

    def _title(self) -> str:
        return f"Steps to unlearn {self.title}"

    def _figures(self) -> dict[str, object]:
        return {
            "noise": f"σ = {self.sigma:.6g}, which hides {self.distance:.6g}",
            "guarantee": f"ε_dp = {self.epsilon:g}, δ_dp = {self.delta:g}, per instance",
            "training": f"{self.steps} steps of {self.step_size:.4g}",
        }


def steps_to_unlearn(
    problem: Problem,
    theta0: Float[np.ndarray, " d"] | Float[Array, " d"] | None = None,
    *,
    steps: int,
    sigma: float,
    epsilon_dp: float,
    delta_dp: float,
    step_size: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> StepCounts:
    """The least K with which D2D, R2D and the best schedule end within the distance that N(0, σ²I) hides.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.steps_to_unlearn(problem, steps=50, sigma=0.01, epsilon_dp=1.0, delta_dp=1e-5)
        StepCounts(sigma=0.01, D2D=5, R2D=4, optimum=4)

    Linear regression by full-batch gradient descent, T steps from θ0. With A = I − ηH_{-D} and Δ_k the distance of θ_k,
    trained with all points, from the same step of retraining,

        D2D ends at A^K Δ_T,    R2D at A^K Δ_{T−K},

    for every K at once. The best schedule of K steps can only improve with K (it may begin with ε = 1), so that its
    least K is found by bisection, and proved by the lower bound at K − 1.

    Args:
        problem: linear regression, and which points are deleted.
        theta0: where training starts, shape (d,). Default: zero.
        steps: T; K ≤ T.
        sigma: σ > 0.
        epsilon_dp, delta_dp: the guarantee.
        step_size: η. Default: 1/L.
        bounds: least and largest ε of the schedule; 1 among them.

    Raises:
        InputError: not linear regression, σ ≤ 0, bounds without 1, ε_dp or δ_dp outside its range, a step beyond the
            limit of stability.
    """
    start, total = as_run(problem, theta0), as_count(steps, "steps")
    if not isinstance(problem.risk, Quadratic):
        raise InputError(
            f"{type(problem.model).__name__} with {type(problem.loss).__name__}: exact step counts are for linear "
            "regression. Take `compare_unlearning` at several budgets."
        )
    if not bounds[0] <= 1.0 <= bounds[1]:
        raise InputError(f"bounds are [{bounds[0]:g}, {bounds[1]:g}]; without 1 more steps could be worse than fewer.")
    target = as_privacy(as_scalar(epsilon_dp, "epsilon_dp"), delta_dp)
    noise = as_positive(sigma, "sigma")
    hidden = noise * float(gaussian_r(*target))
    eta = RewindToDelete(steps=total, unlearning_steps=0, step_size=step_size).eta(problem, start)
    walker, marks = Walker(problem, eta), np.arange(total + 1)
    trained, retrained = (walker.walk(start, np.full(total, eps), marks=marks)[0] for eps in (1.0, 0.0))
    values, vectors = np.asarray(problem.risk.retained.values), np.asarray(problem.risk.retained.vectors)
    apart = (trained - retrained) @ vectors
    powers = (1.0 - eta * values) ** np.arange(total + 1)[:, None]
    descended, rewound = (np.linalg.norm(powers * each, axis=1) for each in (apart[-1], apart[::-1]))
    question = {"T": total, "bounds": bounds, "step_size": eta, "target": retrained[-1], "throw": False}
    counts = (
        _first("D2D", descended, hidden),
        _first("R2D", rewound, hidden),
        _optimum(problem, start, total, hidden, float(rewound[0]), question),
    )
    return StepCounts(
        title=f"{problem.data.name} without {problem.delete.size} point(s)",
        sigma=noise,
        epsilon=target[0],
        delta=target[1],
        distance=hidden,
        steps=total,
        step_size=eta,
        counts=counts,
    )


def _first(name: str, distances: Float[np.ndarray, " K"], hidden: float) -> StepCount:
    """The first K whose distance is hidden."""
    found = np.flatnonzero(distances <= hidden)
    if not found.size:
        return StepCount(name, None, float(distances[-1]), float(distances[-1]), proved=True)
    k = int(found[0])
    return StepCount(name, k, float(distances[k]), float(distances[k - 1]) if k else math.nan, proved=True)


def _optimum(
    problem: Problem, start: np.ndarray, total: int, hidden: float, unlearned: float, question: dict[str, Any]
) -> StepCount:
    """By bisection: the optimum after K steps falls with K."""
    if unlearned <= hidden:
        return StepCount("optimum", 0, unlearned, math.nan, proved=True)
    asked: dict[int, ScheduleSolution] = {}

    def best(k: int) -> ScheduleSolution:
        if k not in asked:
            asked[k] = optimal_schedule(problem, start, s=total - k, **question)
        return asked[k]

    few, enough = 0, total  # K = T is retraining, with ε = 0 throughout, where that is admissible
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if _left(best(middle).cost) <= hidden else (middle, enough)
    last = _left(best(enough).cost)
    if last > hidden:
        return StepCount("optimum", None, last, last, proved=_left(best(enough).lower_bound) > hidden)
    before = unlearned if few == 0 else _left(best(few).lower_bound)
    return StepCount("optimum", enough, last, before, proved=before > hidden)


def _left(cost: float) -> float:
    """The distance whose half square is the cost."""
    return math.sqrt(2.0 * cost)
