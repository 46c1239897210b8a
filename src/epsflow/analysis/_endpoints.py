"""`endpoints`: every answer to one deletion side by side, with its distance to retraining and what it cost."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from .._core import (
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Tabular,
    as_count,
    as_scalar,
    as_vector,
    message,
    succeeded,
)
from ..flow import checked, trained_optimum
from ..problem import LinearModel, Problem, Quadratic, pointwise
from ._deletions import require_deletion
from ._hessian_products import by_products
from ._influence import influence
from ._pbrf import pbrf, require_damping
from ._point_gradients import point_gradients
from .algorithms._descent import as_step_size, as_steps
from .algorithms._walk import Walker
from .curvature import AbstractCurvatureSolver, Chunks, chunks_for, curvature_at, said, solve
from .optima._anchor import Anchor, anchor_at, outputs_of
from .optima._derivatives import derivatives
from .optima._newton import newton_step
from .optima._retrain import retrain
from .optima._tilted import leave_out
from .optima._trust_region import minimise

RETRAINING = "retraining, warm"
"""The row that the others are compared with: a minimum of R_0 reached from θ_s."""


@dataclass(frozen=True, eq=False, repr=False)
class Endpoints(Tabular, Labelled):
    """Answers to one deletion, one row per method.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> len(ef.endpoints(problem).rows())
        9

    Attributes:
        methods: their names; the first is the reference, retraining from θ_s.
        thetas: θ without the points, by each method, shape (r, d).
        theta: θ_s, the trained parameters, shape (d,).
        functional: φ(θ) − φ(θ_s), the predicted change, shape (r,).
        gradients: gradients of the whole risk, shape (r,); those of the deleted points alone are not counted.
        products: Hessian–vector products with all points, shape (r,); a dense Hessian counts as d of them.
        converged: whether the method met its own criterion, shape (r,).
        notes: what it has to say (a certificate, or why there is no answer), one per row.
        title: data set, model, deletion.
        chunks: how much was worked on at once, of a model that is not linear.
    """

    methods: tuple[str, ...]
    thetas: Float[np.ndarray, "r d"]
    theta: Float[np.ndarray, " d"]
    functional: Float[np.ndarray, " r"]
    gradients: Float[np.ndarray, " r"]
    products: Float[np.ndarray, " r"]
    converged: Bool[np.ndarray, " r"]
    notes: tuple[str, ...]
    title: str
    chunks: Chunks | None = None

    @property
    def change(self) -> Float[np.ndarray, "r d"]:
        """θ − θ_s, the predicted change upon removal."""
        return self.thetas - self.theta

    @property
    def distance(self) -> Float[np.ndarray, " r"]:
        """‖θ − θ_retrained‖₂."""
        return np.linalg.norm(self.thetas - self.thetas[0], axis=1)

    @property
    def relative_error(self) -> Float[np.ndarray, " r"]:
        """‖θ − θ_retrained‖/‖θ_retrained − θ_s‖: 1 is as good as doing nothing. NaN where nothing had to change."""
        moved = np.linalg.norm(self.change[0])
        return self.distance / moved if moved > 0.0 else np.full(len(self.methods), np.nan)

    def _arrays(self) -> dict[str, Axed]:
        return {
            "method": ("method", self.methods),
            "theta": ("method parameter", self.thetas),
            "trained": ("parameter", self.theta),
            "functional": ("method", self.functional),
            "gradients": ("method", self.gradients),
            "products": ("method", self.products),
            "converged": ("method", self.converged),
        }

    def _figures(self) -> dict[str, object]:
        return self._facts() | said(self.chunks)

    def _facts(self) -> dict[str, object]:
        return {"deletion": self.title, "methods": len(self.methods), "converged": f"{self.converged.sum()}"}

    def _rows(self) -> list[dict[str, Any]]:
        return self.rows()

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per method, for printing."""
        sizes = np.linalg.norm(self.change, axis=1)
        return [
            {
                "method": method,
                "change": float(sizes[i]),
                "functional": float(self.functional[i]),
                "distance": float(self.distance[i]),
                "relative error": float(self.relative_error[i]),
                "gradients": float(self.gradients[i]),
                "Hessian products": float(self.products[i]),
                "converged": bool(self.converged[i]),
                "note": self.notes[i],
            }
            for i, method in enumerate(self.methods)
        ]


@dataclass(frozen=True, eq=False)
class _Row:
    theta: np.ndarray
    gradients: float
    products: float
    converged: bool
    note: str


@checked
def endpoints(
    problem: Problem,
    theta: Float[Array, " d"] | None = None,
    *,
    theta0: Float[Array, " d"] | np.ndarray | None = None,
    damping: float = 1e-3,
    steps: int = 1_000,
    K: int = 100,
    step_size: float | None = None,
    functional: Callable[[Float[Array, " d"]], Array] | None = None,
    tol: float = 1e-9,
    max_steps: int = 1_000,
    matrix: bool = True,
    max_bytes: int | None = None,
    solver: str | AbstractCurvatureSolver | None = None,
    throw: bool = True,
) -> Endpoints:
    """Retraining, influence, second order, Newton, damped GGN influence, PBRF, D2D and R2D for the problem's deletion.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.endpoints(problem).methods[:3]
        ('retraining, warm', 'influence', 'second order')

    D2D takes K steps of gradient descent on R_0 from θ_s. R2D trains for `steps` from θ0, rewinds K of them, and takes
    them again on R_0; its endpoint is compared with the same retraining, and so is retraining by as many steps from θ0.
    Costs are those of the unlearning: training, and the checkpoint that R2D keeps, are not charged.

    Args:
        problem: what is trained, and which points are deleted.
        theta: θ_s, the trained parameters, shape (d,). Default: the optimum θ(1), for convex risks.
        theta0: where training started, shape (d,). Default: zero, for convex risks.
        damping: λ_d of the damped GGN influence and the PBRF; see `pbrf`.
        steps, K: of gradient descent, 0 ≤ K ≤ steps.
        step_size: η. Default: 1/λ_max(∇²R_1(θ_s)).
        functional: φ(θ), a scalar. Default: the summed loss of the deleted points.
        tol: gradient norm of retraining and PBRF.
        max_steps: Newton steps of each minimisation.
        matrix: False forms no d×d, n×n or n×d matrix: influence, its second order and the Newton step are solved by
            conjugate gradients, to a residual of `tol` within `max_steps` products each.
        max_bytes: as in `pbrf`.
        solver: of one more row, the damped GGN influence by a solver of `influence` ("ekfac", `Nystrom(rank=20)`, …)
            beside the exact one; None for none.
        throw: raise if retraining did not converge. Other rows are marked, with a note: a method that cannot answer
            (a singular or indefinite Hessian, say) has NaN.

    Raises:
        InputError: no deleted points, a non-convex risk without θ_s and θ0, K > steps, a functional that is
            not a scalar, a budget of memory that no chunk meets (with the least that one does).
        ConvergenceError: retraining failed; `.result` holds the table.
    """
    require_deletion(problem)
    chunks = chunks_for(problem, max_bytes)
    if chunks is not None and chunks.points < min(problem.data.n, problem.chunk_rows):
        problem = problem.with_chunk_rows(chunks.points)
    trained = trained_optimum(problem, theta)
    if theta0 is None and not problem.convex:
        raise InputError("training a non-convex model depends on its start: pass theta0.")
    start = np.zeros(problem.dim) if theta0 is None else as_vector(theta0, "theta0", problem.dim)
    require_damping(as_scalar(damping, "damping"))
    if not as_count(K, "K", least=0) <= as_count(steps, "steps", least=0):
        raise InputError(f"K = {K} steps of unlearning and {steps} of training: 0 ≤ K ≤ steps is needed.")
    eta = as_step_size(problem, trained, step_size, max_bytes)
    search = _Search(tol, max_steps, matrix, max_bytes, solver)
    table = {RETRAINING: _retrained(problem, trained, trained, search)}
    if not problem.convex:
        table["retraining, cold"] = _retrained(problem, start, trained, search)
    table |= _local(problem, trained, damping, search)
    table |= _descents(problem, trained, start, as_steps([K, steps]), float(eta))
    rows, thetas = list(table.values()), np.stack([row.theta for row in table.values()])
    values = _values(problem, functional, np.concatenate([trained[None], thetas]))
    found = Endpoints(
        methods=tuple(table),
        thetas=thetas,
        theta=trained,
        functional=values[1:] - values[0],
        gradients=np.array([row.gradients for row in rows]),
        products=np.array([row.products for row in rows]),
        converged=np.array([row.converged for row in rows]),
        notes=tuple(row.note for row in rows),
        title=f"{problem.data.name}, {type(problem.model).__name__}, without {_named(problem.delete)}",
        chunks=chunks,
    )
    if throw and not found.converged[0]:
        raise ConvergenceError(
            f"retraining, which the others are compared with, failed: {rows[0].note}. More `max_steps` or l2 may help; "
            "throw=False returns the table.",
            found,
        )
    return found


@dataclass(frozen=True)
class _Search:
    """How minima are searched for; see `pbrf`."""

    tol: float
    max_steps: int
    matrix: bool
    max_bytes: int | None
    solver: str | AbstractCurvatureSolver | None = None

    def anchor(self, problem: Problem, theta: np.ndarray) -> Anchor:
        """The model at θ."""
        return anchor_at(problem, theta, matrix=self.matrix, max_bytes=self.max_bytes)


def _retrained(problem: Problem, start: np.ndarray, trained: np.ndarray, search: _Search) -> _Row:
    """A minimum of R_0 reached from `start`."""
    if isinstance(problem.risk, Quadratic):
        end = retrain(problem, start)
        note = f"closed form, ‖∇R_0‖ = {end.gradient_norm:.1e}"
        return _Row(end.theta, 0.0, float(problem.dim), bool(succeeded(end.result)), note)
    anchor = search.anchor(problem, trained)
    basis = anchor.basis if start is trained else search.anchor(problem, start).basis
    objective = leave_out(anchor, problem.delete, 0.0)
    # The units of the steps, not the objective: a trace of damping keeps a singular GGN invertible.
    rho = max(objective.rho, 1e-6 * float(basis.values.max(initial=0.0))) or 1.0
    end = minimise(objective, basis, rho, start - trained, tol=search.tol, max_steps=search.max_steps)
    good, norm = bool(succeeded(end.result)), end.gradient_norm
    note = f"‖∇R_0‖ = {norm:.1e}" + ("" if good else f": {message(end.result)}")
    return _Row(trained + end.shift, end.steps + 1.0, float(end.products) + basis.values.size, good, note)


def _local(problem: Problem, trained: np.ndarray, damping: float, search: _Search) -> dict[str, _Row]:
    """The answers from derivatives at θ_s."""
    d = float(problem.dim)
    if not search.matrix:
        rows = by_products(problem, trained, search.tol, search.max_steps, search.max_bytes)
        known = {name: _Row(trained + a.change, 0.0, a.products, a.good, a.note) for name, a in rows.items()}
        return {
            **known,
            **_bregman(problem, trained, damping, search),
            **_approximated(problem, trained, damping, search),
        }
    # All of it is computed lazily: a method that refuses (an indefinite Hessian) leaves the others alone.
    return {
        "influence": _attempt(trained, d, lambda: _influenced(influence(problem, theta=trained, throw=False))),
        "second order": _attempt(
            trained, 2.0 * d, lambda: _influenced(influence(problem, theta=trained, order=2, throw=False))
        ),
        "Newton step": _attempt(trained, d, lambda: _newton(newton_step(problem, trained))),
        **_bregman(problem, trained, damping, search),
        **_approximated(problem, trained, damping, search),
    }


def _attempt(trained: np.ndarray, products: float, answer: Callable[[], tuple[np.ndarray, bool, str]]) -> _Row:
    try:
        change, good, note = answer()
    except InputError as refusal:
        return _Row(np.full_like(trained, np.nan), 0.0, products, False, f"no answer: {refusal}")
    return _Row(trained + change, 0.0, products, good, note)


def _influenced(answer: Any) -> tuple[np.ndarray, bool, str]:
    good = bool(succeeded(answer.result).all())
    return answer.change, good, f"residual {answer.residual.max():.1e}"


def _newton(answer: Any) -> tuple[np.ndarray, bool, str]:
    return answer.change, bool(answer.residual < 1e-6), f"residual {float(answer.residual):.1e}"


def _bregman(problem: Problem, trained: np.ndarray, damping: float, search: _Search) -> dict[str, _Row]:
    names = f"damped GGN influence, λ_d = {damping:g}", f"PBRF, λ_d = {damping:g}"
    nothing = np.full_like(trained, np.nan)
    try:
        options: Any = {"tol": search.tol, "max_steps": search.max_steps, "matrix": search.matrix}
        answer = pbrf(problem, trained, damping=damping, max_bytes=search.max_bytes, throw=False, **options)
    except InputError as refusal:
        missing = _Row(nothing, 0.0, 0.0, False, f"no answer: {refusal}")
        return dict.fromkeys(names, missing)
    # Forming the GGN, or its dual, takes a product per row.
    formed = float(min(problem.dim, problem.data.y.size)) if search.matrix else 0.0
    residual, solved = float(answer.linearised_residual), float(answer.linearised_products)
    line = _Row(answer.linearised, 0.0, formed + solved, residual < 1e-6, f"residual {residual:.1e}")
    good = bool(succeeded(answer.result))
    note = f"‖∇Q‖ = {float(answer.gradient_norm):.1e}" + ("" if good else f": {message(answer.result)}")
    costs = float(answer.steps + 1), float(answer.products) + formed
    return dict(zip(names, (line, _Row(answer.theta, *costs, good, note)), strict=True))


def _approximated(problem: Problem, trained: np.ndarray, damping: float, search: _Search) -> dict[str, _Row]:
    """The damped GGN influence by the solver that was asked for."""
    solver = search.solver
    if solver is None:
        return {}
    ggn = curvature_at(problem, trained, "ggn", damping=damping, max_bytes=search.max_bytes)
    pull = point_gradients(problem, ggn, None).sums()
    cost = 1.0  # the residual's product

    def answer() -> tuple[np.ndarray, bool, str]:
        nonlocal cost
        found = solve(ggn, pull, solver, throw=False)
        cost += float(found.steps[0])
        return found.solution[0], found.converged, f"residual {float(found.residual[0]):.1e}"

    row = _attempt(trained, 0.0, answer)
    name = solver if isinstance(solver, str) else type(solver).__name__
    return {f"damped GGN influence by {name}, λ_d = {damping:g}": replace(row, products=cost)}


def _descents(
    problem: Problem, trained: np.ndarray, start: np.ndarray, lengths: np.ndarray, eta: float
) -> dict[str, _Row]:
    """D2D, R2D and retraining by gradient descent."""
    back, final = (int(length) for length in lengths)
    walker = Walker(problem, eta)
    kept = walker.walk(start, np.ones(final - back))[0, 0]
    ends = {
        f"D2D, K = {back}": (walker.walk(trained, np.zeros(back))[0, 0], back),
        f"R2D, K = {back} of {final}": (walker.walk(kept, np.zeros(back))[0, 0], back),
        f"retraining, {final} steps": (walker.walk(start, np.zeros(final))[0, 0], final),
    }

    def slope(theta: np.ndarray) -> float:
        if isinstance(problem.model, LinearModel):
            return float(np.linalg.norm(derivatives(problem).gradient(theta, 0.0)))
        return float(np.linalg.norm(np.asarray(problem.gradient(theta, 0.0))))

    return {
        name: _Row(
            theta,
            float(cost),
            0.0,
            bool(np.isfinite(theta).all()),
            f"η = {eta:.3g}, ‖∇R_0‖ = {slope(theta):.1e}",
        )
        for name, (theta, cost) in ends.items()
    }


def _values(problem: Problem, functional: Any, thetas: Float[np.ndarray, "r d"]) -> Float[np.ndarray, " r"]:
    if functional is None:
        x, y = np.asarray(problem.data.x[problem.delete]), np.asarray(problem.data.y[problem.delete])
        outputs = [outputs_of(problem.model, theta, x) for theta in thetas]
        return np.array([pointwise(problem.loss, output, y).values.sum() for output in outputs])
    values = [np.asarray(functional(theta)) for theta in thetas]
    if values[0].shape != ():
        raise InputError(f"the functional returned shape {values[0].shape}; a scalar of θ is needed.")
    return np.array(values, dtype=np.float64)


def _named(delete: np.ndarray) -> str:
    listed = ", ".join(str(point) for point in delete[:4])
    return f"point{'s' if delete.size > 1 else ''} {listed}" + (f" … ({delete.size})" if delete.size > 4 else "")
