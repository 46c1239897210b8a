"""`endpoints`: every answer to one deletion side by side, with its distance to retraining and what it cost."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from .._core import RESULTS, Array, ConvergenceError, InputError, message
from ..flow import trained_optimum
from ..problem import Problem, Quadratic
from ..schedules import Constant
from ._decompose import minimise_jit
from ._deletions import require_deletion
from ._influence import influence
from ._pbrf import pbrf, preconditioner
from .algorithms._descent import as_step_size, as_steps, descend, no_keys
from .optima._newton import newton_step
from .optima._retrain import retrain
from .optima._tilted import leave_out

RETRAINING = "retraining, warm"
"""The row that the others are compared with: a minimum of R_0 reached from θ_s."""


class Endpoints(eqx.Module):
    """Answers to one deletion, one row per method.

    Attributes:
        methods: their names; the first is the reference, retraining from θ_s.
        thetas: θ without the points, by each method, shape (r, d).
        theta_s: the trained parameters, shape (d,).
        functional: φ(θ) − φ(θ_s), the predicted change, shape (r,).
        gradients: gradients of the whole risk, shape (r,); those of the deleted points alone are not counted.
        products: Hessian–vector products with all points, shape (r,); a dense Hessian counts as d of them.
        converged: whether the method met its own criterion, shape (r,).
        notes: what it has to say (a certificate, or why there is no answer), one per row.
        title: data set, model, deletion.
    """

    methods: tuple[str, ...] = eqx.field(static=True)
    thetas: Float[Array, "r d"]
    theta_s: Float[Array, " d"]
    functional: Float[Array, " r"]
    gradients: Float[np.ndarray, " r"]
    products: Float[np.ndarray, " r"]
    converged: Bool[np.ndarray, " r"]
    notes: tuple[str, ...] = eqx.field(static=True)
    title: str = eqx.field(static=True)

    @property
    def change(self) -> Float[Array, "r d"]:
        """θ − θ_s, the predicted change upon removal."""
        return self.thetas - self.theta_s

    @property
    def distance(self) -> Float[Array, " r"]:
        """‖θ − θ_retrained‖₂."""
        return jnp.linalg.norm(self.thetas - self.thetas[0], axis=1)

    @property
    def relative_error(self) -> Float[Array, " r"]:
        """‖θ − θ_retrained‖/‖θ_retrained − θ_s‖: 1 is as good as doing nothing. NaN where nothing had to change."""
        moved = jnp.linalg.norm(self.change[0])
        return jnp.where(moved > 0.0, self.distance / jnp.where(moved > 0.0, moved, 1.0), jnp.nan)

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per method, for printing."""
        sizes = np.asarray(jnp.linalg.norm(self.change, axis=1))
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


class _Row(eqx.Module):
    theta: Array
    gradients: float
    products: float
    converged: bool
    note: str


def endpoints(
    problem: Problem,
    *,
    theta_s: Float[Array, " d"] | np.ndarray | None = None,
    theta0: Float[Array, " d"] | np.ndarray | None = None,
    damping: float = 1e-3,
    T: int = 1_000,
    K: int = 100,
    step_size: float | None = None,
    functional: Callable[[Float[Array, " d"]], Array] | None = None,
    tol: float = 1e-9,
    max_steps: int = 1_000,
    throw: bool = True,
) -> Endpoints:
    """Retraining, influence, second order, Newton, damped GGN influence, PBRF, D2D and R2D for the problem's deletion.

    D2D takes K steps of gradient descent on R_0 from θ_s. R2D trains for T steps from θ0, rewinds K of them, and takes
    them again on R_0; its endpoint is compared with the same retraining, and so is T steps of retraining from θ0. Costs
    are those of the unlearning: training, and the checkpoint that R2D keeps, are not charged.

    Args:
        problem: what is trained, and which points are deleted.
        theta_s: the trained parameters, shape (d,). Default: the optimum θ(1), for convex risks.
        theta0: where training started, shape (d,). Default: zero, for convex risks.
        damping: λ_d of the damped GGN influence and the PBRF; see `pbrf`.
        T, K: steps of gradient descent, 0 ≤ K ≤ T.
        step_size: η. Default: 1/λ_max(∇²R_1(θ_s)).
        functional: φ(θ), a scalar. Default: the summed loss of the deleted points.
        tol: gradient norm of retraining and PBRF.
        max_steps: Newton steps of each minimisation.
        throw: raise if retraining did not converge. Other rows are marked, with a note: a method that cannot answer
            (a singular or indefinite Hessian, say) has NaN.

    Raises:
        InputError: no deleted points, a non-convex risk without θ_s and θ0, K > T, a functional that is not a scalar.
        ConvergenceError: retraining failed; `.result` holds the table.
    """
    require_deletion(problem)
    trained = jnp.asarray(trained_optimum(problem, theta_s))
    if theta0 is None and not problem.convex:
        raise InputError("training a non-convex model depends on its start: pass theta0.")
    start = jnp.zeros(problem.dim) if theta0 is None else problem.parameters(theta0, "theta0")
    if not 0 <= K <= T:
        raise InputError(f"K = {K} steps of unlearning and T = {T} of training: 0 ≤ K ≤ T is needed.")
    eta = as_step_size(problem, trained, step_size)
    limits = jnp.asarray(tol), jnp.asarray(max_steps)
    table = {RETRAINING: _retrained(problem, trained, trained, limits)}
    if not problem.convex:
        table["retraining, cold"] = _retrained(problem, start, trained, limits)
    table |= _local(problem, trained, damping, tol, max_steps)
    table |= _descents(problem, trained, start, as_steps([K, T]), eta)
    rows, thetas = list(table.values()), jnp.stack([row.theta for row in table.values()])
    values = _values(problem, functional, jnp.concatenate([trained[None], thetas]))
    found = Endpoints(
        methods=tuple(table),
        thetas=thetas,
        theta_s=trained,
        functional=values[1:] - values[0],
        gradients=np.array([row.gradients for row in rows]),
        products=np.array([row.products for row in rows]),
        converged=np.array([row.converged for row in rows]),
        notes=tuple(row.note for row in rows),
        title=f"{problem.data.name}, {type(problem.model).__name__}, without {_named(problem.delete)}",
    )
    if throw and not found.converged[0]:
        raise ConvergenceError(
            f"retraining, which the others are compared with, failed: {rows[0].note}. More `max_steps` or l2 may help; "
            "throw=False returns the table.",
            found,
        )
    return found


def _retrained(problem: Problem, start: Array, trained: Array, limits: tuple[Array, Array]) -> _Row:
    """A minimum of R_0 reached from `start`."""
    if isinstance(problem.risk, Quadratic):
        end = retrain(problem, start)
        note = f"closed form, ‖∇R_0‖ = {float(end.gradient_norm):.1e}"
        return _Row(jnp.asarray(end.theta), 0.0, float(problem.dim), bool(end.result == RESULTS.successful), note)
    _, basis = preconditioner(problem, start)
    objective = leave_out(problem.empirical(), trained, jnp.asarray(problem.delete), 0.0)
    # The units of the steps, not the objective: a trace of damping keeps a singular GGN invertible.
    rho = jnp.maximum(objective.rho, 1e-6 * jnp.max(basis.values))
    end = minimise_jit(objective, basis, rho, start - trained, *limits)
    good, norm = bool(end.result == RESULTS.successful), float(end.gradient_norm)
    note = f"‖∇R_0‖ = {norm:.1e}" + ("" if good else f": {message(end.result)}")
    costs = float(end.iterations + 1), float(end.products) + basis.values.size
    return _Row(trained + end.shift, *costs, good, note)


def _local(problem: Problem, trained: Array, damping: float, tol: float, max_steps: int) -> dict[str, _Row]:
    """The answers from derivatives at θ_s."""
    d = float(problem.dim)
    # All of it is computed lazily: a method that refuses (an indefinite Hessian) leaves the others alone.
    return {
        "influence": _attempt(trained, d, lambda: _influenced(influence(problem, theta=trained, throw=False))),
        "second order": _attempt(
            trained, 2.0 * d, lambda: _influenced(influence(problem, theta=trained, order=2, throw=False))
        ),
        "Newton step": _attempt(trained, d, lambda: _newton(newton_step(problem, trained))),
        **_bregman(problem, trained, damping, tol, max_steps),
    }


def _attempt(trained: Array, products: float, answer: Callable[[], tuple[Array, bool, str]]) -> _Row:
    try:
        change, good, note = answer()
    except InputError as refusal:
        return _Row(jnp.full_like(trained, jnp.nan), 0.0, products, False, f"no answer: {refusal}")
    return _Row(trained + change, 0.0, products, good, note)


def _influenced(answer: Any) -> tuple[Array, bool, str]:
    good = bool(jnp.all(answer.result == RESULTS.successful))
    return answer.change, good, f"residual {float(jnp.max(answer.residuals)):.1e}"


def _newton(answer: Any) -> tuple[Array, bool, str]:
    return answer.change, bool(answer.residual < 1e-6), f"residual {float(answer.residual):.1e}"


def _bregman(problem: Problem, trained: Array, damping: float, tol: float, max_steps: int) -> dict[str, _Row]:
    names = f"damped GGN influence, λ_d = {damping:g}", f"PBRF, λ_d = {damping:g}"
    nothing = jnp.full_like(trained, jnp.nan)
    try:
        answer = pbrf(problem, trained, damping=damping, tol=tol, max_steps=max_steps, throw=False)
    except InputError as refusal:
        missing = _Row(nothing, 0.0, 0.0, False, f"no answer: {refusal}")
        return dict.fromkeys(names, missing)
    # Forming the GGN, or its dual, takes a product per row.
    formed = float(min(problem.dim, problem.data.y.size))
    residual = float(answer.linearised_residual)
    line = _Row(answer.linearised, 0.0, formed, residual < 1e-6, f"residual {residual:.1e}")
    good = bool(answer.result == RESULTS.successful)
    note = f"‖∇Q‖ = {float(answer.gradient_norm):.1e}" + ("" if good else f": {message(answer.result)}")
    costs = float(answer.iterations + 1), float(answer.products) + formed
    return dict(zip(names, (line, _Row(answer.theta, *costs, good, note)), strict=True))


def _descents(problem: Problem, trained: Array, start: Array, lengths: np.ndarray, eta: Array) -> dict[str, _Row]:
    """D2D, R2D and retraining by gradient descent."""
    back, final = (int(length) for length in lengths)
    first, last, checkpoint = jnp.asarray(0), jnp.asarray([final]), jnp.asarray([final - back])

    def run(eps: float, theta: Array, begin: Array, end: Array) -> Array:
        return descend(problem.risk, Constant(eps), theta, begin, end, eta, no_keys(), 0)[0, -1]

    kept = run(1.0, start, first, checkpoint)
    ends = {
        f"D2D, K = {back}": (run(0.0, trained, first, jnp.asarray([back])), back),
        f"R2D, K = {back} of {final}": (run(0.0, kept, checkpoint[0], last), back),
        f"retraining, {final} steps": (run(0.0, start, first, last), final),
    }
    zero = jnp.zeros(())
    return {
        name: _Row(
            theta,
            float(cost),
            0.0,
            bool(jnp.isfinite(theta).all()),
            f"η = {float(eta):.3g}, ‖∇R_0‖ = {float(jnp.linalg.norm(problem.risk.gradient(theta, zero))):.1e}",
        )
        for name, (theta, cost) in ends.items()
    }


def _values(problem: Problem, functional: Any, thetas: Float[Array, "r d"]) -> Float[Array, " r"]:
    if functional is None:
        x, y = jnp.asarray(problem.data.x[problem.delete]), jnp.asarray(problem.data.y[problem.delete])
        return _deleted_losses(problem.model, problem.loss, thetas, x, y)
    values = [functional(theta) for theta in thetas]
    if jnp.shape(values[0]) != ():
        raise InputError(f"the functional returned shape {jnp.shape(values[0])}; a scalar of θ is needed.")
    return jnp.asarray(values, dtype=jnp.float64)


@eqx.filter_jit
def _deleted_losses(model: Any, loss: Any, thetas: Array, x: Array, y: Array) -> Float[Array, " r"]:
    return jax.vmap(lambda t: jnp.sum(jax.vmap(loss)(jax.vmap(model, (None, 0))(t, x), y)))(thetas)


def _named(delete: np.ndarray) -> str:
    listed = ", ".join(str(point) for point in delete[:4])
    return f"point{'s' if delete.size > 1 else ''} {listed}" + (f" … ({delete.size})" if delete.size > 4 else "")
