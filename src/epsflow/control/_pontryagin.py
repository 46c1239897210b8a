"""Pontryagin's conditions along any schedule: costate, switching function, Hamiltonian, and how far they fail.

ṗ = ∇²R_u(θ) p, p(T) = ∇cost(θ(T)), which is θ(T) − target for the distance;  S_j = ∂𝓔/∂u_j(t) = −pᵀg_j(θ);  𝓗 = pᵀθ̇.
An optimal u_j is ε_max where S_j < 0 and ε_min where S_j > 0, and 𝓗 is constant. With a price ρ on ∫|ε| dt, u_j
minimises S_j v + ρ|v|, and 𝓗 + ρ|u| is constant. One sign throughout the room: S < 0 means that a larger ε lowers the
cost. Linear regression under a piecewise-constant schedule is exact (`linear._path`); the rest is two diffrax solves
(`systems._dense_path`), or sampled on a mesh where d is large (`systems._mesh_path`).
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..flow import gradient_flow
from ..problem import Problem, Quadratic
from ..schedules import AbstractPiecewiseConstant, AbstractSchedule, Constant
from .linear._path import linear_extremal
from .linear._task import linear_task
from .systems._dense_path import DENSE_NUMBERS, general_extremal
from .systems._mesh_path import mesh_extremal
from .systems._system import RiskSystem
from .terms._cost import AbstractCost, Distance
from .terms._extremal import Extremal
from .terms._levels import arcs_of
from .terms._window import Window

DENSE_DIM = DENSE_NUMBERS // (16 * 512)
"""Parameters beyond which the interpolants of θ and p over 512 steps take too much memory: S is sampled instead."""


def extremal(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    s: float,
    T: float,
    bounds: tuple[float, float],
    target: Float[Array, " d"],
    cost: AbstractCost | None = None,
    price: float = 0.0,
) -> Extremal:
    """The costate of a schedule and the figures that Pontryagin's principle asks for.

    Args:
        problem: what is trained.
        schedule: ε(t), in E_s.
        theta0: θ(0), shape (d,).
        s, T: the window in which ε is free.
        bounds: least and largest ε there.
        target: θ*_{-D}, shape (d,).
        cost: of θ(T), zero at the target. Default: the distance ½‖θ(T) − target‖².
        price: ρ ≥ 0, of ∫|ε| dt.

    Raises:
        ConvergenceError: diffrax failed, forward or backward.
    """
    if isinstance(problem.risk, Quadratic) and isinstance(schedule, AbstractPiecewiseConstant):
        linear = linear_task(problem.risk, theta0, window=Window(s, T, *bounds), target=target, cost=cost, price=price)
        return linear_extremal(linear, *arcs_of(schedule, s, T))
    chosen = cost or Distance()
    if problem.dim > DENSE_DIM:
        shared = schedule(jnp.asarray(T)).ndim == 0
        theta_s = gradient_flow(problem, Constant(1.0), theta0, ts=np.array([s])).end if s > 0.0 else theta0
        system = RiskSystem(problem.risk, target, shared, chosen)
        return mesh_extremal(system, schedule, theta_s, s, T, bounds, price)
    return general_extremal(problem.risk, schedule, theta0, s, T, bounds, target, chosen, price)
