"""Any problem under any schedule, by diffrax."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Float

from .._core import Array
from ..problem import AbstractRisk
from ..schedules import AbstractSchedule

EXPLICIT_LIMIT = 3e4
"""λ_max·(t1 − t0) above which stability, not accuracy, would set an explicit step: one for every six, with Dopri8."""


def vector_field(t: Any, theta: Any, args: tuple[AbstractRisk, AbstractSchedule, Array]) -> Array:
    """−∇R_{ε(t)}(θ). At t0 the right limit of ε counts: the value at the jump itself belongs to the past."""
    risk, schedule, first = args
    return -risk.gradient(theta, schedule(jnp.maximum(t, first)))


@eqx.filter_jit
def solve_diffrax(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    ts: Float[Array, " k"],
    t0: Array | float,
    tolerances: tuple[Array, Array],
    solver: diffrax.AbstractSolver,
    max_steps: int,
    dense: bool,
) -> diffrax.Solution:
    """Integrate (GF) from t0 through `ts`; steps end on every jump of the schedule."""
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


@eqx.filter_jit
def largest_curvature(risk: AbstractRisk, theta: Float[Array, " d"]) -> Float[Array, ""]:
    """‖∇²R_1(θ)‖₂ to about ten percent, by twenty power iterations: enough to choose a solver."""

    def iterate(_: Any, vector: Array) -> Array:
        image = risk.hvp(theta, vector, jnp.asarray(1.0))
        return image / jnp.maximum(jnp.linalg.norm(image), jnp.finfo(image.dtype).tiny)

    start = jax.random.normal(jax.random.key(0), theta.shape, theta.dtype)
    vector = jax.lax.fori_loop(0, 20, iterate, start / jnp.linalg.norm(start))
    return jnp.linalg.norm(risk.hvp(theta, vector, jnp.asarray(1.0)))


def choose_solver(risk: AbstractRisk, theta0: Array, span: float) -> diffrax.AbstractSolver:
    """Dopri8 where accuracy sets the step, Kvaerno5 (implicit) where stability would."""
    stiffness = largest_curvature(risk, theta0) * span
    if float(stiffness) <= EXPLICIT_LIMIT:
        return diffrax.Dopri8()
    # A stage's residual is known to about u·λ·h·|θ|; asked for less, Newton's method fails and the step is rejected.
    attainable: Any = 100.0 * jnp.finfo(theta0.dtype).eps * stiffness
    return diffrax.Kvaerno5(root_finder=diffrax.VeryChord(rtol=attainable, atol=attainable))
