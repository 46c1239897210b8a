"""The flow of a risk that is not convex, followed until it rests."""

import numpy as np
from jaxtyping import Float
from scipy.integrate import LSODA

from ..problem import AbstractRisk
from ._descent import LocalMinimum, hessian_of, polish, value_and_gradient

RELATIVE, ABSOLUTE = 1e-9, 1e-12
"""Tolerances of a step, the latter in units of what θ is measured by."""

SLOWEST = 1e9
"""How long a flow is followed, in units of 1/‖∇²R‖ at its start."""


def follow(
    risk: AbstractRisk,
    weights: Float[np.ndarray, "*m"],
    start: Float[np.ndarray, " d"],
    target: float,
    *,
    max_time: float | None,
    max_steps: int,
) -> tuple[LocalMinimum, bool]:
    """The flow until its speed falls to 1e-8 of its first, then Newton from there; and whether Newton left the basin.

    A resting flow is within ‖∇R‖/λ of its limit; a jump beyond a hundredth of the way travelled, and a millionth of θ,
    is another basin.
    """
    end = _flow(risk, start, weights, max_time, max_steps)
    found = polish(risk, weights, end, target)
    travelled = np.linalg.norm(end - start)
    return found, bool(np.linalg.norm(found.theta - end) > 0.01 * travelled + 1e-6 * np.linalg.norm(end))


def _flow(
    risk: AbstractRisk,
    start: Float[np.ndarray, " d"],
    weights: Float[np.ndarray, "*m"],
    max_time: float | None,
    max_steps: int,
) -> Float[np.ndarray, " d"]:
    """Steps of LSODA, explicit or implicit as stiffness asks, around the functions that Newton's method needs, too."""

    def field(_: float, theta: np.ndarray) -> np.ndarray:
        return -np.asarray(value_and_gradient(risk, theta, weights)[1])

    def jacobian(_: float, theta: np.ndarray) -> np.ndarray:
        return -np.asarray(hessian_of(risk, theta, weights))

    speed, curvature = float(np.linalg.norm(field(0.0, start))), float(np.linalg.norm(jacobian(0.0, start), 2))
    if speed == 0.0:
        return start
    length = max(float(np.abs(start).max()), speed / curvature if curvature > 0.0 else 0.0) or 1.0
    time = max_time if max_time is not None else SLOWEST * length / speed if curvature == 0.0 else SLOWEST / curvature
    # SciPy before 1.17 reads the number of arguments off what it calls, which must not be hidden by a decorator.
    flow = LSODA(
        field, 0.0, start, time, jac=lambda t, theta: jacobian(t, theta), rtol=RELATIVE, atol=ABSOLUTE * length
    )
    rest = 1e-8 * speed
    for _ in range(max_steps):
        if flow.status != "running" or np.linalg.norm(field(flow.t, flow.y)) < rest:
            break
        flow.step()
    return flow.y
