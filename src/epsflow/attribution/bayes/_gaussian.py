"""Bayesian influence in closed form: linear regression has a Gaussian posterior."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..._core import InputError
from ...analysis import Losses, Predictions
from ...problem import LinearModel, Problem, Quadratic, SquaredLoss


class GaussianPosterior(NamedTuple):
    """N(μ, V).

    Attributes:
        mean: μ, shape (d,).
        covariance: V, shape (d, d).
    """

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]


def gaussian_posterior(
    problem: Problem, theta: Float[np.ndarray, " d"], beta: float, gamma: float
) -> GaussianPosterior:
    """V⁻¹ = β(XᵀX + (λ/c)I) + γI, μ = V(βXᵀy + γθ).

    Raises:
        InputError: another problem, or a posterior that is not proper.
    """
    if not isinstance(problem.risk, Quadratic):
        raise InputError("sampler='exact' is for linear regression; other posteriors are sampled: sampler='nuts'.")
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    matrix = beta * x.T @ x
    matrix[np.diag_indices(len(matrix))] += beta * problem.penalty / problem.scale + gamma
    values, axes = np.linalg.eigh(matrix)
    if not values[0] > len(values) * np.finfo(float).eps * values[-1]:
        raise InputError("the data leave a direction of θ free, so the posterior is not proper: gamma > 0 or l2 > 0.")
    covariance = (axes / values) @ axes.T
    return GaussianPosterior(covariance @ (beta * x.T @ y + gamma * theta), covariance)


def gaussian_covariance(problem: Problem, posterior: GaussianPosterior, functional: Any, points: Any) -> np.ndarray:
    """Cov(ℓ_i, φ_k), shape (n, q).

    With r = Xμ − y: Cov(ℓ_i, aᵀw) = r_i x_iᵀVa, and Cov(ℓ_i, ½(x_kᵀw − y_k)²) = r_i r_k G_ik + ½G_ik², G_ik = x_iᵀVx_k.

    Raises:
        InputError: a functional that is neither θ nor losses or predictions of a linear model.
    """
    x, y = np.asarray(problem.data.x)[points], np.asarray(problem.data.y)[points]
    gaps, pulled = x @ posterior.mean - y, x @ posterior.covariance
    if functional is None:
        return gaps[:, None] * pulled
    linear = isinstance(getattr(functional, "model", None), LinearModel) and functional.model.outputs is None
    if isinstance(functional, Predictions) and linear:
        return gaps[:, None] * (pulled @ np.asarray(functional.x).T)
    if isinstance(functional, Losses) and linear and isinstance(functional.loss, SquaredLoss):
        others = np.asarray(functional.x)
        g, left = pulled @ others.T, others @ posterior.mean - np.asarray(functional.y)
        return gaps[:, None] * left * g + 0.5 * g**2
    raise InputError(
        "sampler='exact' knows θ, Predictions and squared Losses of a linear model; for another functional use "
        "sampler='nuts'."
    )


def gaussian_mean(posterior: GaussianPosterior, functional: Any) -> Float[np.ndarray, " q"]:
    """E[φ] of the same functionals."""
    if functional is None:
        return posterior.mean
    x = np.asarray(functional.x)
    outputs = x @ posterior.mean
    if isinstance(functional, Predictions):
        return outputs
    return 0.5 * ((outputs - np.asarray(functional.y)) ** 2 + np.einsum("ij,jk,ik->i", x, posterior.covariance, x))
