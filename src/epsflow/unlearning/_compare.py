"""Descend-to-delete, rewind-to-delete, the best step and the optimum at one budget of gradient steps."""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, Stored, Tabular, as_count, as_scalar, read_fields, spelled
from ..control import ScheduleSolution, best_in_family, optimal_schedule, step_weights
from ..problem import Dataset, Problem
from ..schedules import AbstractSchedule, Step
from ._gaussian import gaussian_r
from ._metrics import as_points
from ._parameters import as_privacy
from ._scores import Points, retained, score_name, scores
from .algorithms._base import AbstractDescent, UnlearningRun, as_run
from .algorithms._descents import DescendToDelete, RewindToDelete, ScheduledUnlearning


class ComparedAlgorithm(NamedTuple):
    """One row.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> found = ef.compare_unlearning(problem, steps=50, unlearning_steps=5, **target)
        >>> found.algorithms[0].algorithm, found.algorithms[0].gradients
        ('D2D', 5.0)

    Attributes:
        algorithm: its name.
        distance: ‖θ − θ_retrained‖, exact.
        bound: what no schedule of its kind comes below; 0 where nothing better is proved, NaN where it is no optimum.
        sigma: σ of the noise in the output that hides the distance.
        gradients: passes over the data that unlearning takes, the budget.
        score: accuracy or R² of θ without noise.
        noisy_score: its mean with noise, over the draws; `noisy_error` its standard error.
        switches: numbers of the steps after which ε changes, counted from the start of training.
        claim: of an optimum, status and scope; else empty.
        reference: what retraining means here.
    """

    algorithm: str
    distance: float
    bound: float
    sigma: float
    gradients: float
    score: float
    noisy_score: float
    noisy_error: float
    switches: tuple[float, ...]
    claim: str
    reference: str

    __repr__ = spelled


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class UnlearningComparison(Tabular, Stored):
    """Unlearning algorithms at one budget, side by side.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> found = ef.compare_unlearning(problem, steps=50, unlearning_steps=5, **target)
        >>> [row.algorithm for row in found.algorithms]
        ['D2D', 'R2D', 'best step', 'optimum']

    Attributes:
        title: data, model, deletion.
        steps: T, steps of training.
        unlearning_steps: K, the budget.
        step_size: η.
        epsilon, delta: the guarantee, per instance: this data set and this deletion.
        r: the distance that noise of σ = 1 hides.
        score: "accuracy" or "R²".
        retrained_score: that of the retrained parameters, without noise.
        algorithms: the rows.
    """

    title: str
    steps: int
    unlearning_steps: int
    step_size: float
    epsilon: float
    delta: float
    r: float
    score: str
    retrained_score: float
    algorithms: tuple[ComparedAlgorithm, ...]

    def __getitem__(self, name: str) -> ComparedAlgorithm:
        """The row of an algorithm.

        Raises:
            KeyError: no row of that name.
        """
        for row in self.algorithms:
            if row.algorithm == name:
                return row
        raise KeyError(name)

    @classmethod
    def from_json(cls, text: str) -> "UnlearningComparison":
        """What `to_json` wrote.

        Raises:
            InputError: another document.
        """
        return cls(**read_fields(cls, text, [ComparedAlgorithm]))

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per algorithm; `lost` is what noise costs, in the score."""
        rows = []
        for each in self.algorithms:
            row: dict[str, Any] = {**each._asdict(), "lost": each.score - each.noisy_score}
            row["switches"] = ", ".join(f"{switch:.6g}" for switch in each.switches)
            rows.append(row)
        return rows

    def _rows(self) -> list[dict[str, Any]]:
        shown = ("algorithm", "distance", "bound", "sigma", "gradients", "score", "noisy_score", "noisy_error", "claim")
        return [{name: row[name] for name in shown} for row in self.rows()]

    def _facts(self) -> dict[str, object]:
        least = min(self.algorithms, key=lambda each: each.sigma)
        return {"algorithms": len(self.algorithms), "least noise": least.algorithm, "sigma": least.sigma}

    def _title(self) -> str:
        return f"Unlearning of {self.title} in {self.unlearning_steps} steps"

    def _figures(self) -> dict[str, object]:
        return {
            "training": f"{self.steps} steps of {self.step_size:.4g}",
            "guarantee": f"ε_dp = {self.epsilon:g}, δ_dp = {self.delta:g}, per instance; noise in the output",
            "score": f"{self.score}, {self.retrained_score:.6g} after retraining",
        }


def compare_unlearning(
    problem: Problem,
    theta0: Float[np.ndarray, " d"] | Float[Array, " d"] | None = None,
    *,
    steps: int,
    unlearning_steps: int,
    epsilon_dp: float,
    delta_dp: float,
    step_size: float | None = None,
    bounds: tuple[float, float] = (0.0, 1.0),
    per_point: bool = False,
    test: Dataset | None = None,
    draws: int = 200,
    seed: int = 0,
    time_limit: float | None = None,
) -> UnlearningComparison:
    """D2D, R2D, the best step and the best schedule of all, each with K gradient steps after the request.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> target = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
        >>> ef.compare_unlearning(problem, steps=50, unlearning_steps=5, bounds=(-1.0, 1.0), **target)
        UnlearningComparison(algorithms=4, least noise=optimum, sigma=0.007588)

    Noise N(0, σ²I) in the output hides a distance of σr, r = `gaussian_r`(ε_dp, δ_dp), so the schedule that ends
    nearest to retraining needs the least noise. Training takes T steps of full-batch gradient descent. R2D goes back
    to the checkpoint at T − K and takes K steps without the points; the best step and the optimum start there, too,
    with ε_k of their own in each of the K steps, and all three are compared with retraining for T steps. D2D takes K
    steps from θ_T, and is compared with retraining for T + K. The optimum is that of `optimal_schedule` with the
    retrained parameters for its target: certified for linear regression, local for other models.

    Args:
        problem: what is trained, and which points are deleted.
        theta0: where training starts, shape (d,). Default: zero, for convex risks.
        steps: T.
        unlearning_steps: K, 1 ≤ K ≤ T.
        epsilon_dp, delta_dp: the guarantee.
        step_size: η. Default: that of the algorithms, 1/L.
        bounds: least and largest ε_k of the best step and the optimum.
        per_point: whether the optimum has one ε for each deleted point.
        test: the points whose score is given. Default: the retained points.
        draws: of the noise, for the mean score.
        seed: of the draws.
        time_limit: seconds for the optimum.

    Raises:
        InputError: K outside 1 … T, ε_dp or δ_dp outside its range, no deleted points, a non-convex risk without a
            start, steps beyond the limit of stability.
        ConvergenceError: a run diverged, or time ran out.
    """
    start = as_run(problem, theta0)
    target = as_privacy(as_scalar(epsilon_dp, "epsilon_dp"), delta_dp)
    total, budget = as_count(steps, "steps"), as_count(unlearning_steps, "unlearning_steps")
    if budget > total:
        raise InputError(f"unlearning_steps is {budget}, beyond the {total} steps of training; K ≤ T is needed.")
    rewind = RewindToDelete(steps=total, unlearning_steps=budget, step_size=step_size)
    eta = rewind.eta(problem, start)
    descend = DescendToDelete(steps=total, unlearning_steps=budget, step_size=eta)
    rewound = rewind.run(problem, start)
    question: dict[str, Any] = {"s": total - budget, "T": total, "bounds": bounds, "step_size": eta}
    question |= {"target": rewound.retrained, "time_limit": time_limit}
    best = optimal_schedule(problem, start, **question, per_point=per_point)
    step = best_in_family(problem, Step, start, **question)
    chosen = {"best step": step.schedule, "optimum": best.schedule}
    runs = {"D2D": descend.run(problem, start), "R2D": rewound}
    runs |= {name: _scheduled(each, total, budget, eta).run(problem, start) for name, each in chosen.items()}
    points = retained(problem) if test is None else as_points(problem, test)
    judge = _Judge(problem, points, as_count(draws, "draws"), seed, float(gaussian_r(*target)))
    references = dict.fromkeys(runs, rewind.reference) | {"D2D": descend.reference}
    rows = [judge.row(name, run, references[name], best if name == "optimum" else None) for name, run in runs.items()]
    rows[2] = rows[2]._replace(switches=(step.parameters["τ"],))
    return UnlearningComparison(
        title=f"{problem.data.name}, {type(problem.model).__name__}, without {problem.delete.size} point(s)",
        steps=total,
        unlearning_steps=budget,
        step_size=eta,
        epsilon=target[0],
        delta=target[1],
        r=judge.r,
        score=score_name(problem),
        retrained_score=float(scores(problem, rewound.retrained[None], points)[0]),
        algorithms=tuple(rows),
    )


def _scheduled(schedule: AbstractSchedule, total: int, budget: int, eta: float) -> AbstractDescent:
    """A schedule of the last steps as an algorithm."""
    weights = step_weights(schedule, float(total - budget), float(total))
    whole = np.concatenate([np.ones((total - budget, weights.shape[1])), weights])
    return ScheduledUnlearning(whole if whole.shape[1] > 1 else whole[:, 0], step_size=eta)


@dataclass(frozen=True, eq=False)
class _Judge:
    """What turns a run into a row; all rows share the directions of the noise."""

    problem: Problem
    points: Points
    draws: int
    seed: int
    r: float

    def row(self, name: str, run: UnlearningRun, reference: str, best: ScheduleSolution | None) -> ComparedAlgorithm:
        distance = float(run.distance)
        sigma = distance / self.r
        noise = np.random.default_rng(self.seed).standard_normal((self.draws, self.problem.dim))
        noisy = scores(self.problem, run.theta + sigma * noise, self.points)
        return ComparedAlgorithm(
            algorithm=name,
            distance=distance,
            bound=math.nan if best is None else math.sqrt(2.0 * best.lower_bound),
            sigma=sigma,
            gradients=run.gradients,
            score=float(scores(self.problem, run.theta[None], self.points)[0]),
            noisy_score=float(noisy.mean()),
            noisy_error=float(noisy.std(ddof=1) / math.sqrt(self.draws)) if self.draws > 1 else math.nan,
            switches=() if best is None else tuple(arc.end for arc in best.arcs[:-1]),
            claim="" if best is None else f"{best.status.value}, {best.scope.value}",
            reference=reference,
        )
