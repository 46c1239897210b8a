"""The question that the room answers: which ε(t) in E_s ends nearest to the target, or where another cost is least?"""

import hashlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, Shown, Stored, as_instance, as_scalar
from ..flow import as_any_problem, as_problem, gradient_flow
from ..problem import Problem, Quadratic
from ..schedules import (
    AbstractSchedule,
    BangBang,
    Constant,
    LinearDecay,
    check_effort,
    check_window,
)
from ._descent import as_step, descend, restarted
from ._target import Target, leave_out_optimum, warn_of
from ._trainings import Recipes, Trainings, as_trainings, stored
from .linear._task import LinearTask, linear_task
from .steps._task import StepTask
from .systems._ensemble import AbstractSteps
from .systems._steps import GradientSteps, HeavyBall
from .terms._cost import AbstractCost, Distance, cost_and_gradient
from .terms._window import Window


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ControlTask(Shown, Stored):
    """min cost(θ(T)) + ρ∫|ε| dt over ε ∈ E_s with ∫|ε| dt ≤ B: ε = 1 on [0, s], low ≤ ε ≤ high on (s, T), then 0.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> task = ef.control.make_task(line, np.zeros(1), s=0.1, T=1.0)
        >>> task.target, task.bounds
        (array([1.6]), (0.0, 1.0))

    With a step size, θ moves by gradient descent, time counts its steps, and ε is constant in each of them. With an
    optimiser, θ moves as `train_with` moves it, time counts its steps too, and the cost is the mean over the seeds.

    Attributes:
        problem: what is trained and which points are deleted.
        theta0: θ(0), shape (d,).
        s, T: when the request arrives, and by when the points must be gone; with a step size, numbers of steps.
        bounds: (low, high) for ε on (s, T).
        target: θ*_{-D}, or the point that was given instead, shape (d,).
        target_error: estimate of the ‖·‖₂ error in `target`; 0 for one that was given.
        theta_s: θ(s), where the choice begins, shape (d,).
        theta_s_error: estimate of the ‖·‖∞ error in `theta_s`.
        cost: of θ(T); zero at the target.
        budget: B, the most that ∫|ε| dt over (s, T) may be, summed over the points where each has a weight of its own;
            ∞ for none.
        price: ρ.
        step_size, momentum: η of gradient descent, and β of its heavy ball; None and 0 for the flow.
        velocity: v(s) of the heavy ball, shape (d,); None for the flow.
        trainings: those with an optimiser, from s on; `theta0`, `theta_s` and `target` are then the first seed's. None
            without one.
        linear: the same question in the eigenbasis of H_{-D}, with its eigendecompositions; None where the problem is
            not linear regression.
    """

    problem: Problem
    theta0: Float[Array, " d"]
    s: float
    T: float
    bounds: tuple[float, float]
    target: Float[Array, " d"]
    target_error: float = 0.0
    theta_s: Float[Array, " d"]
    theta_s_error: float
    cost: AbstractCost
    budget: float = np.inf
    price: float = 0.0
    step_size: float | None = None
    momentum: float = 0.0
    velocity: Float[Array, " d"] | None = None
    trainings: Trainings | None = None
    linear: LinearTask | None = None

    @property
    def initial(self) -> float:
        """The cost of θ(s): what doing nothing at all would leave."""
        return float(cost_and_gradient(self.cost, self.problem.risk, self.theta_s, self.target)[0])

    @property
    def priced(self) -> bool:
        """Whether ∫|ε| dt matters."""
        return self.price > 0.0 or self.budget < np.inf

    @property
    def in_steps(self) -> bool:
        """Whether time counts steps, of gradient descent or of an optimiser."""
        return self.step_size is not None or self.trainings is not None

    @property
    def unseen(self) -> str:
        """Why ε changes nothing in training with an optimiser, and what to try; empty where it does."""
        return "" if self.trainings is None else self.trainings.unseen

    @property
    def title(self) -> str:
        """The question in one line."""
        points, data = self.problem.delete.tolist(), self.problem.data.name
        which = f"point {points[0]}" if len(points) == 1 else f"{len(points)} points"
        size = "" if self.step_size is None else f" of {self.step_size:.3g}"
        steps = f" steps{size}" if self.in_steps else ""
        return f"{data} without {which}, s = {self.s:g}, T = {self.T:g}{steps}"

    def worth(self, effort: float, multiplier: float) -> dict[str, object]:
        """What a summary says of ∫|ε| dt; nothing where it does not matter."""
        if not self.priced:
            return {}
        limit = f" of {self.budget:.6g}" if self.budget < np.inf else ""
        return {"∫|ε| dt": f"{effort:.6g}{limit}", "worth of a unit": multiplier}

    def _facts(self) -> dict[str, object]:
        return {
            "data": self.problem.data.name,
            "points": self.problem.delete,
            "s": self.s,
            "T": self.T,
            "bounds": f"[{self.bounds[0]:g}, {self.bounds[1]:g}]",
            "cost": type(self.cost).__name__,
            **({} if self.step_size is None else {"step_size": self.step_size, "momentum": self.momentum}),
            **({} if self.trainings is None else self.trainings.facts),
            **({"budget": self.budget, "price": self.price} if self.priced else {}),
        }

    def _stored(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "linear"}
        made = None if self.trainings is None else stored(self.trainings)
        return values | {"problem": fingerprint(self.problem), "trainings": made}

    @classmethod
    def _revived(cls, given: dict[str, Any], problem: dict[str, Any], trainings: Any, **values: Any) -> "ControlTask":
        """The task, for the problem that it was made for; with an optimiser, trained again.

        Raises:
            InputError: another problem, or another optimiser.
        """
        here = as_instance(given["problem"], "problem", Problem, "pass the problem that the result was found for")
        known = fingerprint(here)
        other = [f"{name} {problem[name]} (here {known[name]})" for name in known if known[name] != problem[name]]
        if other:
            raise InputError(f"this was found for another problem: {', '.join(other)}.")
        if trainings is not None:
            question = {name: values[name] for name in ("s", "T", "target", "cost")}
            return cls(problem=here, trainings=trainings.of(here, given["optimiser"], **question), **values)
        window = Window(values["s"], values["T"], *values["bounds"])
        rest = {name: values[name] for name in ("theta0", "target", "cost", "price", "budget")}
        linear = _in_eigenbasis(here, window=window, **rest)
        if linear is not None and values["step_size"] is not None:
            linear = restarted(linear, values["step_size"], values["momentum"]).linear
        return cls(problem=here, linear=linear, **values)


def fingerprint(problem: Problem) -> dict[str, Any]:
    """What tells one problem from another: names, sizes, penalty, the points, and a digest of the data."""
    digest = hashlib.sha256()
    for part in (problem.data.x, problem.data.y, problem.delete):
        for start in range(0, len(part), DIGESTED):
            # As numbers: those of float32 and their copy in float64 are the same problem.
            rows = part[start : start + DIGESTED]
            rows = rows.astype(np.float64, copy=False) if rows.dtype.kind == "f" else rows
            digest.update(np.ascontiguousarray(rows).tobytes())
    return {
        "model": type(problem.model).__name__,
        "loss": type(problem.loss).__name__,
        "parameters": problem.dim,
        "points": problem.data.n,
        "deleted": tuple(problem.delete.tolist()),
        "l2": np.asarray(problem.penalty).tolist(),
        "reduction": problem.reduction,
        "data": digest.hexdigest(),
    }


def known_schedules() -> list[type]:
    """Every schedule class that is imported; naming one of each file of schedules imports them all."""
    return list(dict.fromkeys([*descendants(AbstractSchedule), BangBang, LinearDecay]))


def descendants(cls: type) -> list[type]:
    """A class and all that derive from it."""
    return [cls, *(each for child in cls.__subclasses__() for each in descendants(child))]


DIGESTED = 65_536
"""Rows of the data that are read at once for a digest."""


def make_task(
    problem: Problem,
    theta0: object,
    *,
    s: float | int,
    T: float | int,
    bounds: tuple[float, float] = (0.0, 1.0),
    target: object | None = None,
    cost: AbstractCost | None = None,
    budget: float | None = None,
    price: float = 0.0,
    step_size: float | None = None,
    momentum: float = 0.0,
    recipes: Recipes | None = None,
) -> ControlTask:
    """Check the question once, and train up to s; with an optimiser and seeds as `recipes` say.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.control.make_task(line, np.zeros(1), s=0.1, T=1.0).target
        array([1.6])
        >>> ef.control.make_task(line, np.zeros(1), s=2.0, T=1.0)
        Traceback (most recent call last):
            ...
        epsflow.InputError: T = 1 must come after s = 2: between them ε is free.

    Raises:
        InputError: no `Problem`, or none that deletes a point; s < 0, T ≤ s or reversed bounds; θ0 of the wrong length;
            a cost that does not fit; no unique leave-out optimum, or one out of reach, and no `target`; a budget that
            no admissible ε meets; a negative price; numbers whose squares overflow; with a step size, s or T that are
            not whole numbers, or steps beyond the limit of stability.
        ConvergenceError: the leave-out optimum or the flow up to s did not converge.
    """
    s, T, bounds = check_window(s, T, bounds)
    size, momentum = as_step(step_size, momentum, s, T)
    (as_problem if recipes is None else as_any_problem)(problem)
    if problem.delete.size == 0:
        raise InputError("the problem deletes no point, so there is nothing to unlearn: make it with delete=[index].")
    cost = Distance() if cost is None else cost
    given = None if target is None else problem.parameters(target, "target")
    as_instance(cost, "cost", AbstractCost, "write Distance(), QuadraticForm(W), PredictionGap(x) or RetainedLoss()")
    cost.check(problem, given)
    limit, price = check_effort(budget, price, T - s, bounds), as_scalar(price, "price")
    question = {"problem": problem, "s": s, "T": T, "bounds": bounds, "cost": cost, "budget": limit, "price": price}
    if recipes is not None:
        if size is not None:
            raise InputError("an optimiser has a learning rate and a momentum of its own: leave step_size out.")
        made = as_trainings(problem, theta0, recipes, s=s, T=T, target=given, cost=cost)
        theta0, goal, theta_s = (problem.parameters(each) for each in (made.starts[0], made.target, made.theta_s))
        return ControlTask(**question, theta0=theta0, target=goal, theta_s=theta_s, theta_s_error=0.0, trainings=made)
    start = problem.parameters(theta0, "theta0")
    time = T if size is None else T * size
    _check_size(problem, time, start)
    goal = leave_out_optimum(problem, start, cost) if given is None else Target(given, 0.0)
    _check_size(problem, time, goal.theta, goal.error)
    window, velocity = Window(s, T, *bounds), None
    given = {"window": window, "target": goal.theta, "cost": cost, "price": price, "budget": limit}
    linear = _in_eigenbasis(problem, theta0=start, **given)
    if size is None:
        theta_s, error = (start, 0.0) if s == 0.0 else _trained(problem, start, s, linear)
    else:
        linear, theta_s, velocity, error = descend(problem, start, round(s), linear, size, momentum)
    warn_of(problem, goal, float(np.linalg.norm(np.asarray(theta_s) - np.asarray(goal.theta))))
    return ControlTask(
        **question,
        theta0=start,
        target=goal.theta,
        target_error=goal.error,
        theta_s=theta_s,
        theta_s_error=error,
        step_size=size,
        momentum=momentum,
        velocity=velocity,
        linear=linear,
    )


def _in_eigenbasis(problem: Problem, *, theta0: Float[Array, " d"], **question: Any) -> LinearTask | None:
    """The question for the wings of linear regression; None where it is another problem."""
    return linear_task(problem.risk, theta0, **question) if isinstance(problem.risk, Quadratic) else None


def _check_size(problem: Problem, T: float, theta: Float[Array, " d"], error: float = 0.0) -> None:
    """Refuse numbers whose squares overflow: a cost of them means nothing."""
    risk, d, far = problem.risk, problem.dim, float(np.abs(np.asarray(theta)).max())
    rate = float(np.abs(np.asarray(risk.h_retained)).max()) if isinstance(risk, Quadratic) else 1.0
    with np.errstate(over="ignore"):
        sizes = np.square([far * d, rate * d, rate * T])
    if not np.isfinite([*sizes, error]).all():
        raise InputError(
            f"parameters are about {far:.1g} here, second derivatives {rate:.1g}, and T is {T:.1g}: their squares "
            "overflow, and the cost would mean nothing. Measure the targets y (and θ0), the features or the time in "
            "larger units, for instance y / y.std()."
        )


def _trained(
    problem: Problem, theta0: Float[Array, " d"], s: float, linear: LinearTask | None
) -> tuple[Float[Array, " d"], float]:
    """θ(s) and its error."""
    if linear is None:
        training = gradient_flow(problem, Constant(1.0), theta0, ts=np.array([s]))
        return training.end, float(training.error)
    theta_s = linear.theta(linear.start)
    size = float(max(np.abs(theta_s).max(), np.abs(np.asarray(theta0)).max()))
    return theta_s, rounding_of(linear, s, size)


def rounding_of(linear: LinearTask, time: float, size: float) -> float:
    """First order: eigenvalues carry an error of d·u·μ_max, which acts for a time."""
    rate = float(linear.rates[-1] + max(map(abs, (1.0, *linear.bounds))) * np.sum(linear.rows**2))
    return len(linear.target) * np.finfo(np.float64).eps * (1.0 + rate * time) * float(size)


def linear_of(task: ControlTask) -> LinearTask:
    """The task in the eigenbasis.

    Raises:
        InputError: the problem is not linear regression.
    """
    if task.linear is None:
        raise InputError(
            f"{type(task.problem.model).__name__} with {type(task.problem.loss).__name__} is not linear regression: "
            "exact propagators, and the certificates that rest on them, exist for linear regression only."
        )
    return task.linear


def descent_of(task: ControlTask) -> GradientSteps:
    """Gradient descent from s on, in the coordinates of the problem, of a task with a step size."""
    assert task.step_size is not None  # whoever asks has made sure
    assert task.velocity is not None
    ball = HeavyBall(task.problem.risk, task.theta_s, task.velocity, task.step_size, task.momentum)
    return GradientSteps(ball, task.cost, task.target)


def training_of(task: ControlTask) -> AbstractSteps:
    """Training from s on, of a task in steps."""
    return descent_of(task) if task.trainings is None else task.trainings.seeds


def mesh_of(task: ControlTask) -> Float[np.ndarray, " knots"]:
    """The intervals of whole steps on which ε of a task in steps is judged: each step, or those of an optimiser."""
    return np.arange(task.s, task.T + 1.0) if task.trainings is None else task.trainings.knots


def steps_of(task: ControlTask) -> StepTask:
    """The task in steps, in the eigenbasis.

    Raises:
        InputError: the problem is not linear regression.
    """
    linear, size, velocity = linear_of(task), task.step_size, task.velocity
    assert size is not None  # whoever asks has made sure
    return StepTask(linear, size, task.momentum, np.asarray(velocity) @ linear.basis)
