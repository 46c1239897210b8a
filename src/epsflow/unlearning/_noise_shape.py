"""Noise of the right shape: the covariance that hides every change of a family and costs the least risk."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .._core import ConvergenceError, InputError, Shown
from ._gaussian import gaussian_r
from ._parameters import Numbers, as_numbers, as_privacy

MAX_STEPS = 100
TO_BOUNDARY = 0.99  # the part of the way to the boundary that an interior step goes, until it has converged
GAP = 1e-11
"""The relative gap at which the iteration stops; a hundredth of what is promised."""
PROMISED = 1e-9
AT_ONCE = 600  # rows of one linear system


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class OptimalNoise(Shown):
    """Noise N(0, Σ) that hides every change of a family at (ε_dp, δ_dp), with its dual certificate.

    Example:
        >>> noise = ef.optimal_noise([[1.0, 0.0], [0.0, 2.0]], np.eye(2), epsilon=1.0, delta=1e-5)
        >>> round(noise.isotropic_cost / noise.cost, 6)  # 2·2²/(1² + 2²)
        1.6

    Attributes:
        covariance: Σ, shape (d, d); singular where the changes span less than the space.
        cost: tr(HΣ), twice the excess risk to second order.
        bound: what no covariance that hides the same changes can cost less than, by weak duality at `weights`.
        weights: the dual certificate μ ≥ 0, one number per change, ∑μ = `bound`; positive only where a change is as
            close to being told apart as (ε_dp, δ_dp) allows.
        r: the distance over noise that (ε_dp, δ_dp) allows, ρ of `gaussian_r`; max_i Δ_iᵀΣ⁻¹Δ_i = r².
        isotropic_cost: tr(HΣ) of the least σ²I that hides the changes.
        risk_isotropic_cost: tr(HΣ) of the least σ²H⁻¹ that does.
    """

    covariance: Float[np.ndarray, "d d"]
    cost: float
    bound: float
    weights: Float[np.ndarray, " k"]
    r: float
    isotropic_cost: float
    risk_isotropic_cost: float

    @property
    def gap(self) -> float:
        """(cost − bound)/cost, relative: how much less the best covariance could cost at most."""
        return max((self.cost - self.bound) / self.cost, 0.0) if self.cost else 0.0

    def _facts(self) -> dict[str, object]:
        return {
            "cost": self.cost,
            "gap": self.gap,
            "isotropic_cost": self.isotropic_cost,
            "risk_isotropic_cost": self.risk_isotropic_cost,
            "r": self.r,
            "active": int((self.weights > 1e-9 * self.weights.max(initial=0)).sum()),
        }


def optimal_noise(changes: Numbers, hessian: Numbers, *, epsilon: float, delta: float) -> OptimalNoise:
    """The cheapest Gaussian noise that hides which set was deleted, the same for all of them.

    Example:
        >>> noise = ef.optimal_noise([[1.0, 0.0], [0.0, 2.0]], np.eye(2), epsilon=1.0, delta=1e-5)
        >>> (noise.covariance * noise.r**2).round(6)
        array([[1., 0.],
               [0., 4.]])

        minimise tr(HΣ)  subject to  Δ_iᵀ Σ⁻¹ Δ_i ≤ ρ²  for all i,      ρ = gaussian_r(ε, δ)

    Σ does not depend on which set is deleted, so the guarantee holds for the data set. With H = LLᵀ, z_i = LᵀΔ_i/ρ and
    Σ' = LᵀΣL this is: minimise tr Σ' with z_iᵀΣ'⁻¹z_i ≤ 1. For μ ≥ 0 and M = ∑μ_i z_i z_iᵀ, every feasible Σ' has

        tr Σ' ≥ tr Σ' + ∑μ_i (z_iᵀΣ'⁻¹z_i − 1) ≥ 2 tr M^{1/2} − ∑μ_i,

    since tr Σ' + tr Σ'⁻¹M is least at Σ' = M^{1/2}; the best multiple of μ gives (tr M^{1/2})²/∑μ_i. At the optimum
    Σ' = M^{1/2}. The dual is maximised by a primal–dual interior-point iteration; Σ is then scaled until it hides every
    change, so that `cost` is attained and `bound` proved whatever rounding left.

    Args:
        changes: Δ, shape (k, d): for each set that may be deleted, the unlearned parameters minus the retrained ones.
        hessian: H, shape (d, d), symmetric and positive definite: the risk that noise costs is ½ tr(HΣ).
        epsilon: ε_dp > 0.
        delta: δ_dp in (0, 1).

    Returns:
        Σ with cost, dual certificate, and the costs of isotropic noise and of noise isotropic in the risk metric.

    Raises:
        InputError: shapes that do not fit, numbers that are not finite, or a Hessian that is not positive definite.
        ConvergenceError: the gap stayed above 1e-9; its `result` is the covariance that was reached.
    """
    differences, factor, scales = _checked(changes, hessian)
    r = float(gaussian_r(*as_privacy(epsilon, delta)))
    # Column scales and lengths drop out of the answer; the arithmetic sees numbers of one size.
    z = differences * scales @ factor
    size = np.linalg.norm(z, axis=1).max(initial=0)
    trace = float((factor * factor).sum(1) @ scales**2)
    isotropic = float((differences**2).sum(1).max(initial=0)) * trace / r**2
    if size == 0:
        sigma, mu, cost, bound = np.zeros((z.shape[1],) * 2), np.zeros(len(z)), 0.0, 0.0
    else:
        sigma, mu, cost, bound = _shape(z / size)
    scale = float(size / r) ** 2
    inverse = np.linalg.inv(factor) / scales
    result = OptimalNoise(
        covariance=scale * (inverse.T @ sigma @ inverse),
        cost=scale * cost,
        bound=scale * bound,
        weights=scale * mu,
        r=r,
        isotropic_cost=isotropic,
        risk_isotropic_cost=scale * z.shape[1],
    )
    if result.gap > PROMISED:
        raise ConvergenceError(
            f"The best covariance was found to a relative gap of {result.gap:.1e} only, {PROMISED:g} was asked for. "
            "The error's `result` hides every change and carries its own bound; the usual reason is changes of very "
            "different lengths, or a Hessian close to singular.",
            result,
        )
    return result


def _checked(changes: Numbers, hessian: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Δ, and L and s with H = diag(s)LLᵀdiag(s), LLᵀ of unit diagonal: whether H is definite depends on no unit."""
    differences, h = as_numbers(changes, "changes"), as_numbers(hessian, "hessian")
    if differences.ndim != 2 or not differences.size or h.shape != (differences.shape[1],) * 2:
        raise InputError(f"changes has shape {differences.shape} and hessian {h.shape}; needed are (k, d) and (d, d).")
    if not (np.isfinite(differences).all() and np.isfinite(h).all()):
        raise InputError("changes and hessian must be finite; an entry is infinite.")
    diagonal = h.diagonal()
    if (diagonal > 0).all():
        scales = np.sqrt(diagonal)
        unit = h / np.outer(scales, scales)
        if np.abs(unit - unit.T).max() > 1e-8:
            raise InputError("hessian is not symmetric; pass the second derivatives of the risk.")
        # A pivot of d roundings is none: the direction is flat.
        if np.linalg.eigvalsh(unit)[0] > len(h) * np.finfo(float).eps:
            return differences, np.linalg.cholesky(unit), scales
    raise InputError(
        "hessian is not positive definite: noise along a flat direction costs nothing, so no covariance is the best. "
        "Add a ridge to the risk, or leave the flat directions out."
    )


def _shape(z: Float[np.ndarray, "k d"]) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Σ' that is feasible, μ with ∑μ = bound, the cost tr Σ', and the bound, within the span of z."""
    basis = _span(z)
    inside = z @ basis
    mu = _dual_optimum(inside) if len(inside) <= AT_ONCE else _dual_of_many(inside)
    roots, vectors = _root(inside, mu)
    worst = float((((inside @ vectors) ** 2) / roots).sum(1).max())
    trace = float(roots.sum())
    bound = trace**2 / mu.sum()
    directions = basis @ vectors
    return worst * (directions * roots) @ directions.T, mu * (bound / mu.sum()), worst * trace, bound


def _span(z: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "d q"]:
    """An orthonormal basis of the span of the rows."""
    _, values, rows = np.linalg.svd(z, full_matrices=False)
    rank = int((values > values[0] * max(z.shape) * np.finfo(float).eps).sum())
    return rows[:rank].T


def _root(z: Float[np.ndarray, "k q"], mu: Float[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of M^{1/2}, by the singular values of √μ z: the small ones keep their digits."""
    _, roots, rows = np.linalg.svd(np.sqrt(mu)[:, None] * z, full_matrices=False)
    return roots, rows.T


def _dual_of_many(z: Float[np.ndarray, "k q"]) -> Float[np.ndarray, " k"]:
    """The same μ for any number of rows: solved for some of them, joined by those not hidden, until all are."""
    from scipy.linalg import qr  # not spent by `import epsflow`

    mu = np.full(len(z), 1.0)
    independent = np.asarray(qr(z.T, mode="r", pivoting=True)[-1])[: z.shape[1]]  # the pivots come last
    chosen = np.union1d(independent, _closest(z, mu))
    for _ in range(MAX_STEPS):
        mu = np.zeros(len(z))
        mu[chosen] = _dual_optimum(z[chosen])
        roots, vectors = _root(z[chosen], mu[chosen])
        outside = ((z @ vectors) ** 2 / roots).sum(1) > roots.sum() / mu.sum() * (1 + 10 * GAP)
        outside[chosen] = False
        if not outside.any():
            break
        kept = chosen[mu[chosen] > 1e-9 * mu.max()]
        chosen = np.union1d(np.union1d(independent, kept), _closest(z, mu))
    return mu


def _closest(z: Float[np.ndarray, "k q"], mu: Float[np.ndarray, " k"]) -> Int[np.ndarray, " j"]:
    """The rows that N(0, M^{1/2}) hides least, half as many as are solved for at once."""
    roots, vectors = _root(z, mu)
    return np.argsort(((z @ vectors) ** 2 / roots).sum(1))[-AT_ONCE // 2 :]


def _dual_optimum(z: Float[np.ndarray, "k q"]) -> Float[np.ndarray, " k"]:
    """The μ ≥ 0 that maximises 2 tr M^{1/2} − ∑μ.

    With g_i = z_iᵀM^{−1/2}z_i the conditions are slack s_i = 1 − g_i ≥ 0 and μ_i s_i = 0. −∂g/∂μ = AAᵀ, where row i of
    A holds (v_k·z_i)(v_l·z_i)/√(ρ_kρ_l(ρ_k + ρ_l)) for all k, l, (ρ, v) the eigenpairs of M^{1/2}. Newton's step for
    μ_i s_i = τ is (AAᵀ + diag(s/μ))dμ = τ/μ − s − residual, where residual = 1 − g − s.
    """
    k, q = z.shape
    mu = np.full(k, q / k)
    # The multiple of this μ that is best, so that g has mean 1 under it.
    mu *= (_root(z, mu)[0].sum() / mu.sum()) ** 2
    slack = np.full(k, 1.0)
    for _ in range(MAX_STEPS):
        roots, vectors = _root(z, mu)
        inner = z @ vectors
        g = (inner**2 / roots).sum(1)
        if g.max() * roots.sum() * mu.sum() / roots.sum() ** 2 - 1 < GAP:
            break
        residual = 1 - g - slack
        complement = float(mu @ slack) / k
        try:
            solve = _factored(_curvature(inner, roots), slack / mu)
        except np.linalg.LinAlgError:
            break  # s/μ spans more than the digits of a float; the gap says what has been reached

        def newton(
            centre: np.ndarray | float, solve=solve, mu=mu, slack=slack, residual=residual
        ) -> tuple[np.ndarray, np.ndarray]:
            """The steps of μ and s towards μs = centre."""
            step = solve(centre / mu - slack - residual)
            return step, centre / mu - slack - slack / mu * step

        # Mehrotra's predictor and corrector.
        dual, primal = newton(0.0)
        ahead = (mu + _reach(mu, dual, 1.0) * dual) @ (slack + _reach(slack, primal, 1.0) * primal) / k
        dual, primal = newton((ahead / complement) ** 3 * complement - dual * primal)
        mu = mu + _reach(mu, dual, TO_BOUNDARY) * dual
        slack = slack + _reach(slack, primal, TO_BOUNDARY) * primal
    return mu


def _curvature(inner: Float[np.ndarray, "k q"], roots: Float[np.ndarray, " q"]) -> Float[np.ndarray, "k p"]:
    """A with −∂g/∂μ = AAᵀ, each pair k < l once, times √2."""
    row, column = np.triu_indices(len(roots))
    weight = np.where(row == column, 1.0, 2.0) / (roots[row] * roots[column] * (roots[row] + roots[column]))
    return inner[:, row] * inner[:, column] * np.sqrt(weight)


def _factored(a: Float[np.ndarray, "k p"], diagonal: Float[np.ndarray, " k"]) -> Callable[[np.ndarray], np.ndarray]:
    """The solver of (AAᵀ + diag)x = b."""
    from scipy.linalg import cho_factor, cho_solve  # not spent by `import epsflow`

    matrix = a @ a.T
    matrix.flat[:: len(a) + 1] += diagonal
    factor = cho_factor(matrix)
    return lambda b: cho_solve(factor, b)


def _reach(value: np.ndarray, step: np.ndarray, part: float) -> float:
    """How far along `step` a positive value stays positive: `part` of the way, at most 1."""
    falling = step < 0
    return min(1.0, part * float((-value[falling] / step[falling]).min(initial=np.inf)))
