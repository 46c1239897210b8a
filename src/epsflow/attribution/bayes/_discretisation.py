"""What a finite step does to the stationary variances of samplers that accept everything, on a quadratic."""

import numpy as np
from jaxtyping import Float

from ._chains import Plan


def variance_excess(curvatures: Float[np.ndarray, " d"], plan: Plan) -> float:
    """The largest |λ Var − 1| over the eigenvalues λ of −∇² log p: 0 for samplers with a Metropolis correction.

    SGLD, w⁺ = (1 − ελ/2)w + N(0, ε): λ Var = 1/(1 − ελ/4). SGHMC, `leaps` times w⁺ = w + hp, p⁺ = (1 − αh)p − hλw +
    N(0, 2αh), from p ~ N(0, 1): Var is the fixed point of its variance over one draw. Infinite where the step is
    unstable; noise of batches comes on top.
    """
    if plan.sampler not in ("sgld", "sghmc"):
        return 0.0
    rate = np.unique(curvatures)
    if plan.sampler == "sgld":
        left = 1.0 - 0.25 * plan.step * rate
        return float(np.abs(1.0 / left - 1.0).max()) if (left > 0.0).all() else float("inf")
    h, alpha = plan.step, plan.friction
    one = np.ones_like(rate)
    matrix = np.moveaxis(np.array([[one, h * one], [-h * rate, (1.0 - alpha * h) * one]]), -1, 0)
    power, covariance, noise = np.tile(np.eye(2), (len(rate), 1, 1)), np.zeros((len(rate), 2, 2)), 2.0 * alpha * h
    for _ in range(plan.leaps):
        covariance = matrix @ covariance @ matrix.transpose(0, 2, 1)
        covariance[:, 1, 1] += noise
        power = matrix @ power
    forgotten = 1.0 - power[:, 0, 0] ** 2
    if not (forgotten > 0.0).all():
        return float("inf")
    return float(np.abs(rate * (power[:, 0, 1] ** 2 + covariance[:, 0, 0]) / forgotten - 1.0).max())
