"""The influence density of linear regression, in NumPy: exact eigenbases, or collocation where ε is smooth."""

import numpy as np
from jaxtyping import Float

from ..._core import Array
from ...analysis import Functional
from ...flow import ExactFlow, collocated_costate, exact_costate, gradient_flow
from ...problem import Problem, Quadratic
from ...schedules import AbstractSchedule
from ._pointwise import check_size, densities_of
from ._sweep import Sweep, end_gradients
from ._windows import AbstractWindows, ExactWindows, SampledWindows

UNIT = float(np.finfo(np.float64).eps)


def linear_density(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
    t0: float,
    throw: bool,
) -> Sweep:
    """K of linear regression; the arguments are those of `influence_density`."""
    forward = gradient_flow(problem, schedule, theta0, ts=ts, t0=t0, throw=throw)
    final = end_gradients(functional, np.asarray(forward.end))
    ends = final.rows
    check_size(len(forward.ts), problem.data.n, len(ends))
    ts, thetas = np.asarray(forward.ts), np.asarray(forward.thetas)
    risk, flow = problem.risk, forward.interpolant
    assert isinstance(risk, Quadratic)  # the caller's business
    if isinstance(flow, ExactFlow):
        path = exact_costate(flow, ends, float(ts[-1]))
        costates = path.at(ts)
        stiffness = np.abs(flow.bases.values).max() * (ts[-1] - t0)
        off = problem.dim * UNIT * (1.0 + stiffness) * np.abs(costates).max()
        error = _error(problem, thetas, costates, float(forward.error), float(off))
        windows: AbstractWindows = ExactWindows(problem, path, error)
    else:
        costates, off = collocated_costate(risk, schedule, ends, ts)
        error = _error(problem, thetas, costates, float(forward.error), off)

        def sample(nodes: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k n q"]:
            found = gradient_flow(problem, schedule, theta0, ts=nodes, t0=t0).thetas
            back, _ = collocated_costate(risk, schedule, ends, np.append(nodes, ts[-1]))
            return densities_of(problem, found, back[:-1])

        jumps = np.asarray(schedule.jump_ts)
        windows = SampledWindows(sample, jumps, error)
    values = densities_of(problem, thetas, costates)
    return Sweep(ts, thetas, costates, values, error, windows, final.scalar, forward.method, forward.result)


def _error(
    problem: Problem, thetas: np.ndarray, costates: np.ndarray, theta_error: float, costate_error: float
) -> float:
    """A first-order bound on the error of every K_j = −c(aᵀx_j)(x_jᵀθ − y_j), from those of θ and a (each in ‖·‖∞)."""
    root, size = np.sqrt(problem.dim), 0.0
    far, near = np.linalg.norm(thetas, axis=-1).max(), np.linalg.norm(costates, axis=-1).max()
    step = max(1, 2**20 // problem.dim)
    for first in range(0, problem.data.n, step):
        rows, targets = problem.data.x[first : first + step], problem.data.y[first : first + step]
        norms = np.linalg.norm(rows, axis=1)
        reach = norms * far + np.abs(targets)
        rounding = 2.0 * problem.dim * UNIT * near * norms * reach
        each = root * norms * (norms * near * theta_error + reach * costate_error) + rounding
        size = max(size, float(each.max()))
    return problem.scale * size
