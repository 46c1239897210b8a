"""`influence_density`: how much the weight of every point at every time of training matters for φ(θ(T))."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import RESULTS, Array, Axed, InputError, Labelled, Shown, as_scalar
from ...analysis import Functional
from ...flow import checked_flow
from ...problem import Problem, Quadratic
from ...schedules import AbstractSchedule
from ._scores import TrainingScores
from ._sweep import Sweep
from ._windows import AbstractWindows

if TYPE_CHECKING:
    import optax


@dataclass(frozen=True, eq=False, repr=False)
class InfluenceDensity(Shown, Labelled):
    """K_j(t), by which δφ = Σ_j ∫K_j(t) δε_j(t) dt to first order.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> path = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> density = ef.influence_density(line, ef.Constant(1.0), np.zeros(1), **path)
        >>> density.values[-1].round(4)  # (y − xθ)x: what the last instant of training does
        array([-0.2857,  0.7143,  0.8571])

    Attributes:
        ts: times, shape (k,).
        values: K_j(t) in units of φ per time, shape (k, n), deleted points included; (k, n, q) for a vector functional.
        thetas: θ(t), shape (k, d).
        costates: a(t) = ∂φ/∂θ(t), shape (k, d) or (k, q, d).
        error: of the values: a bound for linear regression (truncation and rounding, to first order), the change under
            ten times looser tolerances for "diffrax" (NaN where none was asked for), rounding for "steps".
        result: how the solves ended.
        method: "exact", "collocation", "diffrax" or "steps".
    """

    ts: Float[np.ndarray, " k"]
    values: Float[np.ndarray, "k n *q"]
    thetas: Float[np.ndarray, "k d"]
    costates: Float[np.ndarray, "k *q d"]
    error: float
    result: RESULTS
    method: str
    windows: AbstractWindows = field(repr=False)

    def removal(self, start: float | None = None, stop: float | None = None) -> TrainingScores:
        """−∫K_j dt: the predicted change of φ(θ(T)) if point j did not count from `start` to `stop`.

        First order in the weight: `windowed_removal` gives the second order and the truth. Exact for linear regression
        under a piecewise-constant schedule and for discrete training, else by Gauss's rule.

        Args:
            start, stop: the window. Default: all of `ts`. Of discrete training both are among `ts`.

        Raises:
            InputError: a window that is empty or outside of `ts`.
            ConvergenceError: the density is not smooth where the schedule declares no jump.
        """
        first, last = float(self.ts[0]), float(self.ts[-1])
        begin = first if start is None else as_scalar(start, "start")
        end = last if stop is None else as_scalar(stop, "stop")
        if not first <= begin <= end <= last:
            raise InputError(
                f"the window from {begin:g} to {end:g} is not inside the trajectory, which runs from {first:g} to "
                f"{last:g}; ask for the density at more `ts`."
            )
        found = self.windows.integral(begin, end)
        change = -found.values.reshape(-1, *self.values.shape[2:])
        return TrainingScores(change=change, error=found.error, result=self.result, method="density")

    def _arrays(self) -> dict[str, Axed]:
        return {
            "t": ("t", self.ts),
            "density": ("t point functional?", self.values),
            "theta": ("t parameter", self.thetas),
            "costate": ("t functional? parameter", self.costates),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "values": self.values,
            "largest": np.abs(self.values).max(),
            "error": self.error,
            "method": self.method,
            "result": self.result,
        }


@checked_flow
def influence_density(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    *,
    ts: Float[Array, " k"],
    functional: Functional,
    t0: float = 0.0,
    optimiser: "optax.GradientTransformation | None" = None,
    step_size: float = 1.0,
    batch: int | Int[np.ndarray, "steps b"] | None = None,
    key: Key[Array, ""] | None = None,
    rtol: float = 1e-10,
    atol: float = 1e-12,
    estimate_error: bool = True,
    max_steps: int = 8_192,
    throw: bool = True,
) -> InfluenceDensity:
    """K_j(t) = −a(t)ᵀg_j(θ(t)) of all n points at the times `ts`, φ being of θ(ts[-1]), g_j = c∇ℓ_j.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> path = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> density = ef.influence_density(line, ef.Constant(1.0), np.zeros(1), **path)
        >>> density.removal().change.round(2)  # −(y − xθ)x/7 with θ = 9/7
        array([ 0.04, -0.1 , -0.12])

    ȧ = ∇²R_{ε(t)}(θ(t)) a backward from a(T) = ∇φ(θ(T)): one backward solve per value of φ serves all points and times.
    K_j is the derivative with the weight ε_j of point j: raising ε_j by δ during dt changes φ(θ(T)) by K_jδ dt. The
    predicted change upon removal is −∫K_j dt (`removal`).

    Linear regression is exact (piecewise-constant ε) or near rounding with a bound, in NumPy; other models take two
    diffrax solves. With an `optimiser` training is discrete: step k, at the time t = k·`step_size`, updates θ by the
    optimiser with the gradient of R_ε at ε(t + ½ step_size), or with its estimate (n/b)cΣ_{i∈B_k} w_i∇ℓ_i + λθ from
    a batch, those of `train_with`. Then K_j(t)·step_size is the exact derivative of φ(θ_N) with the
    weight of point j in step k (0 if it is not in the batch), found by differentiating the update backward through
    checkpoints; at ts[-1] the last step counts. Memory grows with √N.

    Args:
        problem: what is trained.
        schedule: ε(t) of the deleted points; the others have weight 1.
        theta0: θ(t0), shape (d,).
        ts: ascending times ≥ t0, shape (k,); of discrete training whole multiples of `step_size`.
        functional: φ, a function of θ with a scalar or vector value, `Losses` or `Predictions`.
        t0: initial time; 0 for discrete training.
        optimiser: an optax transformation, `optax.sgd(0.1, momentum=0.9)` or `optax.adam(1e-2)` for instance. Keep the
            object: another one compiles again.
        step_size: time per step. With the optimiser's learning rate, K tends to the flow's for gradient descent; with 1
            time counts steps.
        batch: points per step, or the points of every step, shape (N, b); None for all points.
        key: seed of the batches, where they are drawn.
        rtol, atol: diffrax's local tolerances, the latter in units of the size of what is integrated, θ or the costate.
        estimate_error: also run with tolerances ten times looser (diffrax only).
        max_steps: steps after which diffrax gives up; interpolants of so many are held.
        throw: raise if the integration fails; otherwise `result` says so.

    Raises:
        InputError: a functional that is not finite or returns no numbers; times that descend, or are no whole steps;
            more values, or checkpoints, than memory should hold; an optimiser whose state is unknown.
        ConvergenceError: diffrax gave up, or training left the finite numbers; `.result` holds what there is.

    Source: the adjoint method; for discrete training Hara et al., "Data cleansing for models trained with SGD" (2019),
    and Ilyas and Engstrom, "MAGIC" (2025).
    """
    question: dict[str, Any] = {"ts": ts, "functional": functional, "throw": throw}
    if optimiser is not None:
        if t0 != 0.0:
            raise InputError(f"t0 is {t0:g}; discrete training starts at step 0, so leave t0 out.")
        from ._density_steps import step_density  # optax and JAX

        training = {"optimiser": optimiser, "step_size": step_size, "batch": batch, "key": key}
        return _shown(step_density(problem, schedule, theta0, **question, **training))
    for name, value in (("batch", batch), ("key", key)):
        if value is not None:
            raise InputError(f"{name} is for discrete training: name an optimiser, optax.sgd(0.1) for instance.")
    if isinstance(problem.risk, Quadratic):
        from ._density_linear import linear_density

        return _shown(linear_density(problem, schedule, theta0, **question, t0=t0))
    from ._density_flow import flow_density  # diffrax

    tolerances = {"rtol": rtol, "atol": atol, "estimate_error": estimate_error, "max_steps": max_steps}
    return _shown(flow_density(problem, schedule, theta0, **question, t0=t0, **tolerances))


def _shown(sweep: Sweep) -> InfluenceDensity:
    """Without the axis of a scalar functional's values."""
    axis = (0,) if sweep.scalar else (slice(None),)
    return InfluenceDensity(
        ts=sweep.ts,
        values=sweep.values[(..., *axis)],
        thetas=sweep.thetas,
        costates=sweep.costates[:, axis[0]],
        error=sweep.error,
        result=sweep.result,
        method=sweep.method,
        windows=sweep.windows,
    )
