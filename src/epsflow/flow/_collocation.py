"""Linear regression under any schedule that is smooth between its jumps, by collocation on panels (`_decays.py`)."""

import numpy as np
from jaxtyping import Float

from ..problem import Quadratic
from ..schedules import AbstractSchedule
from ._decays import Flow, integrate
from ._panels import LinearSystem


def solve_collocation(
    risk: Quadratic,
    schedule: AbstractSchedule,
    theta0: Float[np.ndarray, " d"],
    ts: Float[np.ndarray, " k"],
    t0: Float[np.ndarray, ""] | float,
) -> tuple[Float[np.ndarray, "k d"], float, int]:
    """θ at `ts`, a bound on truncation and rounding, and the number of panels."""
    basis, root = risk.retained, np.sqrt(risk.scale)
    system = LinearSystem(
        rates=np.asarray(basis.values),
        rows=root * basis.to_basis(risk.x_deleted),
        residuals=root * risk.y_deleted,
        drift=np.asarray(basis.to_basis(risk.b_retained)),
    )

    def weights(times: Float[np.ndarray, " n"]) -> Float[np.ndarray, "1 n c"]:
        values = np.asarray(schedule(times))
        return values.reshape(1, len(times), -1)

    jumps = np.asarray(schedule.jump_ts)
    knots = np.unique(np.concatenate([jumps[(jumps > t0) & (jumps < ts[-1])], [t0, ts[-1]]]))
    knots = knots if len(knots) > 1 else np.repeat(knots, 2)
    flow = integrate(system, np.asarray(basis.to_basis(theta0))[None], knots, weights, ts=ts)
    thetas = (flow.passed[:, None, :] @ basis.vectors.T)[:, 0]
    return thetas, float(flow.worst.max()) + _rounding(risk, schedule, flow, knots), flow.panels


def _rounding(risk: Quadratic, schedule: AbstractSchedule, flow: Flow, knots: np.ndarray) -> float:
    """What the rounding of the eigenvalues, d·u·λ_max, does in the time of the flow, as in `ExactFlow.rounding`."""
    d, largest = risk.dim, np.abs(np.asarray(schedule(0.5 * (knots[1:] + knots[:-1])))).max()
    stiffness = (np.abs(risk.retained.values).max() + largest * risk.scale * np.square(risk.x_deleted).sum()) * (
        knots[-1] - knots[0]
    )
    return float(d * np.finfo(np.float64).eps * (1.0 + stiffness) * flow.size.max())
