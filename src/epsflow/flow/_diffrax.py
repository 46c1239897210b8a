"""Any problem under any schedule, by diffrax."""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import Array
from ..problem import AbstractRisk
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule

EXPLICIT_LIMIT = 3e4
"""λ_max·(t1 − t0) above which stability, not accuracy, would set an explicit step: one for every six, with Dopri8."""


LEAST_JUMPS = 128
"""Jumps that a schedule in one form has room for; twice as many, and so on, where they are not enough."""


class Levels(eqx.Module):
    """ε(t) between jumps, in arrays of one size for all piecewise-constant schedules, which thus compile once.

    Attributes:
        jump_ts: ascending, and ∞ where there are fewer; shape (n,).
        levels: ε before the first jump, between them, and after the last, for each deleted point, shape (n + 1, m).
    """

    jump_ts: Float[Array, " n"]
    levels: Float[Array, "arcs m"]

    @classmethod
    def of(cls, schedule: AbstractPiecewiseConstant, points: int) -> "Levels":
        """A schedule in this form; `points`: m."""
        jumps, levels = np.asarray(schedule.jump_ts), np.asarray(schedule.levels())
        columns = np.broadcast_to(levels.reshape(len(levels), -1), (len(levels), points))
        idle = LEAST_JUMPS * 2 ** max(0, int(np.ceil(np.log2(max(len(jumps), 1) / LEAST_JUMPS)))) - len(jumps)
        return cls(np.pad(jumps, (0, idle), constant_values=np.inf), np.pad(columns, ((0, idle), (0, 0)), mode="edge"))

    def __call__(self, t: Array) -> Float[Array, " m"]:
        """ε at one time; at a jump, that of the arc that the jump closes."""
        return jnp.asarray(self.levels)[jnp.searchsorted(self.jump_ts, t, side="left", method="compare_all")]


def vector_field(t: Any, theta: Any, args: tuple[AbstractRisk, AbstractSchedule | Levels, Array]) -> Array:
    """−∇R_{ε(t)}(θ). At t0 the right limit of ε counts: the value at the jump itself belongs to the past."""
    risk, schedule, first = args
    return -risk.gradient(theta, schedule(jnp.maximum(t, first)))


@eqx.filter_jit
def solve_diffrax(
    risk: AbstractRisk,
    schedule: AbstractSchedule | Levels,
    theta0: Float[Array, " d"],
    ts: Float[Array, " k"],
    t0: Array | float,
    tolerances: tuple[Array, Array],
    solver: diffrax.AbstractSolver,
    max_steps: int,
    dense: bool,
) -> diffrax.Solution:
    """Integrate (GF) from t0 through `ts`; steps end on every jump of the schedule.

    Example:
        >>> import diffrax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> given = {"tolerances": (1e-8, 1e-10), "solver": diffrax.Dopri8(), "max_steps": 99, "dense": True}
        >>> ts = np.array([0.0, 1.0])
        >>> found = ef.flow.solve_diffrax(line.risk, ef.Constant(0.0), np.zeros(1), ts, 0.0, **given)
        >>> bool(abs(found.ys[-1, 0] - 1.6 * (1.0 - np.exp(-5.0))) < 1e-7)
        True
    """
    rtol, atol = tolerances
    t1 = ts[-1]
    # Steps end on `ts`: between steps there is only an interpolant, of lower order than the solver.
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=rtol, atol=atol),
        step_ts=jnp.asarray(ts),
        jump_ts=jnp.asarray(schedule.jump_ts) if schedule.jump_ts.size else None,
    )
    return diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        solver,
        t0=t0,
        t1=t1,
        dt0=None,
        y0=theta0,
        args=(risk, schedule, t0 + 1e-14 * (t1 - t0)),
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts), dense=dense),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )


class Sizes(NamedTuple):
    """What a flow is measured by.

    Attributes:
        curvature: ‖∇²R_1(θ0)‖₂ to about ten percent, enough to choose a solver.
        length: of θ: ‖θ0‖_∞, or how far ‖∇R_1‖ or ‖∇R_0‖ would carry it in a time of 1/curvature; 1 where all vanish.
    """

    curvature: Float[Array, ""]
    length: Float[Array, ""]


POWERS = 21
"""Power iterations for the curvature."""


def sizes_of(risk: AbstractRisk, theta: Float[Array, " d"]) -> Sizes:
    """The curvature by power iterations, and the length.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> float(ef.flow.sizes_of(line.risk, np.zeros(1)).curvature)
        6.0
    """
    return _sizes(risk, theta, np.random.default_rng(0).standard_normal(len(theta)))


@eqx.filter_jit
def _sizes(risk: AbstractRisk, theta: Float[Array, " d"], start: Float[Array, " d"]) -> Sizes:
    tiny = jnp.finfo(theta.dtype).tiny

    def iterate(_: Any, image: Array) -> Array:
        return risk.hvp(theta, image / jnp.maximum(jnp.linalg.norm(image), tiny), jnp.asarray(1.0))

    curvature = jnp.linalg.norm(jax.lax.fori_loop(0, POWERS, iterate, jnp.asarray(start, theta.dtype)))
    slopes = jax.vmap(lambda eps: jnp.linalg.norm(risk.gradient(theta, eps)))(jnp.asarray([0.0, 1.0]))
    length = jnp.maximum(jnp.abs(theta).max(), jnp.where(curvature > tiny, slopes.max() / curvature, 0.0))
    return Sizes(curvature, jnp.where(length > 0.0, length, 1.0))


def is_stiff(sizes: Sizes, span: float) -> bool:
    """Whether λ_max·(t1 − t0) is so large that stability would set the steps of an explicit method."""
    return not float(sizes.curvature * span) <= EXPLICIT_LIMIT


def choose_solver(sizes: Sizes, span: float) -> diffrax.AbstractSolver[Any]:
    """Dopri8 where accuracy sets the step, Kvaerno5 (implicit) where stability would.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> sizes = ef.flow.sizes_of(line.risk, np.zeros(1))
        >>> [type(ef.flow.choose_solver(sizes, span)).__name__ for span in (1.0, 1e6)]
        ['Dopri8', 'Kvaerno5']
    """
    if not is_stiff(sizes, span):
        return diffrax.Dopri8()
    # A stage's residual is known to about u·λ·h·|θ|; asked for less, Newton's method fails and the step is rejected.
    attainable: Any = 100.0 * jnp.finfo(sizes.length.dtype).eps * sizes.curvature * span
    return diffrax.Kvaerno5(root_finder=diffrax.VeryChord(rtol=attainable, atol=attainable * sizes.length))
