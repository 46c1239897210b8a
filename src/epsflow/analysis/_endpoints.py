"""`endpoints`: every answer to one deletion side by side, with its distance to retraining and what it cost."""

from collections.abc import Callable
from dataclasses import dataclass
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
)
from ..flow import checked_any, trained_optimum
from ..problem import Problem, pointwise
from ._deletions import require_deletion
from ._endpoint_rows import Search, descents, local_answers, retrained
from ._pbrf import require_damping
from .algorithms._descent import as_step_size, as_steps
from .curvature import AbstractCurvatureSolver, Chunks, chunks_for, said
from .optima._anchor import outputs_of
from .optima._two_precisions import in_float64

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
        dtype: of the products of minimisations and solves; all else is in float64 whatever it is.
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
    dtype: str = "float64"

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
        precision = {} if self.dtype == "float64" else {"dtype": self.dtype}
        return {
            "deletion": self.title,
            "methods": len(self.methods),
            "converged": f"{self.converged.sum()}",
            **precision,
        }

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


@checked_any
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

    A problem in float32 has the products of its minimisations and solves in float32, whatever JAX's mode, but for those
    that `pbrf` names; steps of gradient descent, answers and certificates are in float64, as there.

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
    narrow, trained = problem.dtype != "float64", np.asarray(trained_optimum(problem, theta))
    if theta0 is None and not problem.convex:
        raise InputError("training a non-convex model depends on its start: pass theta0.")
    start = np.zeros(problem.dim) if theta0 is None else as_vector(theta0, "theta0", problem.dim, narrow=narrow)
    require_damping(as_scalar(damping, "damping"))
    if not as_count(K, "K", least=0) <= as_count(steps, "steps", least=0):
        raise InputError(f"K = {K} steps of unlearning and {steps} of training: 0 ≤ K ≤ steps is needed.")
    search = Search(tol, max_steps, matrix, max_bytes, problem.dtype, solver)
    with in_float64(problem) as wide:
        given = {"lengths": as_steps([K, steps]), "step_size": step_size, "damping": damping, "functional": functional}
        found = _table(wide, trained, start, search, **given)
    if throw and not found.converged[0]:
        raise ConvergenceError(
            f"retraining, which the others are compared with, failed: {found.notes[0]}. More `max_steps` or l2 may "
            "help; throw=False returns the table.",
            found,
        )
    return found


def _table(
    problem: Problem,
    trained: np.ndarray,
    start: np.ndarray,
    search: Search,
    *,
    lengths: Any,
    step_size: Any,
    damping: Any,
    functional: Any,
) -> Endpoints:
    """Every row, of a problem in float64."""
    chunks = chunks_for(problem, search.max_bytes)
    if chunks is not None and chunks.points < min(problem.data.n, problem.chunk_rows):
        problem = problem.with_chunk_rows(chunks.points)
    eta = float(as_step_size(problem, trained, step_size, search.max_bytes))
    table = {RETRAINING: retrained(problem, trained, trained, search)}
    if not problem.convex:
        table["retraining, cold"] = retrained(problem, start, trained, search)
    table |= local_answers(problem, trained, damping, search)
    table |= descents(problem, trained, start, lengths, eta)
    rows, thetas = list(table.values()), np.stack([row.theta for row in table.values()])
    values = _values(problem, functional, np.concatenate([trained[None], thetas]))
    return Endpoints(
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
        dtype=search.precision,
    )


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
