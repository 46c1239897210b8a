"""What simpler scores see of the influence density: TracIn, SOURCE, early-stopped and converged influence.

With Φ(T, t) the flow's derivative, K_j(t) = −∇φ(θ(T))ᵀΦ(T, t)g_j(θ(t)). Each score replaces Φ, g_j, or both, and is
exact where its replacement is:

    TracIn          Φ = I                                     times short beside 1/λ_max
    SOURCE          ∇²R and g_j constant on each segment      segments short, or flat
    early-stopped   both constant on all of training          a start near θ(T)
    converged       the same, and T → ∞                       the influence function, H⁻¹g_j
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Array, InputError, decay_integral
from ...analysis import Functional, functional_jacobian
from ...flow import checked_flow, gradient_flow
from ...problem import Problem
from ...schedules import AbstractSchedule
from ._pointwise import densities_of
from ._scores import TrainingScores
from ._sweep import end_gradients

UNIT = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class _Path:
    """θ and ε at the times, and ∇φ at the last."""

    ts: Float[np.ndarray, " k"]
    thetas: Float[np.ndarray, "k d"]
    ends: Float[np.ndarray, "q d"]
    scalar: bool
    result: RESULTS

    def scores(self, change: Float[np.ndarray, "n q"], error: float, method: str) -> TrainingScores:
        """The scores, without an axis for a scalar functional."""
        return TrainingScores(
            change=change[:, 0] if self.scalar else change, error=error, method=method, result=self.result
        )


def _path(problem: Problem, schedule: AbstractSchedule, theta0: Array, ts: Array, functional: Functional) -> _Path:
    path = gradient_flow(problem, schedule, theta0, ts=ts, t0=float(np.asarray(ts).flat[0]) if np.size(ts) else 0.0)
    if len(path.ts) < 2:
        raise InputError(f"ts has {len(path.ts)} times; at least 2 are needed, the ends of training.")
    final = end_gradients(functional, np.asarray(path.end))
    return _Path(np.asarray(path.ts), np.asarray(path.thetas), final.rows, final.scalar, path.result)


@checked_flow
def tracin(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
) -> TrainingScores:
    """∫∇φ(θ(t))ᵀg_j(θ(t)) dt by the trapezoidal rule on the checkpoints `ts`: TracIn with the sign of a removal.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> training = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> ef.attribution.tracin(line, ef.Constant(1.0), np.zeros(1), **training).change.round(2)
        array([ 1.24, -3.76, -5.03])

    TracIn sums η∇φᵀ∇ℓ_j over checkpoints, as the fall of φ that point j brought; its removal would cost as much. It is
    −∫K_j dt where curvature has no time to act. The error is the change upon leaving out every second checkpoint (NaN
    for fewer than three).

    Args:
        problem: what is trained.
        schedule: ε(t).
        theta0: θ(ts[0]), shape (d,).
        ts: ascending times, shape (k,); training is from the first to the last.
        functional: φ, as in `influence_density`.

    Raises:
        InputError, ConvergenceError: as `influence_density`.

    Source: Pruthi et al., "Estimating training data influence by tracing gradient descent" (2020).
    """
    path = _path(problem, schedule, theta0, ts, functional)
    slopes = np.stack([np.atleast_2d(functional_jacobian(functional, theta)) for theta in path.thetas])
    density = densities_of(problem, path.thetas, slopes)
    change = -np.trapezoid(density, path.ts, axis=0)
    half = np.r_[0 : len(path.ts) - 1 : 2, len(path.ts) - 1]
    rough = -np.trapezoid(density[half], path.ts[half], axis=0)
    return path.scores(change, float(np.abs(change - rough).max()) if len(path.ts) > 2 else np.nan, "tracin")


@checked_flow
def source_influence(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
) -> TrainingScores:
    """SOURCE: Σ over segments of ∇φᵀ Π e^{−H_lτ_l} (I − e^{−H_kτ_k})H_k⁻¹ g_j, with H and g_j averaged on each segment.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> training = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> ef.attribution.source_influence(line, ef.Constant(1.0), np.zeros(1), **training).change.round(2)
        array([ 0.04, -0.1 , -0.12])

    Segments lie between consecutive `ts`; the averages are those of their two ends, and H is the Hessian of R_ε, dense.
    Its error falls with the square of their lengths, and the one reported is the change upon joining every two (NaN for
    one segment).

    Args:
        problem: what is trained, with a Hessian that fits (d ≤ 8,000).
        schedule, theta0, ts, functional: as in `tracin`.

    Raises:
        InputError, ConvergenceError: as `influence_density`.

    Source: Bae et al., "Training data attribution via approximate unrolled differentiation" (2024).
    """
    path = _path(problem, schedule, theta0, ts, functional)
    change = _segments(problem, schedule, path, np.arange(len(path.ts)))
    if len(path.ts) < 3:
        return path.scores(change, np.nan, "source")
    half = np.r_[0 : len(path.ts) - 1 : 2, len(path.ts) - 1]
    return path.scores(change, float(np.abs(change - _segments(problem, schedule, path, half)).max()), "source")


@checked_flow
def early_stopped_influence(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
) -> TrainingScores:
    """∇φᵀ(I − e^{−HT})H⁻¹g_j at θ(T): the influence function of training that stops after T = ts[-1] − ts[0].

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> training = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> ef.attribution.early_stopped_influence(line, ef.Constant(1.0), np.zeros(1), **training).change.round(2)
        array([ 0.04, -0.1 , -0.12])

    SOURCE with one segment whose Hessian and gradients are those of its end. What early stopping regularises is what
    e^{−HT} keeps: directions with λT ≪ 1 have no influence yet.

    Args:
        problem, schedule, theta0, ts, functional: as in `source_influence`; only the two ends of `ts` count.

    Raises:
        InputError, ConvergenceError: as `influence_density`.
    """
    path = _path(problem, schedule, theta0, ts, functional)
    length = float(path.ts[-1] - path.ts[0])
    values, vectors = _eigen(problem, schedule, path, len(path.ts) - 1, -1)
    filtered = (decay_integral(values, np.full(values.shape, length)) * (path.ends @ vectors)) @ vectors.T
    change = -densities_of(problem, path.thetas[-1:], filtered[None])[0]
    error = UNIT * problem.dim * (1.0 + np.abs(values).max() * length) * np.abs(change).max()
    return path.scores(change, float(error), "early_stopped")


@checked_flow
def converged_influence(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
) -> TrainingScores:
    """∇φᵀH⁻¹g_j at θ(T): the influence function, as if training had converged there.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> training = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> ef.attribution.converged_influence(line, ef.Constant(1.0), np.zeros(1), **training).change.round(2)
        array([ 0.04, -0.1 , -0.12])

    The limit T → ∞ of the others. `influence` gives the same at an optimum, with other curvatures and solvers.

    Args:
        problem, schedule, theta0, ts, functional: as in `source_influence`; only the two ends of `ts` count.

    Raises:
        InputError: also a Hessian at θ(T) that is not positive definite, so that nothing there is an optimum.
        ConvergenceError: as `influence_density`.
    """
    path = _path(problem, schedule, theta0, ts, functional)
    values, vectors = _eigen(problem, schedule, path, len(path.ts) - 1, -1)
    if values[0] <= problem.dim * UNIT * np.abs(values).max():
        raise InputError(
            f"the least eigenvalue of the Hessian at θ(T) is {values[0]:.2g}: training has not converged to a minimum "
            "there, and the limit does not exist. Use early_stopped_influence, influence_density, or a larger l2."
        )
    solved = ((path.ends @ vectors) / values) @ vectors.T
    change = -densities_of(problem, path.thetas[-1:], solved[None])[0]
    error = UNIT * problem.dim * values[-1] / values[0] * np.abs(change).max()
    return path.scores(change, float(error), "converged")


def _eigen(
    problem: Problem, schedule: AbstractSchedule, path: _Path, index: int, side: int
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Eigenvalues and eigenvectors of ∇²R_ε at one of the times, ε being that before it (−1) or after it (+1)."""
    values, vectors = np.linalg.eigh(_hessian(problem, schedule, path, index, side))
    return values, vectors


def _hessian(problem: Problem, schedule: AbstractSchedule, path: _Path, index: int, side: int) -> np.ndarray:
    """∇²R_ε at one of the times; ε is taken a hair to the side."""
    hair = 1e-14 * max(abs(float(path.ts[-1])), float(path.ts[-1] - path.ts[0]))
    eps = np.asarray(schedule(np.asarray(path.ts[index] + side * hair)))
    return np.asarray(problem.hessian(path.thetas[index], eps))


def _segments(problem: Problem, schedule: AbstractSchedule, path: _Path, index: np.ndarray) -> Float[np.ndarray, "n q"]:
    """SOURCE between the named times, from the last segment to the first."""
    costates, change = path.ends, np.zeros((problem.data.n, len(path.ends)))
    for first, last in zip(index[-2::-1].tolist(), index[:0:-1].tolist(), strict=True):
        length = float(path.ts[last] - path.ts[first])
        mean = 0.5 * (_hessian(problem, schedule, path, first, 1) + _hessian(problem, schedule, path, last, -1))
        values, vectors = np.linalg.eigh(mean)
        turned = costates @ vectors
        held = (decay_integral(values, np.full(values.shape, length)) * turned) @ vectors.T
        both = densities_of(problem, path.thetas[[first, last]], np.stack([held, held]))
        change -= 0.5 * both.sum(axis=0)
        costates = (np.exp(-values * length) * turned) @ vectors.T
    return change
