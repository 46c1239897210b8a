"""`gradient_flow`: one call for every problem and schedule."""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import RESULTS, Array, ConvergenceError, InputError, as_scalar, decide, message, succeeded
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule
from ._collocation import solve_collocation
from ._doors import checked_flow
from ._exact import distinct_levels, exact_flow
from ._trajectory import Trajectory

if TYPE_CHECKING:
    import diffrax

ABSOLUTE = 1e-12
"""Default absolute tolerance of diffrax, in units of what θ is measured by."""

EXACT_LIMIT = 250_000_000
"""Numbers that the exact flow may hold (one d×d eigenbasis per level of ε): 2 GB."""


@checked_flow
def gradient_flow(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    t0: float = 0.0,
    method: str = "auto",
    solver: "diffrax.AbstractSolver | None" = None,
    rtol: float = 1e-10,
    atol: float | None = None,
    dense: bool = False,
    estimate_error: bool = True,
    max_steps: int = 100_000,
    throw: bool = True,
) -> Trajectory:
    """Integrate (GF) θ̇ = −∇R_{ε(t)}(θ), θ(t0) = θ0.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.gradient_flow(problem, ef.Step(2.0), np.zeros(10), ts=np.array([2.0, 20.0])).thetas.shape
        (2, 10)

    Args:
        problem: what is trained.
        schedule: ε(t).
        theta0: start, shape (d,).
        ts: ascending times ≥ t0 at which θ is wanted, shape (k,).
        t0: initial time.
        method: "exact" (linear regression, piecewise-constant ε), "collocation" (linear regression, ε smooth between
            jumps), "diffrax" (anything), or "auto": the first that applies; diffrax with `solver` or `dense`.
        solver: a diffrax solver. Default: Dopri8, or Kvaerno5 where λ_max(∇²R)·(t1 − t0) exceeds 3e4 (stiff).
        rtol, atol: diffrax's local tolerances. Default of atol, which has the units of θ: 1e-12 of ‖θ0‖_∞, or of how
            far the first gradients would carry θ in a time of 1/λ_max.
        dense: keep an interpolant, so that the trajectory can be called at any time.
        estimate_error: also run with tolerances ten times looser and report the difference (diffrax only).
        max_steps: steps after which diffrax gives up.
        throw: raise if the integration fails; otherwise the result is in `Trajectory.result`.

    Returns:
        A `Trajectory`. The same shapes never compile twice, whatever the numbers.

    Raises:
        InputError: θ0 of the wrong length or type, times that descend, or a method that does not apply.
        ConvergenceError: the integrator gave up (its own words; `.result` holds the trajectory so far).
    """
    start = problem.parameters(theta0, "theta0")
    times, first = as_times(ts, t0)
    _check_method(problem, schedule, method, dense)
    risk, eps = problem.risk, schedule(times)
    if eps.ndim > 1 and eps.shape[1:] != problem.delete.shape:
        raise InputError(f"the schedule has {eps.shape[-1]} weights, but {problem.delete.size} points are deleted.")
    if method != "diffrax" and isinstance(risk, Quadratic):
        exact = isinstance(schedule, AbstractPiecewiseConstant) and method != "collocation"
        if exact or method == "collocation" or not (dense or solver):
            trajectory = _linear(risk, schedule, np.asarray(start), times, first, eps=eps, exact=exact)
            if throw:
                _throw(trajectory)
            return trajectory
    from ._diffrax import Levels, choose_solver, sizes_of, solve_diffrax  # linear regression does not wait for diffrax

    sizes = sizes_of(risk, start)
    chosen = solver or choose_solver(sizes, float(times[-1] - first))
    absolute = ABSOLUTE * float(sizes.length) if atol is None else atol
    tight, loose = (np.asarray(rtol), np.asarray(absolute)), (np.asarray(10.0 * rtol), np.asarray(10.0 * absolute))
    constant = isinstance(schedule, AbstractPiecewiseConstant)
    followed = Levels.of(schedule, problem.delete.size) if constant else schedule
    solution = solve_diffrax(risk, followed, start, times, first, tight, chosen, max_steps, dense)
    thetas, error = jnp.asarray(solution.ys), np.asarray(np.nan)
    if estimate_error:
        rough = solve_diffrax(risk, followed, start, times, first, loose, chosen, max_steps, False)
        ends = np.asarray(solution.ys)
        # Two runs that agree to the last digit still rounded in each step; roundings add like a random walk.
        rounding = np.finfo(np.float64).eps * np.abs(ends).max() * float(solution.stats["num_steps"]) ** 0.5
        with np.errstate(invalid="ignore"):  # of times that neither reached, both hold ∞
            error = np.maximum(np.abs(ends - np.asarray(rough.ys)).max(), rounding)
    stats = {**solution.stats, "solver": type(chosen).__name__, "rtol": rtol, "atol": absolute}
    interpolant = solution.evaluate if dense else None
    result = RESULTS.promote(solution.result)
    trajectory = Trajectory(times, thetas, eps, error, result, "diffrax", stats, interpolant)
    if throw:
        _throw(trajectory)
    return trajectory


def _linear(
    risk: Quadratic,
    schedule: Any,
    start: Float[np.ndarray, " d"],
    times: Float[np.ndarray, " k"],
    first: Float[np.ndarray, ""],
    *,
    eps: Array,
    exact: bool,
) -> Trajectory:
    """The exact flow, or that by collocation."""
    if exact:
        flow = exact_flow(risk, schedule, start, first)
        thetas, stats = flow.at(times), {"arcs": len(flow.arc_starts)}
        error = flow.rounding(times, thetas)
    else:
        flow = None
        thetas, error, panels = solve_collocation(risk, schedule, start, times, first)
        stats = {"panels": panels}
    return Trajectory(
        ts=times,
        thetas=thetas,
        eps=eps,
        error=np.asarray(error),
        result=decide((~np.isfinite(thetas).all(), RESULTS.nonfinite)),
        method="exact" if exact else "collocation",
        stats=stats,
        interpolant=flow,
    )


def as_times(ts: Any, t0: float) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, ""]]:
    """Ascending, finite times from t0 on, and t0; or an `InputError` that says what they are.

    Example:
        >>> ef.flow.as_times([0.0, 1.0, 3.0], t0=0.0)
        (array([0., 1., 3.]), array(0.))
        >>> ef.flow.as_times([1.0, 0.0], t0=0.0)
        Traceback (most recent call last):
            ...
        epsflow.InputError: ts must ascend from t0 = 0; it runs from 1 to 0.
    """
    times, start = np.array(ts, dtype=np.float64), as_scalar(t0, "t0")
    if times.ndim != 1 or times.size == 0 or not np.isfinite(times).all():
        raise InputError(f"ts must be a non-empty vector of finite times; got shape {times.shape}.")
    if times[0] < start or (np.diff(times) < 0.0).any():
        raise InputError(f"ts must ascend from t0 = {start:g}; it runs from {times[0]:g} to {times[-1]:g}.")
    return times, np.asarray(start)


def _check_method(problem: Problem, schedule: AbstractSchedule, method: str, dense: bool) -> None:
    linear = isinstance(problem.risk, Quadratic)
    if method not in ("auto", "exact", "collocation", "diffrax"):
        raise InputError(f"unknown method {method!r}: choose auto, exact, collocation or diffrax.")
    if method in ("exact", "collocation") and not linear:
        raise InputError(f'method="{method}" is for linear regression; use method="diffrax" for this model or loss.')
    if method == "exact" and not isinstance(schedule, AbstractPiecewiseConstant):
        raise InputError(
            f'method="exact" needs a piecewise-constant schedule, not {type(schedule).__name__}; use "collocation".'
        )
    if method == "collocation" and dense:
        raise InputError('method="collocation" gives θ at `ts` only; use "diffrax" for an interpolant.')
    if method in ("auto", "exact") and linear and isinstance(schedule, AbstractPiecewiseConstant):
        levels = len(distinct_levels(np.asarray(schedule.levels()))[0])
        numbers = levels * problem.dim**2 + (len(schedule.jump_ts) + 1) * problem.dim
        if numbers > EXACT_LIMIT:
            raise InputError(
                f"the exact flow would hold {levels} eigenbases of size {problem.dim}², "
                f'{8e-9 * numbers:.1f} GB; use method="diffrax", whose memory does not grow with them.'
            )


def _throw(trajectory: Trajectory) -> None:
    if succeeded(trajectory.result):
        return
    if trajectory.method != "diffrax":
        raise ConvergenceError(
            f"the flow overflows before t = {float(trajectory.ts[-1]):g}: {message(trajectory.result)} A negative "
            "weight lets a direction grow without bound; ask for earlier times. throw=False returns what there is.",
            trajectory,
        )
    raise ConvergenceError(
        f"the flow stopped before t = {float(trajectory.ts[-1]):g}: {message(trajectory.result)} "
        f"({trajectory.stats['solver']}, rtol {trajectory.stats['rtol']:g}). A looser rtol or diffrax.Kvaerno5() "
        "may help on a stiff problem; throw=False returns what there is.",
        trajectory,
    )
