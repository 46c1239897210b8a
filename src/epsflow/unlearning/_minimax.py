"""One schedule for a data set: the least noise that hides the deletion of whichever point it turns out to be."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize

from .._core import Array, InputError, Shown, Stored, as_count, as_index_array, read_fields
from ..control import optimal_schedule
from ..flow import checked
from ..problem import Problem, Quadratic, linear_regression
from ..schedules import AbstractSchedule, PiecewiseConstant, check_window
from ._gaussian import gaussian_r
from ._parameters import as_privacy
from .algorithms._base import as_run
from .algorithms._descents import RewindToDelete

ROUNDS, CLOSE = 30, 1e-9
"""Rounds in which points join those that are minimised over, and the relative excess at which none has to."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MinimaxSchedule(Shown, Stored):
    """A schedule that serves every point of a data set, and how far it is from the best such schedule.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.minimax_schedule(line, steps=10, unlearning_steps=3).points
        array([0, 1, 2])

    Attributes:
        schedule: ε_k of the last K steps, in units of steps.
        points: the points that may be deleted, shape (n,).
        distances: ‖θ − θ_retrained‖ where it is each of them, shape (n,).
        rewound: the same under rewind-to-delete, ε ≡ 0, shape (n,).
        lower_bound: no schedule has a smaller largest distance: the largest distance that a schedule made for one
            point leaves, certified.
        binding: the point that proves it.
        active: the points whose distances were minimised over; the others stayed below by themselves.
        steps, unlearning_steps, step_size: T, K, η.
    """

    schedule: AbstractSchedule
    points: Int[np.ndarray, " n"]
    distances: Float[np.ndarray, " n"]
    rewound: Float[np.ndarray, " n"]
    lower_bound: float
    binding: int
    active: tuple[int, ...]
    steps: int
    unlearning_steps: int
    step_size: float

    @property
    def distance(self) -> float:
        """The largest of all distances."""
        return float(self.distances.max())

    @property
    def worst(self) -> int:
        """The point at which it is taken."""
        return int(self.points[np.argmax(self.distances)])

    @property
    def gap(self) -> float:
        """distance − lower_bound ≥ 0."""
        return self.distance - self.lower_bound

    def sigma(self, epsilon_dp: float, delta_dp: float) -> float:
        """σ of the noise that makes every deletion (ε_dp, δ_dp)-indistinguishable from retraining: per data set."""
        return self.distance / float(gaussian_r(*as_privacy(epsilon_dp, delta_dp)))

    @classmethod
    def from_json(cls, text: str) -> "MinimaxSchedule":
        """What `to_json` wrote.

        Raises:
            InputError: another document.
        """
        return cls(**read_fields(cls, text, [PiecewiseConstant]))

    def _facts(self) -> dict[str, object]:
        return {"distance": self.distance, "gap": self.gap, "worst": self.worst, "points": len(self.points)}

    def _title(self) -> str:
        return f"One schedule for {len(self.points)} points, {self.unlearning_steps} of {self.steps} steps"

    def _figures(self) -> dict[str, object]:
        return {
            "largest distance": self.distance,
            "lower bound": f"{self.lower_bound:.10g} (point {self.binding} alone)",
            "gap": self.gap,
            "rewind-to-delete": float(self.rewound.max()),
            "worst point": self.worst,
            "active points": ", ".join(map(str, self.active)),
        }


@checked
def minimax_schedule(
    problem: Problem,
    theta0: Float[np.ndarray, " d"] | Float[Array, " d"] | None = None,
    *,
    steps: int,
    unlearning_steps: int,
    step_size: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    points: Int[np.ndarray, " n"] | list[int] | None = None,
) -> MinimaxSchedule:
    """min over ε of max over points i of ‖θ_i(T) − θ_i,retrained(T)‖: one schedule for any single deletion.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> found = ef.minimax_schedule(line, steps=10, unlearning_steps=3)
        >>> bool(found.points[np.argmax(found.distances)] == found.binding)
        True

    Linear regression by full-batch gradient descent, T steps from θ0; of the last K each has a weight ε_k of the
    deleted point, whichever it is. With noise σ = distance/r the guarantee holds per data set. A shared schedule makes
    the question no convex one; the epigraph form, min t with ½‖·‖²_i ≤ t, is solved by SLSQP with exact gradients over
    the points that are worst, until no other exceeds them. Proved: no schedule does better than the best one of a
    single point, which `optimal_schedule` certifies; the largest of these is `lower_bound`.

    Args:
        problem: linear regression; its own deletion does not matter.
        theta0: where training starts, shape (d,). Default: zero.
        steps, unlearning_steps: T and K, 1 ≤ K ≤ T.
        step_size: η. Default: 1/L.
        bounds: least and largest ε_k.
        points: which points may be deleted. Default: all.

    Raises:
        InputError: not linear regression, K outside 1 … T, a step beyond the limit of stability.
    """
    if not isinstance(problem.risk, Quadratic):
        raise InputError(
            f"{type(problem.model).__name__} with {type(problem.loss).__name__}: one schedule for all points is found "
            "for linear regression, where all deletions descend side by side. Take `compare_unlearning` for one."
        )
    total, budget = as_count(steps, "steps"), as_count(unlearning_steps, "unlearning_steps")
    if budget > total:
        raise InputError(f"unlearning_steps is {budget}, beyond the {total} steps of training; K ≤ T is needed.")
    n = problem.data.n
    chosen = np.arange(n) if points is None else as_index_array(points, "points", n)
    base = linear_regression(problem.data, chosen[:1], l2=problem.l2, reduction=problem.reduction)
    start = as_run(base, theta0)
    size = RewindToDelete(steps=total, unlearning_steps=budget, step_size=step_size).eta(base, start)
    window = float(total - budget), float(total)
    family = _Family.of(base, chosen, start, window, size)
    _, _, (low, high) = check_window(*window, bounds)
    rewound = family.misses(np.zeros(budget))
    weights, active = _minimised(family, budget, (low, high))
    misses = family.misses(weights)
    lower, binding = _largest_optimum(base, chosen, start, window, size, (low, high), misses, family)
    return MinimaxSchedule(
        schedule=PiecewiseConstant(np.arange(window[0], window[1] + 1.0), weights),
        points=chosen,
        distances=np.linalg.norm(misses, axis=1),
        rewound=np.linalg.norm(rewound, axis=1),
        lower_bound=min(lower, float(np.linalg.norm(misses, axis=1).max())),
        binding=binding,
        active=tuple(int(chosen[k]) for k in active),
        steps=total,
        unlearning_steps=budget,
        step_size=size,
    )


@dataclass(frozen=True, eq=False)
class _Family:
    """All deletions of one point, side by side: θ_i moves by −η(Hθ_i − b − (1 − ε)c x_i(x_iᵀθ_i − y_i)).

    Attributes:
        h, b: ηH and ηb of all points.
        x, y: the points, shapes (n, d), (n,).
        scale: ηc.
        start: θ(T − K), shape (d,).
        targets: what retraining ends with, shape (n, d).
    """

    h: Float[np.ndarray, "d d"]
    b: Float[np.ndarray, " d"]
    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    scale: float
    start: Float[np.ndarray, " d"]
    targets: Float[np.ndarray, "n d"]

    @staticmethod
    def of(base: Problem, points: np.ndarray, start: np.ndarray, window: tuple[float, float], size: float) -> "_Family":
        """Train once, and retrain without each point."""
        risk = base.risk
        assert isinstance(risk, Quadratic)  # the caller's business
        h, b = (np.asarray(part) for part in risk.system(1.0))
        x, y = np.asarray(base.data.x)[points], np.asarray(base.data.y)[points]
        family = _Family(size * h, size * b, x, y, size * float(risk.scale), start, np.zeros_like(x))
        trained = start
        for _ in range(round(window[0])):
            trained = trained - (family.h @ trained - family.b)
        targets = family.run(np.zeros(round(window[1])))[-1]
        return _Family(family.h, family.b, x, y, family.scale, trained, targets)

    def take(self, which: list[int]) -> "_Family":
        """Some of the points."""
        return _Family(self.h, self.b, self.x[which], self.y[which], self.scale, self.start, self.targets[which])

    def run(self, weights: Float[np.ndarray, " K"]) -> Float[np.ndarray, "iterates n d"]:
        """θ_i after each step."""
        thetas = np.empty((len(weights) + 1, *self.x.shape))
        thetas[0] = self.start
        for k, weight in enumerate(weights):
            left = (1.0 - weight) * self.scale * ((thetas[k] * self.x).sum(axis=1) - self.y)
            thetas[k + 1] = thetas[k] - (thetas[k] @ self.h - self.b) + left[:, None] * self.x
        return thetas

    def misses(self, weights: Float[np.ndarray, " K"]) -> Float[np.ndarray, "n d"]:
        """θ_i(T) − θ_i,retrained."""
        return self.run(weights)[-1] - self.targets

    def costs(self, weights: Float[np.ndarray, " K"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n K"]]:
        """½‖·‖² of each point and its derivatives by the weights."""
        thetas = self.run(weights)
        p = thetas[-1] - self.targets
        values, slopes = 0.5 * np.square(p).sum(axis=1), np.empty((len(p), len(weights)))
        for k in range(len(weights) - 1, -1, -1):
            along = self.scale * (p * self.x).sum(axis=1)
            slopes[:, k] = -along * ((thetas[k] * self.x).sum(axis=1) - self.y)
            p = p - p @ self.h + ((1.0 - weights[k]) * along)[:, None] * self.x
        return values, slopes


def _minimised(family: _Family, budget: int, bounds: tuple[float, float]) -> tuple[Float[np.ndarray, " K"], list[int]]:
    """The weights, and the points that were worst on the way; from ε as near to 0 as the bounds allow."""
    weights = best = np.full(budget, float(np.clip(0.0, *bounds)))
    costs = 0.5 * np.square(family.misses(weights)).sum(axis=1)
    least, active = float(costs.max()), [int(np.argmax(costs))]
    if least == 0.0:
        return best, active
    for _ in range(ROUNDS):
        weights, level = _epigraph(family.take(active), weights, bounds)
        costs = 0.5 * np.square(family.misses(weights)).sum(axis=1)
        if float(costs.max()) < least:
            best, least = weights, float(costs.max())
        worst = int(np.argmax(costs))
        if worst in active or float(costs[worst]) <= level * (1.0 + CLOSE):
            break
        active.append(worst)
    return best, active


def _epigraph(
    family: _Family, weights: Float[np.ndarray, " K"], bounds: tuple[float, float]
) -> tuple[Float[np.ndarray, " K"], float]:
    """min t with ½‖·‖²_i ≤ t for a few points, in units of the cost at the start."""
    unit = float(family.costs(weights)[0].max())
    count = len(weights)

    def room(z: np.ndarray) -> np.ndarray:
        return z[count] - family.costs(z[:count])[0] / unit

    def slopes(z: np.ndarray) -> np.ndarray:
        return np.hstack([-family.costs(z[:count])[1] / unit, np.ones((len(family.x), 1))])

    options: dict[str, Any] = {"maxiter": 300, "ftol": 1e-14}
    towards = np.append(np.zeros(count), 1.0)
    found = minimize(
        lambda z: z[count],
        np.append(weights, 1.0),
        jac=lambda _: towards,
        method="SLSQP",
        bounds=[*[bounds] * count, (0.0, None)],
        constraints={"type": "ineq", "fun": room, "jac": slopes},
        options=options,
    )
    better = np.clip(found.x[:count], *bounds)
    level = float(family.costs(better)[0].max())
    return (better, level) if level < unit else (weights, unit)


def _largest_optimum(
    base: Problem,
    points: np.ndarray,
    start: np.ndarray,
    window: tuple[float, float],
    size: float,
    bounds: tuple[float, float],
    misses: Float[np.ndarray, "n d"],
    family: _Family,
) -> tuple[float, int]:
    """The largest certified optimum of a single point; points that cannot have it are passed over."""
    reached = np.linalg.norm(misses, axis=1)
    lower, binding = 0.0, int(points[np.argmax(reached)])
    for k in np.argsort(-reached).tolist():
        if reached[k] <= lower * (1.0 + CLOSE):  # its own optimum is no larger than what it has reached
            break
        alone = linear_regression(base.data, [int(points[k])], l2=base.l2, reduction=base.reduction)
        found = optimal_schedule(
            alone, start, s=window[0], T=window[1], bounds=bounds, step_size=size, target=family.targets[k], throw=False
        )
        if math.sqrt(2.0 * found.lower_bound) > lower:
            lower, binding = math.sqrt(2.0 * found.lower_bound), int(points[k])
    return lower, binding
