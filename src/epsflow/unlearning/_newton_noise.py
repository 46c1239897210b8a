"""Worst-case noise of one Newton step away from the deleted points."""

import math

from ._descent_noise import gaussian_noise
from ._parameters import as_count, as_nonnegative, as_positive, as_privacy


def certified_removal_sigma(
    *,
    n: int,
    l2: float,
    lipschitz: float,
    curvature_lipschitz: float,
    epsilon: float,
    delta: float,
) -> float:
    """The noise *in the objective* of certified removal (Guo, Goldstein, Hannun and van der Maaten, 2020).

    Example:
        >>> risk = {"n": 1001, "l2": 0.1, "lipschitz": 1.0, "curvature_lipschitz": 1 / (6 * 3**0.5)}
        >>> round(ef.certified_removal_sigma(**risk, epsilon=1.0, delta=1e-5), 4)
        0.1879

        σ = 4γ₃G²/(λ²(n − 1)) · √(2 log(1.5/δ))/ε

    The first factor bounds the gradient that one Newton step leaves over (their Theorem 1); noise bᵀθ, b ~ N(0, σ²I),
    added to the summed loss ∑ℓ_i + (λn/2)‖θ‖² at training hides it (their Theorem 3). Assumed: a linear model with rows
    ‖x_i‖ ≤ 1, a convex loss with ‖∇ℓ‖ ≤ G and a γ₃-Lipschitz ℓ'', exact minimisation at training, one point removed. γ₃
    belongs to the *third* derivative of the loss: 1/(6√3) for the logistic loss. A public code uses 1/4, the bound of
    the second, which is safe and 2.6 times too much. Several removals add up their residuals.

    Args:
        n: number of points before the removal, at least 2.
        l2: λ > 0, per point.
        lipschitz: G.
        curvature_lipschitz: γ₃; 0 for the squared loss, whose Newton step is exact.
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).

    Raises:
        InputError: a constant outside its range.
    """
    n, penalty = as_count(n, "n", least=2), as_positive(l2, "l2")
    gradient, gamma = as_positive(lipschitz, "lipschitz"), as_nonnegative(curvature_lipschitz, "curvature_lipschitz")
    epsilon, delta = as_privacy(epsilon, delta)
    residual = 4 * gamma * gradient**2 / (penalty**2 * (n - 1))
    return residual * math.sqrt(2 * math.log(1.5 / delta)) / epsilon


def newton_removal_sigma(
    *,
    n: int,
    deleted: int,
    strong_convexity: float,
    lipschitz: float,
    hessian_lipschitz: float,
    epsilon: float,
    delta: float,
) -> float:
    """The noise of the Newton step of Sekhari, Acharya, Kamath and Suresh (2021), σ per coordinate.

    Example:
        >>> risk = {"n": 1000, "strong_convexity": 0.1, "lipschitz": 1.0, "hessian_lipschitz": 0.1}
        >>> one, two = (ef.newton_removal_sigma(**risk, deleted=m, epsilon=1.0, delta=1e-5) for m in (1, 2))
        >>> round(one, 6), round(two / one, 6)  # as m²
        (0.000969, 4.0)

        w̄ = ŵ + Ĥ⁻¹ ∑_U ∇f/(n − m),  Ĥ = (n∇²F̂ − ∑_U ∇²f)/(n − m),  ‖w̄ − ŵ_{D'}‖ ≤ 2ρm²G²/(μ³n²)

    times √(2 log(1.25/δ))/ε for ε ≤ 1 as in the paper; for larger ε, where that conversion is not valid, divided by
    `gaussian_r(epsilon, delta)`.

    Assumed: each point's loss is μ-strongly convex and G-Lipschitz with a ρ-Lipschitz Hessian; ŵ minimises the mean
    risk exactly; m points are removed at once. Released is w̄ plus noise, and retraining plus the same noise.

    Args:
        n: number of points before the removal.
        deleted: m < n.
        strong_convexity: μ > 0.
        lipschitz: G, a bound on each point's gradient.
        hessian_lipschitz: ρ ≥ 0.
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).

    Raises:
        InputError: a constant outside its range.
    """
    n = as_count(n, "n", least=2)
    m = as_count(deleted, "deleted", most=n - 1, why=f"one of the n = {n} points has to be left")
    mu, gradient = as_positive(strong_convexity, "strong_convexity"), as_positive(lipschitz, "lipschitz")
    rho = as_nonnegative(hessian_lipschitz, "hessian_lipschitz")
    epsilon, delta = as_privacy(epsilon, delta)
    return gaussian_noise(2 * rho * (m * gradient) ** 2 / (mu**3 * n**2), epsilon, delta)
