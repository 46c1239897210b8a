"""Trust-region Newton with conjugate gradients (Steihaug), preconditioned by the Gauss–Newton matrix at θ_s.

optimistix and SciPy have no truncated Newton method with a preconditioner, and their L-BFGS needs hundreds of
iterations where this needs ten: near θ_s the preconditioned Hessian is the identity up to the deleted points. The
method: Conn, Gould & Toint, "Trust-Region Methods" (2000), algorithm 7.5.1 (Steihaug–Toint); rounding in the ratio of
reductions as in their section 17.4.2. A loop in NumPy around the objective's two functions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, decide
from ._anchor import UNIT, GaussNewton
from ._tilted import TiltedRisk


@dataclass(frozen=True, eq=False)
class Minimum:
    """Where the minimiser stopped, and what certifies it.

    Attributes:
        shift: θ − θ_s, shape (d,).
        value: Q(θ) − Q(θ_s).
        gradient_norm: ‖∇Q(θ)‖₂.
        tolerance: the norm that was asked for.
        steps: Newton steps tried; each costs one value and gradient.
        products: Hessian–vector products.
        result: successful; not_stationary; or not_a_minimum (negative curvature met on the last step).
    """

    shift: Float[np.ndarray, " d"]
    value: float
    gradient_norm: float
    tolerance: float
    steps: int
    products: int
    result: RESULTS


@dataclass(frozen=True, eq=False)
class _State:
    shift: np.ndarray
    value: float
    gradient: np.ndarray
    radius: float
    steps: int = 0
    products: int = 0
    negative: bool = False


class _Step(NamedTuple):
    """A truncated step, the decrease it promises, the products it took, and whether negative curvature was met."""

    move: np.ndarray
    promised: float
    products: int
    negative: bool


def minimise(
    objective: TiltedRisk,
    curvature: GaussNewton,
    rho: float,
    start: Float[np.ndarray, " d"],
    *,
    tol: float,
    max_steps: int,
) -> Minimum:
    """A local minimum of Q near θ_s + start, at which ‖∇Q‖ ≤ max(tol·‖∇Q(start)‖, rounding).

    Args:
        objective: Q.
        curvature: G, whose (G + ρI)^−½ are the coordinates in which steps are measured.
        rho: ρ > 0 of those coordinates (it need not be the objective's own).
        start: θ − θ_s to begin with, shape (d,).
        tol: see above.
        max_steps: Newton steps after which it stops.
    """
    objective = objective.resolved(curvature, rho)
    noise, floor = objective.rounding()
    value, gradient = objective.value_and_gradient(start)
    first = float(np.linalg.norm(curvature.power(gradient, rho, -0.5)))
    tolerance = max(tol * float(np.linalg.norm(gradient)), floor)
    state = _State(start, value, gradient, first)
    # A radius at which a step no longer changes θ ends the search; a NaN norm ends it too.
    while np.linalg.norm(state.gradient) > tolerance and state.steps < max_steps and state.radius > UNIT * first:
        state = _newton_step(objective, curvature, rho, state, first, noise)
    norm = float(np.linalg.norm(state.gradient))
    return Minimum(
        shift=state.shift,
        value=state.value,
        gradient_norm=norm,
        tolerance=tolerance,
        steps=state.steps,
        products=state.products,
        result=decide((not norm <= tolerance, RESULTS.not_stationary), (state.negative, RESULTS.not_a_minimum)),
    )


def _newton_step(
    objective: TiltedRisk, curvature: GaussNewton, rho: float, state: _State, first: float, noise: float
) -> _State:
    """One trial step, kept if Q falls by a hundredth of what the quadratic model promised, up to rounding."""
    gradient = curvature.power(state.gradient, rho, -0.5)
    norm = float(np.linalg.norm(gradient))

    def product(vector: np.ndarray) -> np.ndarray:
        image = objective.product(state.shift, curvature.power(vector, rho, -0.5))
        return curvature.power(image, rho, -0.5)

    # A residual of order ‖g‖^{3/2} keeps inexact Newton superlinear (Dembo, Eisenstat & Steihaug 1982).
    accuracy = norm * min(0.1, float(np.sqrt(norm / first)))
    compiled = objective.compiled_step(state.shift, curvature, rho, gradient, state.radius, accuracy)
    step = _truncated_cg(product, gradient, state.radius, accuracy) if compiled is None else _Step(*compiled)
    shift = state.shift + curvature.power(step.move, rho, -0.5)
    value, new_gradient = objective.value_and_gradient(shift)
    ratio = (state.value - value + noise) / (step.promised + noise)
    length = float(np.linalg.norm(step.move))
    counted = replace(state, steps=state.steps + 1, products=state.products + step.products, negative=step.negative)
    if not (ratio > 0.01 and np.isfinite(value)):
        return replace(counted, radius=0.25 * length)
    radius = 2.5 * state.radius if ratio > 0.75 and length > 0.8 * state.radius else state.radius
    radius = 0.5 * length if ratio < 0.25 else radius
    return replace(counted, shift=shift, value=value, gradient=new_gradient, radius=radius)


def _truncated_cg(
    product: Callable[[np.ndarray], np.ndarray], gradient: Float[np.ndarray, " d"], radius: float, accuracy: float
) -> _Step:
    """Minimise ⟨g, p⟩ + ½⟨p, Hp⟩ over ‖p‖ ≤ radius by conjugate gradients, up to the boundary or negative curvature."""
    point, residual, direction = np.zeros_like(gradient), gradient, -gradient
    square, negative, count = float(residual @ residual), False, 0
    while count < 2 * gradient.size:  # CG ends within d steps but for rounding
        count += 1
        image = product(direction)
        bend = float(direction @ image)
        negative = bend <= 0.0
        length = square / bend if not negative else np.inf
        ahead = point + length * direction if not negative else point
        leaves = negative or float(ahead @ ahead) >= radius**2
        if leaves:
            # The positive root of ‖point + τ·direction‖ = radius.
            a, b, c = direction @ direction, point @ direction, point @ point - radius**2
            length = float((-b + np.sqrt(max(b**2 - a * c, 0.0))) / a)
        point, residual = point + length * direction, residual + length * image
        new_square = float(residual @ residual)
        if leaves or np.sqrt(new_square) <= accuracy or not np.isfinite(new_square):
            break
        direction, square = -residual + new_square / square * direction, new_square
    return _Step(point, -0.5 * float(point @ (gradient + residual)), count, negative)
