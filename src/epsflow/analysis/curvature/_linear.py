"""The four curvatures of a linear model, in NumPy: each is Σ w_i A_i ⊗ x_i x_iᵀ with a small matrix A_i per point."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...problem import (
    GeneralisedLinear,
    Local,
    LogisticLoss,
    Penalty,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
)
from ._curvature import Curvature
from ._labels import hyperbolic_information, label_factor

CANONICAL = (SquaredLoss, LogisticLoss, SoftmaxCrossEntropy)
"""Losses −log p(y|f) whose ∇²_f does not depend on y: the Gauss–Newton matrix is the Fisher matrix."""

FACTOR_NUMBERS = 2**27
"""Numbers (1 GB) that a factor B may take."""


@dataclass(frozen=True, eq=False)
class LinearCurvature:
    """C + λ_d I at θ; see `Curvature` for the four matrices C.

    Attributes:
        problem: what is trained.
        eps: weights of the deleted points.
        model: the risk.
        local: its points at θ.
        weights: c·w_i, shape (n,).
        ridge: what is added to the sum over data: λ + λ_d (λ_d alone where the penalty is left out).
        kind: which matrix.
        blocks: A_i, shape (n,) or (n, k, k).
    """

    problem: Problem
    eps: Float[np.ndarray, "*m"]
    model: GeneralisedLinear
    local: Local
    weights: Float[np.ndarray, " n"]
    ridge: Penalty
    kind: str
    blocks: Float[np.ndarray, "n ..."]

    @property
    def theta(self) -> Float[np.ndarray, " d"]:
        """θ."""
        return self.local.theta

    @property
    def dim(self) -> int:
        """d."""
        return self.model.dim

    @property
    def unit(self) -> float:
        """Roundoff of its products, which are in float64."""
        return 2.0**-52

    @property
    def factor_rows(self) -> int | None:
        """Number of rows of the factor B; None for the Hessian, which is only asked for as a matrix."""
        if self.kind == "hessian":
            return None
        return len(self.model.x) * (1 if self.kind == "empirical_fisher" else self.model.outputs or 1)

    @property
    def factored(self) -> bool:
        """Whether C is a Gram matrix of rows B of moderate number, √w_i times a root of A_i."""
        fits = len(self.model.x) * (self.model.outputs or 1) * self.dim <= FACTOR_NUMBERS
        return self.problem.loss.convex and float(self.weights.min(initial=0.0)) >= 0.0 and fits

    def matrix(self) -> Float[np.ndarray, "d d"]:
        """C + λ_d I."""
        dense = self.model.gram(self.weights, self.blocks)
        dense.flat[:: len(dense) + 1] += self.ridge
        return dense

    def factor(self) -> Float[np.ndarray, "rows d"]:
        """B with C + λ_d I = BᵀB + ridge·I."""
        x, root = self.model.x, np.sqrt(self.weights)
        if self.model.outputs is None:
            return x * (root * np.sqrt(np.maximum(self.blocks, 0.0)))[:, None]
        if self.kind == "empirical_fisher":
            slopes = self.local.points.slopes
            return (x[:, :, None] * (root[:, None] * slopes)[:, None, :]).reshape(len(x), -1)
        values, axes = np.linalg.eigh(self.blocks)
        roots = axes * (root[:, None] * np.sqrt(np.maximum(values, 0.0)))[:, None, :]
        return np.einsum("np,nor->nrpo", x, roots).reshape(-1, self.dim)

    def mm(self, vectors: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "q d"]:
        """(C + λ_d I) applied to each row, without the matrix."""
        model, x = self.model, self.model.x
        if model.outputs is None:
            return ((vectors @ x.T) * (self.weights * self.blocks)) @ x + self.ridge * vectors
        tangents = np.einsum("np,qpk->qnk", x, model.coefficients(vectors), optimize=True)
        curved = np.einsum("n,nkl,qnl->qnk", self.weights, self.blocks, tangents, optimize=True)
        pulled = np.einsum("np,qnk->qpk", x, curved, optimize=True)
        return pulled.reshape(vectors.shape) + self.ridge * vectors

    def general(self) -> Curvature:
        """The same in JAX, for what draws points at random."""
        return Curvature(
            risk=self.problem.empirical(),
            theta=jnp.asarray(self.theta),
            eps=jnp.asarray(self.eps),
            penalty=jnp.asarray(self.problem.penalty),
            ridge=jnp.asarray(self.ridge),
            kind=self.kind,
        )


def linear_curvature(
    problem: Problem, theta: Float[np.ndarray, " d"], kind: str, *, eps: object, ridge: Penalty
) -> LinearCurvature:
    """C + λ_d I of a problem with a linear model.

    Raises:
        InputError: a Fisher matrix of a loss without a known label distribution.
    """
    model = problem.generalised()
    local = model.at(theta)
    return LinearCurvature(
        problem=problem,
        eps=np.asarray(eps),
        model=model,
        local=local,
        weights=model.weights(eps),
        ridge=ridge,
        kind=kind,
        blocks=_blocks(model, local, kind),
    )


def _blocks(model: GeneralisedLinear, local: Local, kind: str) -> Float[np.ndarray, "n ..."]:
    """A_i: ∇²_fℓ, its expectation over labels, or ∇_fℓ∇_fℓᵀ."""
    slopes, curvatures = local.points.slopes, local.points.curvatures
    if kind == "empirical_fisher":
        return slopes**2 if slopes.ndim == 1 else slopes[:, :, None] * slopes[:, None, :]
    if kind == "fisher" and isinstance(model.loss, PseudoHuberLoss):
        ones = np.ones(len(slopes)) if slopes.ndim == 1 else np.broadcast_to(np.eye(slopes.shape[1]), curvatures.shape)
        return hyperbolic_information(model.loss.delta) * ones
    if kind == "fisher" and not isinstance(model.loss, CANONICAL):
        label_factor(model.loss, jnp.asarray(local.outputs[0]))  # refuses
    return curvatures
