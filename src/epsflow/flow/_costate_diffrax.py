"""Costates of any problem, ȧ = ∇²R_{ε(t)}(θ(t)) a backward from a(T), by diffrax."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Float

from .._core import Array
from ..problem import AbstractRisk
from ..schedules import AbstractSchedule


def costate_field(t: Any, a: Array, args: tuple[AbstractRisk, AbstractSchedule, diffrax.Solution, Array]) -> Array:
    """∇²R_{ε(t)}(θ(t)) a; at T the left limit of ε counts."""
    risk, schedule, forward, last = args
    return risk.hvp(forward.evaluate(t), a, schedule(jnp.minimum(t, last)))


@eqx.filter_jit
def solve_costate(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    forward: diffrax.Solution,
    end: Float[Array, " d"],
    ts: Float[Array, " k"],
    tolerances: tuple[Array, Array],
    solver: diffrax.AbstractSolver,
    max_steps: int,
    dense: bool,
) -> diffrax.Solution:
    """The costate from T = ts[-1] down to ts[0], relative to the size of a(T): its equation is linear.

    Example:
        >>> import diffrax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> given = {"tolerances": (1e-8, 1e-10), "solver": diffrax.Dopri8(), "max_steps": 99, "dense": True}
        >>> ts = np.array([0.0, 1.0])
        >>> forward = ef.flow.solve_diffrax(line.risk, ef.Constant(0.0), np.zeros(1), ts, 0.0, **given)
        >>> back = ef.flow.solve_costate(line.risk, ef.Constant(0.0), forward, np.ones(1), ts, **given)
        >>> bool(abs(back.ys[-1, 0] - np.exp(-5.0)) < 1e-7)
        True

    Args:
        risk: R_ε.
        schedule: ε(t).
        forward: θ(t), with an interpolant.
        end: a(T).
        ts: ascending times at which it is wanted; the solution's `ys` are in the opposite order.
        tolerances: relative and absolute, the latter for a(T) of size 1.
        solver: of diffrax.
        max_steps: after which diffrax gives up.
        dense: keep an interpolant.
    """
    (rtol, atol), back, first, last = tolerances, jnp.asarray(ts)[::-1], ts[0], ts[-1]
    size = jnp.maximum(jnp.linalg.norm(end), jnp.finfo(end.dtype).tiny)
    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=rtol, atol=atol * size),
        step_ts=back,  # between steps there is only an interpolant, of lower order than the solver
        jump_ts=jnp.asarray(schedule.jump_ts) if schedule.jump_ts.size else None,
    )
    return diffrax.diffeqsolve(
        diffrax.ODETerm(costate_field),
        solver,
        t0=last,
        t1=first,
        dt0=None,
        y0=end,
        args=(risk, schedule, forward, last - 1e-14 * (last - first)),
        saveat=diffrax.SaveAt(ts=back, dense=dense),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )
