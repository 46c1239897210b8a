"""The response θ(ε) of the optimum to the weight of the deleted points, followed from ε = 1 to 0."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Array, Axed, ConvergenceError, InputError, Labelled, Tabular, decide, message
from ...flow import checked, trained_optimum
from ...problem import Problem
from .._deletions import require_deletion
from ._derivatives import Derivatives, derivatives, require_dense

UNIT = np.finfo(np.float64).eps

CORRECTOR_STEPS = 40
HALVINGS = 20
BISECTIONS = 30
JUMP = 10.0
"""A corrector that moves further than this many predictor steps has left the path."""


@dataclass(frozen=True, eq=False, repr=False)
class ResponsePath(Tabular, Labelled):
    """θ(ε) along a grid of weights.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.response_path(problem, eps=np.array([1.0, 0.0])).eps
        array([1., 0.])

    Attributes:
        eps: the nodes, shape (k,).
        thetas: θ(ε), shape (k, d); NaN from the breakdown on, like what follows.
        theta_dot: θ̇(ε) = dθ/dε, shape (k, d).
        theta_ddot: θ̈(ε), shape (k, d).
        gradient_norm: ‖∇R_ε(θ(ε))‖₂, computed afresh, shape (k,).
        smallest_curvature: least eigenvalue of H_ε, shape (k,).
        slope_change: ‖θ̇(first) − θ̇(last)‖ over the nodes reached.
        bound: max ‖θ̈(ε)‖ over these nodes times their span of ε. The notes' inequality says slope_change ≤ the
            maximum over *all* ε between; on a grid that maximum is approached from below.
        breakdown: two weights (ε_a, ε_b): the path was followed to ε_a and not to ε_b. NaN where it never broke.
        result: successful; singular (H_ε ceases to be positive definite); or not_stationary (the corrector failed).
    """

    eps: Float[np.ndarray, " k"]
    thetas: Float[np.ndarray, "k d"]
    theta_dot: Float[np.ndarray, "k d"]
    theta_ddot: Float[np.ndarray, "k d"]
    gradient_norm: Float[np.ndarray, " k"]
    smallest_curvature: Float[np.ndarray, " k"]
    slope_change: float
    bound: float
    breakdown: Float[np.ndarray, "2"]
    result: RESULTS

    @property
    def change(self) -> Float[np.ndarray, " d"]:
        """θ(last) − θ(first): θ(0) − θ(1) on a path from 1 to 0 that did not break down."""
        return self.thetas[-1] - self.thetas[0]

    def _arrays(self) -> dict[str, Axed]:
        return {
            "eps": ("eps", self.eps),
            "theta": ("eps parameter", self.thetas),
            "theta_dot": ("eps parameter", self.theta_dot),
            "theta_ddot": ("eps parameter", self.theta_ddot),
            "gradient_norm": ("eps", self.gradient_norm),
            "smallest_curvature": ("eps", self.smallest_curvature),
        }

    def _facts(self) -> dict[str, object]:
        return {"nodes": len(self.eps), "breakdown": self.breakdown, "result": self.result}

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "eps": self.eps[k],
                "‖θ̇‖": np.linalg.norm(self.theta_dot[k]),
                "‖θ̈‖": np.linalg.norm(self.theta_ddot[k]),
                "gradient_norm": self.gradient_norm[k],
                "smallest_curvature": self.smallest_curvature[k],
            }
            for k in range(len(self.eps))
        ]


@dataclass(frozen=True, eq=False)
class Node:
    """One point of the path, with its derivatives and what certifies it."""

    eps: float
    theta: np.ndarray
    dot: np.ndarray
    ddot: np.ndarray
    gradient_norm: float
    least: float
    regular: bool
    stationary: bool

    @property
    def reached(self) -> bool:
        """Whether it is an optimum of the path."""
        return self.regular and self.stationary


@dataclass(frozen=True, eq=False)
class Goal:
    """When a node counts as stationary.

    Attributes:
        widths: in whose units gradients are measured: the roots of H's diagonal at the first node, shape (d,).
        norm: of ∇R_ε/widths.
        rounding: u(8 + √n): what rounding may change in ∇R_ε, as a share of the sizes of its terms.
    """

    widths: np.ndarray
    norm: float
    rounding: float

    def target(self, risk: Derivatives, theta: np.ndarray, eps: float) -> float:
        """What ‖∇R_ε/widths‖ must not exceed."""
        return max(self.norm, self.rounding * float(np.linalg.norm(risk.sizes(theta, eps) / self.widths)))

    def size(self, gradient: np.ndarray) -> float:
        """‖g/widths‖."""
        return float(np.linalg.norm(gradient / self.widths))

    def length(self, move: np.ndarray) -> float:
        """‖widths·Δθ‖."""
        return float(np.linalg.norm(move * self.widths))


def _goal(problem: Problem, risk: Derivatives, start: np.ndarray, eps: float, tol: float) -> Goal:
    diagonal = np.abs(np.diagonal(risk.hessian(start, eps)))
    widths = np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    pull = float(np.linalg.norm(risk.pulls(start).sum(axis=0) / widths))
    return Goal(widths, tol * pull, UNIT * (8.0 + np.sqrt(problem.data.n)))


@checked
def response_path(
    problem: Problem,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    eps: Float[Array, " k"] | np.ndarray | None = None,
    tol: float = 1e-10,
    throw: bool = True,
) -> ResponsePath:
    """Follow θ(ε) = argmin R_ε from ε = 1 to θ(0), the leave-out optimum.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.response_path(problem, eps=np.array([1.0, 0.5, 0.0])).thetas.shape
        (3, 10)

    θ̇ = −H_ε⁻¹ Σ g_j,   θ̈ = −H_ε⁻¹(D³R_ε[θ̇, θ̇] + 2 ∇²(Σ cℓ_j) θ̇),   j ∈ D, one weight ε for all of them.

    From each node θ + hθ̇ + ½h²θ̈ predicts the next, and Newton's method corrects it. A node counts as reached if H_ε
    is positive definite there, the gradient is small and the correction short beside the prediction. Where one is not,
    bisection brackets the weight at which the path breaks down. Source: notes (0.2)–(0.6) and the question after.

    Args:
        problem: what is trained, and which points are deleted.
        theta: a start for θ at the first weight, shape (d,). Needed for non-convex risks.
        eps: strictly monotone weights, shape (k,), k ≥ 2. Default: 21 from 1 to 0.
        tol: ‖∇R_ε‖ ≤ tol·‖Σ g_j‖ at the first node, or rounding of ∇R_ε if that is more; both in units in which H_ε has
            ones on its diagonal there.
        throw: raise where the path breaks down.

    Raises:
        InputError: no deleted points, weights that are not monotone, or a non-convex risk without θ.
        ConvergenceError: the path breaks down (between which weights, and why); `.result` holds what was reached.
    """
    require_deletion(problem)
    grid = _grid(eps)
    start = trained_optimum(problem, theta, eps=float(grid[0]))
    require_dense(problem)
    risk = derivatives(problem)
    goal = _goal(problem, risk, start, float(grid[0]), tol)
    nodes = _follow(risk, start, grid, goal)
    if nodes[-1].reached:
        return _path(nodes, start, grid, (np.nan, np.nan), RESULTS.successful)
    *good, bad = nodes
    last = good[-1] if good else bad
    if good:
        last, bad = _bracket(risk, last, bad, goal)
    # At a fold the corrector fails before an eigenvalue changes its sign; its fall shows what happens.
    singular = not bad.regular or _least(risk, last, goal) < 0.01 * _least(risk, nodes[0], goal)
    result = decide((not singular, RESULTS.not_stationary), otherwise=RESULTS.singular)
    path = _path(good, start, grid, (last.eps, bad.eps), result)
    if throw:
        raise ConvergenceError(_words(path, bad, singular=singular), path)
    return path


def _grid(eps: Any) -> Float[np.ndarray, " k"]:
    grid = np.linspace(1.0, 0.0, 21) if eps is None else np.asarray(eps, dtype=np.float64)
    if grid.ndim != 1 or grid.size < 2 or not np.isfinite(grid).all():
        raise InputError(f"eps must be a vector of at least two finite weights; got shape {grid.shape}.")
    if not ((np.diff(grid) < 0.0).all() or (np.diff(grid) > 0.0).all()):
        raise InputError(
            "eps must be strictly monotone, from the weight where θ is known to the one where it is wanted."
        )
    return grid


def _correct(risk: Derivatives, theta: np.ndarray, eps: float, goal: Goal) -> np.ndarray:
    """Newton's method on ∇R_ε from a prediction, with steps halved until the gradient shortens."""
    slope = risk.gradient(theta, eps)
    norm = goal.size(slope)
    for _ in range(CORRECTOR_STEPS):
        if norm <= goal.target(risk, theta, eps) or not np.isfinite(norm):
            break
        move = -risk.inverse(theta, eps).solve(slope)
        for halving in range(HALVINGS):
            trial = theta + 0.5**halving * move
            new_slope = risk.gradient(trial, eps)
            new_norm = goal.size(new_slope)
            if new_norm <= (1.0 - 0.1 * 0.5**halving) * norm:
                break
        else:
            break
        theta, slope, norm = trial, new_slope, new_norm
    return theta


def _advance(risk: Derivatives, last: Node, eps: float, goal: Goal) -> Node:
    """Predict from a node to the weight ε, correct there, and say all that the path needs to know."""
    h = eps - last.eps
    theta = _correct(risk, last.theta + h * last.dot + 0.5 * h**2 * last.ddot, eps, goal)
    inverse, gradient = risk.inverse(theta, eps), risk.gradient(theta, eps)
    dot = -inverse.solve(risk.pulls(theta).sum(axis=0))
    length = abs(h) * goal.length(last.dot) + 0.5 * h**2 * goal.length(last.ddot)
    near = goal.length(theta - last.theta) <= JUMP * length + 1e-9 * goal.length(last.theta)
    return Node(
        eps=eps,
        theta=theta,
        dot=dot,
        ddot=-inverse.solve(risk.bend(theta, eps, dot)),
        gradient_norm=float(np.linalg.norm(gradient)),
        least=inverse.least,
        regular=inverse.regular,
        stationary=bool(goal.size(gradient) <= goal.target(risk, theta, eps) and (near or h == 0.0)),
    )


def _follow(risk: Derivatives, start: np.ndarray, grid: Float[np.ndarray, " k"], goal: Goal) -> list[Node]:
    """The nodes of the grid, each from the one before, up to the first that is not reached."""
    still = np.zeros_like(start)
    last = Node(
        eps=float(grid[0]),
        theta=start,
        dot=still,
        ddot=still,
        gradient_norm=0.0,
        least=0.0,
        regular=True,
        stationary=True,
    )
    nodes: list[Node] = []
    for eps in grid:
        last = _advance(risk, last, float(eps), goal)
        nodes.append(last)
        if not last.reached:
            break
    return nodes


def _least(risk: Derivatives, node: Node, goal: Goal) -> float:
    """The least eigenvalue of H_ε at a node, in the units of the path."""
    return float(np.linalg.eigvalsh(risk.hessian(node.theta, node.eps) / goal.widths / goal.widths[:, None])[0])


def _bracket(risk: Derivatives, last: Node, bad: Node, goal: Goal) -> tuple[Node, Node]:
    """Bisect between the last node reached and the first that was not."""
    for _ in range(BISECTIONS):
        middle = _advance(risk, last, 0.5 * (last.eps + bad.eps), goal)
        if middle.reached:
            last = middle
        else:
            bad = middle
    return last, bad


def _path(
    nodes: list[Node], start: np.ndarray, grid: np.ndarray, breakdown: tuple[float, float], result: RESULTS
) -> ResponsePath:
    def column(name: str, shape: tuple[int, ...]) -> np.ndarray:
        full = np.full((len(grid), *shape), np.nan)
        for k, node in enumerate(nodes):
            full[k] = getattr(node, name)
        return full

    dim = start.shape
    dot, ddot, last = column("dot", dim), column("ddot", dim), max(len(nodes) - 1, 0)
    return ResponsePath(
        eps=grid,
        thetas=column("theta", dim),
        theta_dot=dot,
        theta_ddot=ddot,
        gradient_norm=column("gradient_norm", ()),
        smallest_curvature=column("least", ()),
        slope_change=float(np.linalg.norm(dot[last] - dot[0])),
        bound=float(np.linalg.norm(ddot[: last + 1], axis=1).max(initial=0.0) * abs(grid[last] - grid[0])),
        breakdown=np.array(breakdown),
        result=result,
    )


def _words(path: ResponsePath, bad: Node, *, singular: bool) -> str:
    a, b = path.breakdown
    why = (
        f"H_ε is singular or indefinite there (least eigenvalue {bad.least:.2e}), and the optimum ends"
        if singular
        else f"the corrector found no optimum near the prediction (‖∇R_ε‖ = {bad.gradient_norm:.2e}): "
        f"{message(path.result)}"
    )
    return (
        f"the response path breaks down between ε = {a:.9g} and ε = {b:.9g}: {why}. Add l2 > 0, or follow it on a grid "
        "that ends before; throw=False returns the nodes reached."
    )
