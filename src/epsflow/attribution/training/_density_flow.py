"""The influence density of any problem: θ forward and the costates backward, by diffrax."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Array, ConvergenceError, InputError, as_count, in_chunks, message, pick, succeeded
from ...analysis import Functional
from ...flow import as_times, choose_solver, sizes_of, solve_costate, solve_diffrax
from ...problem import Problem
from ...schedules import AbstractSchedule
from ._pointwise import check_size, densities_of
from ._sweep import Sweep, end_gradients
from ._windows import SampledWindows

if TYPE_CHECKING:
    import diffrax

INTERPOLANT = 16
"""Numbers per parameter and step in the interpolant of an eighth-order solver."""
INTERPOLANT_NUMBERS = 2**28
"""Numbers (2 GB) that the interpolants of one solve may hold."""
CHUNK = 256
"""Times at which interpolants are evaluated at once, so that integrals compile once."""


class _Paths(eqx.Module):
    """θ and the costates as interpolants, and at the times that were asked for.

    Attributes:
        forward: θ(t).
        backward: a(t), one solution stacked over the functionals.
    """

    forward: "diffrax.Solution"
    backward: "diffrax.Solution"


def flow_density(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
    t0: float,
    rtol: float,
    atol: float,
    estimate_error: bool,
    max_steps: int,
    throw: bool,
) -> Sweep:
    """K of any problem; the arguments are those of `influence_density`."""
    (times, first), start = as_times(ts, t0), jnp.asarray(problem.parameters(theta0, "theta0"))
    eps = np.asarray(schedule(times))
    if eps.ndim > 1 and eps.shape[1:] != problem.delete.shape:
        raise InputError(f"the schedule has {eps.shape[-1]} weights, but {problem.delete.size} points are deleted.")
    numbers = INTERPOLANT * problem.dim * as_count(max_steps, "max_steps")
    if numbers > INTERPOLANT_NUMBERS:
        raise InputError(
            f"interpolants of {max_steps:,} steps for d = {problem.dim:,} take {8e-9 * numbers:.1f} GB; pass a smaller "
            f"max_steps, at most {INTERPOLANT_NUMBERS // (INTERPOLANT * problem.dim):,}."
        )
    sizes = sizes_of(problem.risk, start)
    solver = choose_solver(sizes, float(times[-1] - first))

    def solve(loose: float) -> tuple[_Paths, Any]:
        tolerances = jnp.asarray(loose * rtol), jnp.asarray(loose * atol)
        path = problem.risk, schedule, start, jnp.asarray(times), jnp.asarray(first)
        own = tolerances[0], tolerances[1] * sizes.length
        forward = solve_diffrax(*path, own, solver, max_steps, True)
        final = end_gradients(functional, _reached(forward, throw))
        back = forward, jnp.asarray(final.rows), jnp.asarray(times), tolerances, solver, max_steps
        return _Paths(forward, _solve_costates(problem.risk, schedule, *back)), final

    paths, final = solve(1.0)
    check_size(len(times), problem.data.n, len(final.rows))
    outcome = _outcome(paths, throw)
    thetas, costates, values = _at_times(problem, paths)
    error, rough = 0.0, None
    if estimate_error:
        loose, _ = solve(10.0)
        error, rough = float(np.abs(_at_times(problem, loose)[2] - values).max()), _Sampler(problem, loose)
    windows = SampledWindows(_Sampler(problem, paths), np.asarray(schedule.jump_ts), error, rough)
    error = error if estimate_error else float("nan")
    return Sweep(times, thetas, costates, values, error, windows, final.scalar, "diffrax", outcome)


@eqx.filter_jit
def _solve_costates(
    risk: Any, schedule: Any, forward: Any, ends: Array, ts: Array, tolerances: Any, solver: Any, max_steps: int
) -> Any:
    def one(end: Array) -> Any:
        return solve_costate(risk, schedule, forward, end, ts, tolerances, solver, max_steps, True)

    return jax.vmap(one)(ends)


def _at_times(problem: Problem, paths: _Paths) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """θ, a and K at the times that the solvers stopped at."""
    thetas = jnp.asarray(paths.forward.ys)
    costates = jnp.swapaxes(jnp.asarray(paths.backward.ys)[:, ::-1], 0, 1)
    return np.asarray(thetas), np.asarray(costates), densities_of(problem, thetas, costates)


class _Sampler:
    """K at any times, from the interpolants."""

    def __init__(self, problem: Problem, paths: _Paths):
        self.problem, self.paths = problem, paths

    def __call__(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k n q"]:
        def chunk(ts: np.ndarray) -> tuple[Array]:
            return (densities_of(self.problem, *_interpolate(self.paths, jnp.asarray(ts))),)

        return in_chunks(chunk, ts, CHUNK)[0]


@eqx.filter_jit
def _interpolate(paths: _Paths, ts: Float[Array, " k"]) -> tuple[Float[Array, "k d"], Float[Array, "k q d"]]:
    costates = jax.vmap(lambda path: jax.vmap(path.evaluate)(ts))(paths.backward)
    return jax.vmap(paths.forward.evaluate)(ts), jnp.swapaxes(costates, 0, 1)


def _reached(forward: Any, throw: bool) -> Float[np.ndarray, " d"]:
    """θ(T), or the reason why there is none."""
    result = RESULTS.promote(forward.result)
    end = np.asarray(forward.ys)[-1]
    if not succeeded(result) and (throw or not np.isfinite(end).all()):
        raise ConvergenceError(
            f"the flow stopped before ts[-1]: {message(result)} A larger max_steps or a looser rtol may help.", forward
        )
    return end


def _outcome(paths: _Paths, throw: bool) -> RESULTS:
    back = RESULTS.promote(paths.backward.result)
    each = succeeded(back)
    result = RESULTS.promote(paths.forward.result)
    if succeeded(result) and not each.all():
        result = pick(back, int(np.argmin(each)))
    if throw and not succeeded(result):
        raise ConvergenceError(f"the costate could not be followed back to ts[0]: {message(result)}", paths)
    return result
