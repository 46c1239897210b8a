"""Flows over grids: the homotopy θ(t, ε) and the rewinding surface θ(T, s), all rows of each side by side."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import (
    RESULTS,
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Shown,
    as_float64,
    decide,
    message,
    pick,
    succeeded,
)
from ..problem import AbstractRisk, Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, Constant, Members, Step
from ._doors import checked
from ._exact import distinct_levels, exact_flows
from ._gradient_flow import ABSOLUTE

if TYPE_CHECKING:
    import diffrax

BASES = 50_000_000
"""Numbers in the eigenbases that are held at once: 400 MB."""


class HomotopySurface(Shown, Labelled, eqx.Module):
    """θ(t, ε): every flow with a constant weight on the deleted points.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> grids = {"eps": np.array([0.0, 1.0]), "ts": np.array([1.0, 2.0])}
        >>> ef.homotopy(problem, theta0=np.zeros(10), **grids).ts
        array([1., 2.])

    Attributes:
        ts: times, shape (k,).
        eps: weights, shape (e,) or (e, m).
        thetas: θ(t, ε), shape (e, k, d).
        error: estimate of the largest ‖·‖∞ error; a rounding bound where the flow is exact.
        result: how each row's integration ended, shape (e,).
        method: "exact" or "diffrax".
    """

    ts: Float[Array, " k"]
    eps: Float[Array, "e *m"]
    thetas: Float[Array, "e k d"]
    error: Float[Array, ""]
    result: RESULTS
    method: str = eqx.field(static=True)

    def _arrays(self) -> dict[str, Axed]:
        return {"eps": ("eps deleted?", self.eps), "t": ("t", self.ts), "theta": ("eps t parameter", self.thetas)}

    def _facts(self) -> dict[str, object]:
        facts = {"weights": len(self.eps), "times": len(self.ts), "thetas": self.thetas, "error": self.error}
        return {**facts, "method": self.method, "result": self.result}


class RewindSurface(Shown, Labelled, eqx.Module):
    """θ(T, s): trained with the deleted points until s, without them until T. s = 0 is retraining, s = T no unlearning.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.rewind_surface(problem, s=np.array([0.0, 5.0]), T=20.0, theta0=np.zeros(10)).s
        array([0., 5.])

    Attributes:
        s: when the points are dropped, shape (q,).
        T: final times, shape (k,).
        thetas: θ(T, s), shape (q, k, d).
        error: estimate of the largest ‖·‖∞ error; a rounding bound where the flow is exact.
        result: how each row's integration ended, shape (q,).
        method: "exact" or "diffrax".
    """

    s: Float[Array, " q"]
    T: Float[Array, " k"]
    thetas: Float[Array, "q k d"]
    error: Float[Array, ""]
    result: RESULTS
    method: str = eqx.field(static=True)

    def _arrays(self) -> dict[str, Axed]:
        return {"s": ("s", self.s), "T": ("T", self.T), "theta": ("s T parameter", self.thetas)}

    def _facts(self) -> dict[str, object]:
        facts = {"request times": len(self.s), "final times": len(self.T), "thetas": self.thetas, "error": self.error}
        return {**facts, "method": self.method, "result": self.result}


Surface = TypeVar("Surface", HomotopySurface, RewindSurface)


@checked
def homotopy(
    problem: Problem,
    *,
    eps: Float[Array, "e *m"],
    ts: Float[Array, " k"],
    theta0: Float[Array, " d"],
    throw: bool = True,
    **options: Any,
) -> HomotopySurface:
    """θ(t, ε) from the same start for every constant weight ε.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> grids = {"eps": np.array([0.0, 1.0]), "ts": np.array([1.0, 2.0, 4.0])}
        >>> ef.homotopy(problem, theta0=np.zeros(10), **grids).thetas.shape
        (2, 3, 10)

    Args:
        problem: what is trained.
        eps: weights of the deleted points, shape (e,), or (e, m) for one each.
        ts: ascending times ≥ 0, shape (k,).
        theta0: start, shape (d,).
        throw: raise if the flow of any row fails.
        **options: `solver`, `rtol`, `atol`, `max_steps` as in `gradient_flow`, where diffrax is used.

    Raises:
        InputError: as `gradient_flow`.
        ConvergenceError: if any row fails (`throw=False` keeps the others).
    """
    weights = _grid(eps, "eps", dimensions=(1, 2))
    if weights.ndim == 2 and weights.shape[1] != problem.delete.size:
        raise InputError(f"eps has {weights.shape[1]} columns, but {problem.delete.size} points are deleted.")
    times = _grid(ts, "ts", ascending=True)
    rows = _solve(problem, Constant, weights, theta0, times, **options)
    return _checked(HomotopySurface(times, weights, *rows), throw)


@checked
def rewind_surface(
    problem: Problem,
    *,
    s: Float[Array, " q"],
    T: Float[Array, " k"] | float,
    theta0: Float[Array, " d"],
    throw: bool = True,
    **options: Any,
) -> RewindSurface:
    """θ(T, s): the flow under 1_[0, s] at T, for all s and all T.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.rewind_surface(problem, s=np.array([0.0, 5.0]), T=20.0, theta0=np.zeros(10)).thetas.shape
        (2, 1, 10)

    Args:
        problem: what is trained.
        s: times ≥ 0 at which the points are dropped, shape (q,).
        T: one final time, or ascending ones, shape (k,).
        theta0: start, shape (d,).
        throw: raise if the flow of any row fails.
        **options: as in `homotopy`.

    Raises:
        InputError: as `gradient_flow`.
        ConvergenceError: if any row fails (`throw=False` keeps the others).
    """
    drops, finals = _grid(s, "s"), _grid(np.atleast_1d(T), "T", ascending=True)
    if float(drops.min()) < 0.0:
        raise InputError(f"s contains {float(drops.min()):g}; points cannot be dropped before training starts at 0.")
    if float(drops.max()) > float(finals[-1]):
        raise InputError(
            f"s contains {float(drops.max()):g}, after the last T = {float(finals[-1]):g}: by then the flow is over."
        )
    rows = _solve(problem, Step, drops, theta0, finals, **options)
    return _checked(RewindSurface(drops, finals, *rows), throw)


def _solve(
    problem: Problem,
    kind: Callable[[Any], AbstractPiecewiseConstant],
    numbers: Float[np.ndarray, "q *m"],
    theta0: Any,
    ts: Float[np.ndarray, " k"],
    *,
    solver: "diffrax.AbstractSolver | None" = None,
    rtol: float = 1e-10,
    atol: float | None = None,
    max_steps: int = 100_000,
) -> tuple[Array, Array, RESULTS, str]:
    """θ in every row, the error, each row's result, and the method."""
    start = problem.parameters(theta0, "theta0")
    if isinstance(problem.risk, Quadratic):
        thetas, rounding = _exact_rows(problem.risk, Members.of([kind(row) for row in numbers]), np.asarray(start), ts)
        return thetas, rounding, decide((~np.isfinite(thetas).all(axis=(1, 2)), RESULTS.nonfinite)), "exact"
    from ._diffrax import choose_solver, sizes_of  # linear regression does not wait for diffrax

    sizes = sizes_of(problem.risk, start)
    chosen = solver or choose_solver(sizes, float(ts[-1]))
    absolute = ABSOLUTE * float(sizes.length) if atol is None else atol
    arguments = problem.risk, jax.vmap(kind)(numbers), start, ts
    thetas, results = _diffrax_rows(*arguments, (jnp.asarray(rtol), jnp.asarray(absolute)), chosen, max_steps)
    loose, _ = _diffrax_rows(*arguments, (jnp.asarray(10 * rtol), jnp.asarray(10 * absolute)), chosen, max_steps)
    return thetas, jnp.max(jnp.abs(thetas - loose)), RESULTS.promote(results), "diffrax"


def _checked(surface: Surface, throw: bool) -> Surface:
    rows = len(surface.thetas)
    failed = np.flatnonzero(~succeeded(surface.result))
    if throw and failed.size:
        raise ConvergenceError(
            f"{failed.size} of {rows} flows failed, first row {failed[0]}: {message(pick(surface.result, failed[0]))} "
            "throw=False keeps the others.",
            surface,
        )
    return surface


def _exact_rows(
    risk: Quadratic, schedules: Members, theta0: Float[np.ndarray, " d"], ts: Float[np.ndarray, " k"]
) -> tuple[Float[np.ndarray, "q k d"], Float[Array, ""]]:
    jumps, levels = schedules.jump_ts, schedules.levels()
    rows, arcs = levels.shape[:2]
    distinct = len(distinct_levels(levels.reshape(rows * arcs, -1))[0])
    # Rows that share levels share eigenbases; where all of them are too many to hold, a few rows at a time.
    together = rows if distinct * risk.dim**2 <= BASES else max(1, BASES // (arcs * risk.dim**2))
    thetas, rounding = np.empty((rows, len(ts), risk.dim)), np.empty(rows)
    for first in range(0, rows, together):
        part = slice(first, first + together)
        flow = exact_flows(risk, jumps[part], levels[part], theta0, 0.0)
        thetas[part] = flow.at(ts)
        rounding[part] = flow.rounding(ts, thetas[part])
    return thetas, rounding.max()


@eqx.filter_jit
def _diffrax_rows(
    risk: AbstractRisk, schedules: Any, theta0: Array, ts: Array, tolerances: Any, solver: Any, max_steps: int
) -> tuple[Array, Any]:
    from ._diffrax import solve_diffrax

    def row(schedule: AbstractSchedule) -> tuple[Array, Any]:
        solution = solve_diffrax(risk, schedule, theta0, ts, jnp.zeros(()), tolerances, solver, max_steps, False)
        return jnp.asarray(solution.ys), solution.result

    return jax.vmap(row)(schedules)


def _grid(values: Any, name: str, *, dimensions: tuple[int, ...] = (1,), ascending: bool = False) -> np.ndarray:
    grid = as_float64(values, name)
    if grid.ndim not in dimensions or grid.size == 0 or not np.isfinite(grid).all():
        raise InputError(f"{name} must be a non-empty grid of finite numbers; got shape {grid.shape}.")
    if ascending and (grid[0] < 0.0 or (np.diff(grid) < 0.0).any()):
        raise InputError(f"{name} must ascend from a time ≥ 0; it runs from {grid[0]:g} to {grid[-1]:g}.")
    return grid.copy()
