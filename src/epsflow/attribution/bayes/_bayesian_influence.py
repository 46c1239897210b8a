"""`bayesian_influence`: how the posterior mean of a functional answers to the weight of each point."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import (
    RESULTS,
    SUCCESS,
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Tabular,
    as_choice,
    as_count,
    as_index_array,
    as_scalar,
    decide,
    message,
    succeeded,
)
from ...flow import checked, trained_optimum
from ...problem import Problem
from .._evaluate import functional_at, losses_at
from ._chains import SAMPLERS, TARGETS, Chains, Plan, run_chains
from ._discretisation import variance_excess
from ._gaussian import gaussian_covariance, gaussian_mean, gaussian_posterior
from ._moments import Moments, batch_counts, within_chains
from ._posterior import posterior_of, precision

MOST_NUMBERS = 2**27
"""Numbers (1 GB) that the draws of all chains may take."""

LARGEST_BASIS = 2_000
"""Most parameters for which the Hessian that whitens coordinates is formed."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class BayesianInfluence(Tabular, Labelled):
    """−Cov(ℓ_i, φ) under p(w) ∝ exp(−β Σℓ_i − (βλ/2c)‖w‖² − (γ/2)‖w − θ‖²), with what it rests on.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> effect = ef.bayesian_influence(line, sampler="exact")
        >>> effect
        BayesianInfluence(change=array(3, 1), largest error=0, sampler=exact, ess=inf, rhat=1, result=successful)

    Attributes:
        change: ∂E[φ]/∂β_i = −Cov(ℓ_i, φ), the change of E[φ] per unit *more* weight of the point's loss in the
            log-posterior; `removal` is the predicted change upon removal. Shape (points, *q).
        error: its Monte-Carlo standard error, same shape; 0 for "exact".
        mean: E[φ], shape (*q).
        mean_error: its Monte-Carlo standard error.
        points: which points, shape (points,).
        ess: the least effective number of draws of any ℓ_i or φ, all chains together.
        rhat: their largest split-R̂.
        acceptance: mean acceptance of each chain; NaN for samplers that accept everything. Shape (chains,).
        divergences: of NUTS, in all chains.
        sampler: "exact", "nuts", "mala", "sgld" or "sghmc".
        step: of each chain, as adapted. Shape (chains,).
        discretisation: by how much of itself the step of SGLD or SGHMC changes a variance of w at most, were the
            posterior Gaussian with the curvature at θ; no error bar contains it. 0 for samplers without it, NaN where
            the curvature is not known.
        beta: β.
        gamma: γ.
        draws, chains: draws per chain after the warm-up, and chains.
        gradients: gradients of single points after the warm-up.
        result: successful, or that the chains are no sample of the posterior.
    """

    change: Float[np.ndarray, "points *q"]
    error: Float[np.ndarray, "points *q"]
    mean: Float[np.ndarray, "*q"]
    mean_error: Float[np.ndarray, "*q"]
    points: Int[np.ndarray, " points"]
    ess: float
    rhat: float
    acceptance: Float[np.ndarray, " chains"]
    divergences: int
    sampler: str
    step: Float[np.ndarray, " chains"]
    discretisation: float
    beta: float
    gamma: float
    draws: int
    chains: int
    gradients: int
    result: RESULTS

    @property
    def removal(self) -> Float[np.ndarray, "points *q"]:
        """β·Cov(ℓ_i, φ): to first order, the change of E[φ] upon removal of each point, in units of φ."""
        return -self.beta * self.change

    def _arrays(self) -> dict[str, Axed]:
        return {
            "point": ("point", self.points),
            "change": ("point functional?", self.change),
            "error": ("point functional?", self.error),
            "mean": ("functional?", self.mean),
            "mean_error": ("functional?", self.mean_error),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "change": self.change,
            "largest error": float(np.abs(self.error).max(initial=0.0)),
            "sampler": self.sampler,
            "ess": self.ess,
            "rhat": self.rhat,
            "result": self.result,
        }

    def _figures(self) -> dict[str, object]:
        return {
            **self._facts(),
            "acceptance": self.acceptance,
            "divergences": self.divergences,
            "step": self.step,
            "discretisation": self.discretisation,
            "inverse temperature β": self.beta,
            "localisation γ": self.gamma,
            "draws × chains": f"{self.draws} × {self.chains}",
            "gradients of points": self.gradients,
        }

    def _rows(self) -> list[dict[str, Any]]:
        if self.change.ndim > 1 and self.change[0].size > 1:
            sizes = np.linalg.norm(self.change, axis=1)
            worst = self.error.max(axis=1)
            return [
                {"point": int(p), "‖change‖": size, "largest error": error}
                for p, size, error in zip(self.points, sizes, worst, strict=True)
            ]
        change, error, removal = (part.reshape(-1) for part in (self.change, self.error, self.removal))
        return [
            {"point": int(p), "change": change[i], "error": error[i], "removal": removal[i]}
            for i, p in enumerate(self.points)
        ]


@checked
def bayesian_influence(
    problem: Problem,
    theta: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
    *,
    functional: Any = None,
    sampler: str = "nuts",
    draws: int = 1_000,
    chains: int = 4,
    key: Key[Array, ""] | None = None,
    points: Any = "all",
    beta: float = 1.0,
    gamma: float = 0.0,
    warmup: int | None = None,
    step: float | None = None,
    batch: int | None = None,
    leaps: int = 100,
    friction: float | None = None,
    max_rhat: float = 1.01,
    min_ess: float = 400.0,
    throw: bool = True,
) -> BayesianInfluence:
    """−Cov(ℓ_i, φ), the response of E[φ] to the weight of each point's loss in the posterior.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.bayesian_influence(line, sampler="exact").change.round(4)
        array([[-0.0408],
               [ 0.102 ],
               [ 0.1224]])

    The posterior is p(w) ∝ exp(−(β/c)R_1(w) − (γ/2)‖w − θ‖²): the problem's losses with unit weight each, times β, its
    penalty as a prior, and a localisation γ around θ. With weight β_i instead of β for point i, ∂E[φ]/∂β_i = −Cov(ℓ_i,
    φ), which is `change`; to first order removal changes E[φ] by β·Cov(ℓ_i, φ), which is `removal`. As β → ∞ that is
    the influence function.

    Samplers: "nuts" and "mala" run in coordinates in which the Laplace approximation at θ is standard normal, and adapt
    their step in the warm-up. "sgld" takes Δw = (ε/2)∇log p + N(0, ε) in θ's own coordinates, ε = `step`, and on a
    quadratic with Hessian A has the covariance (A − εA²/4)⁻¹ instead of A⁻¹; "mala" is the same with a Metropolis
    correction. "sghmc" has momentum, drawn anew for every draw, and a bias of first order in its step;
    `discretisation` says how large either is. "exact": the closed form of linear regression.

    Covariances are taken within chains, errors by batch means. Chains that have not converged are not called a result.

    Source: Kreer et al. (arXiv:2509.26544).

    Args:
        problem: what is trained; its own `delete` plays no part.
        theta: θ, the centre, shape (d,). Default: the optimum, for convex problems.
        functional: φ, as in `influence`. Default: w itself.
        sampler: as above.
        draws: per chain, after the warm-up.
        chains: independent, each from a draw of the Laplace approximation and with batches of its own.
        key: of the random numbers. Default: jax.random.key(0).
        points: whose losses: "all", or a list.
        beta: β > 0.
        gamma: γ ≥ 0.
        warmup: steps that are thrown away. Default: half of `draws`.
        step: ε of SGLD, default 0.1/L, and h of SGHMC, default 0.01/√L, L the largest curvature at θ; of the others the
            first guess.
        batch: points per gradient of SGLD and SGHMC; default all.
        leaps, friction: of SGHMC; the default friction is √L.
        max_rhat, min_ess: what a result must meet, for every ℓ_i and φ.
        throw: raise if it does not.

    Raises:
        InputError: an unknown sampler, a posterior that is not proper, a functional that is not finite, too many draws
            for memory; blackjax is not installed.
        ConvergenceError: chains that diverged or have not mixed; `.result` holds what they gave.
    """
    as_choice(sampler, "sampler", ("exact", *SAMPLERS))
    inverse, hold = as_scalar(beta, "beta"), as_scalar(gamma, "gamma")
    if not inverse > 0.0 or hold < 0.0:
        raise InputError(f"beta is {inverse:g} and gamma {hold:g}; beta must be positive, and gamma not negative.")
    trained = trained_optimum(problem, theta)
    everything = isinstance(points, str) and points == "all"
    index = np.arange(problem.data.n) if everything else as_index_array(points, "points", problem.data.n)
    first = functional_at(functional, trained[None])
    if not np.isfinite(first).all():
        raise InputError("the functional is not finite at theta; its covariance with the losses has no meaning.")
    if sampler == "exact":
        return _closed_form(problem, trained, functional, (inverse, hold), index)
    length, count = as_count(draws, "draws", least=100), as_count(chains, "chains")
    if length * count * problem.dim > MOST_NUMBERS:
        raise InputError(
            f"{count} × {length:,} draws of {problem.dim} parameters take "
            f"{8e-9 * length * count * problem.dim:.1f} GB; take fewer, or several calls with other keys."
        )
    plan, basis, bias = _plan(
        problem, trained, (inverse, hold), (sampler, length, warmup, step, batch, leaps, friction)
    )
    posterior = posterior_of(problem, trained, inverse, hold)
    walked = run_chains(posterior, basis, plan, jax.random.key(0) if key is None else key, count)
    found = _judged(
        problem, index, functional, walked, (inverse, hold), (max_rhat, min_ess), (plan, bias), first.ndim == 1
    )
    if throw and not succeeded(found.result):
        raise ConvergenceError(
            f"the chains are no sample of the posterior: {message(found.result)} (largest split-R̂ {found.rhat:.4g}, "
            f"least effective draws {found.ess:.4g}, {found.divergences} divergences.) throw=False returns them.",
            found,
        )
    return found


def _closed_form(
    problem: Problem, theta: np.ndarray, functional: Any, scales: tuple[float, float], index: np.ndarray
) -> BayesianInfluence:
    posterior = gaussian_posterior(problem, theta, *scales)
    change = -gaussian_covariance(problem, posterior, functional, index)
    mean = gaussian_mean(posterior, functional)
    return BayesianInfluence(
        change=change,
        error=np.zeros_like(change),
        mean=mean,
        mean_error=np.zeros_like(mean),
        points=index,
        ess=float("inf"),
        rhat=1.0,
        acceptance=np.zeros(0),
        divergences=0,
        sampler="exact",
        step=np.zeros(0),
        discretisation=0.0,
        beta=scales[0],
        gamma=scales[1],
        draws=0,
        chains=0,
        gradients=0,
        result=SUCCESS,
    )


def _plan(
    problem: Problem, theta: np.ndarray, scales: tuple[float, float], given: tuple[Any, ...]
) -> tuple[Plan, np.ndarray | None, float]:
    """Steps and coordinates, from the curvature at θ, and what the step does to variances."""
    sampler, draws, warmup, step, batch, leaps, friction = given
    if problem.dim > LARGEST_BASIS:
        if sampler in TARGETS or step is None:
            raise InputError(
                f"d = {problem.dim:,}: the curvature that sets coordinates and steps is formed up to d = "
                f"{LARGEST_BASIS:,}. Use sampler='sgld' with a step of your own."
            )
        basis, steepest, sizes = None, 1.0, None
    else:
        values, axes = precision(problem, theta, *scales)
        sizes = np.abs(values)
        if not sizes.max() > 0.0 or (problem.convex and not values[0] > len(values) * 1e-15 * values[-1]):
            raise InputError("the posterior is not proper: a direction of θ is free. Take gamma > 0, or l2 > 0.")
        # Where θ is no minimum, sizes of curvatures set the coordinates, none of them smaller than 1e-6 of the largest.
        steepest = float(sizes.max())
        basis = axes / np.sqrt(np.maximum(sizes, 1e-6 * steepest))
    own = {"sgld": 0.1 / steepest, "sghmc": 0.01 / np.sqrt(steepest), "mala": 0.5, "nuts": 0.5}[sampler]
    chosen = own if step is None else as_scalar(step, "step")
    if not chosen > 0.0:
        raise InputError(f"step is {chosen:g}; it must be positive.")
    if batch is not None and (sampler in TARGETS or as_count(batch, "batch") > problem.data.n):
        raise InputError(f"batch is {batch}; batches of at most n = {problem.data.n} points are for sgld and sghmc.")
    plan = Plan(
        sampler=sampler,
        warmup=draws // 2 if warmup is None else as_count(warmup, "warmup", least=0),
        draws=draws,
        step=chosen,
        batch=batch,
        leaps=as_count(leaps, "leaps"),
        friction=float(np.sqrt(steepest)) if friction is None else as_scalar(friction, "friction"),
    )
    return plan, basis, np.nan if sizes is None else variance_excess(sizes, plan)


def _judged(
    problem: Problem,
    index: np.ndarray,
    functional: Any,
    walked: Chains,
    scales: tuple[float, float],
    limits: tuple[float, float],
    planned: tuple[Plan, float],
    scalar: bool,
) -> BayesianInfluence:
    """Covariances of the draws, and whether these are a sample of the posterior."""
    plan, bias = planned
    x, y = np.asarray(problem.data.x)[index], np.asarray(problem.data.y)[index]
    count, length, _ = walked.draws.shape

    def series(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = functional_at(functional, draws)
        return losses_at(problem.model, problem.loss, draws, x, y), values.reshape(len(draws), -1)

    with np.errstate(all="ignore"):  # a chain that diverged is told by its moments
        moments: Moments = within_chains(walked.draws, series)
    finite = np.isfinite(walked.draws).all() and np.isfinite(moments.covariance).all()
    spread = ~np.isnan(moments.ess)  # a loss or value that does not vary has no effective draws, and needs none
    ess, rhat = float(moments.ess[spread].min(initial=np.inf)), float(moments.rhat.max())
    mixed = rhat <= limits[0] and ess >= limits[1] and batch_counts(length)[1] >= 2
    shape = (len(index),) if scalar else (len(index), -1)
    return BayesianInfluence(
        change=-moments.covariance.reshape(shape),
        error=moments.error.reshape(shape),
        mean=moments.mean.reshape(shape[1:]),
        mean_error=moments.mean_error.reshape(shape[1:]),
        points=index,
        ess=ess,
        rhat=rhat,
        acceptance=walked.acceptance,
        divergences=int(walked.divergences.sum()),
        sampler=plan.sampler,
        step=walked.step,
        discretisation=bias,
        beta=scales[0],
        gamma=scales[1],
        draws=length,
        chains=count,
        gradients=walked.gradients * (plan.batch or problem.data.n),
        result=decide((not finite, RESULTS.nonfinite), (not mixed, RESULTS.not_mixed)),
    )
