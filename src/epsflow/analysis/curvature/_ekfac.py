"""EK-FAC: the Fisher matrix of a network, layer by layer, in the eigenbasis of its Kronecker factors."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import RESULTS, Array, InputError
from ...problem import MLP, EmpiricalRisk, RoundedProducts, with_rounded_products
from ._base import AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, judge, one_ridge, products, relative_residuals
from ._curvature import Curvature
from ._labels import output_factor, sample_labels
from ._linear import LinearCurvature


class KroneckerLayer(eqx.Module):
    """One layer's block (Q_S ⊗ Q_A) diag(Λ) (Q_S ⊗ Q_A)ᵀ on its gradients, written as matrices G of shape (out, in+1).

    Attributes:
        inputs: Q_A, eigenvectors (columns) of A = Σ w_i ā_i ā_iᵀ, ā = (a, 1), shape (in+1, in+1).
        outputs: Q_S, eigenvectors (columns) of S = Σ w_i E[δ_i δ_iᵀ], δ = ∂ℓ/∂(W a + b), shape (out, out).
        eigenvalues: Λ = Σ w_i E[(Q_Sᵀ G_i Q_A)²] entry by entry, shape (out, in+1): the diagonal of the layer's own
            block in this basis, where K-FAC would put the product of the factors' eigenvalues.
    """

    inputs: Float[Array, "i i"]
    outputs: Float[Array, "o o"]
    eigenvalues: Float[Array, "o i"]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A curvature and its layers' factors."""

    curvature: Curvature
    layers: list[KroneckerLayer]

    def solve(self, rhs: Float[np.ndarray, "q d"]) -> Float[np.ndarray, "q d"]:
        """(blocks + ridge·I)⁻¹v; θ holds W by rows, then b, and a block acts on (W | b)."""
        pieces, start, ridge = [], 0, float(self.curvature.ridge)
        for layer in self.layers:
            q_in, q_out, values = (np.asarray(part) for part in (layer.inputs, layer.outputs, layer.eigenvalues))
            outputs, inputs = values.shape
            middle, end = start + outputs * (inputs - 1), start + outputs * inputs
            weights = rhs[:, start:middle].reshape(-1, outputs, inputs - 1)
            whole = np.concatenate([weights, rhs[:, middle:end, None]], axis=2)
            solved = q_out @ (q_out.T @ whole @ q_in / (values + ridge)) @ q_in.T
            pieces += [solved[:, :, :-1].reshape(len(rhs), -1), solved[:, :, -1]]
            start = end
        return np.concatenate(pieces, axis=1)


_NO_LAYERS = "EK-FAC needs the layers of an `MLP`; for other models use cg, dual or nystrom."


@dataclass(frozen=True, repr=False)
class EKFAC(AbstractCurvatureSolver):
    """(blocks of the layers + μI)⁻¹v, μ = λ + λ_d, for an `MLP` with biases under any loss with a factor.

    Example:
        >>> problem = ef.Problem(ef.MLP((10, 1)), ef.SquaredLoss(), ef.load_dataset("diabetes"), delete=[17])
        >>> ef.influence(problem, np.zeros(11), curvature="ggn", damping=1.0, solver=ef.EKFAC()).change.shape
        (11,)

    Approximates the curvature that it is given: "ggn" and "fisher" with the exact expectation over labels (as many
    backward passes as outputs), "empirical_fisher" at the observed labels. Two approximations remain, and show in the
    residual: layers do not interact, and a layer's block is diagonal in the Kronecker eigenbasis. A successful result
    says that the factors were built, unless `rtol` makes the residual the criterion.

    Source: George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", 2018; Grosse
    et al., "Studying large language model generalization with influence functions", 2023, section 3.

    Attributes:
        samples: labels drawn per point in place of the exact expectation ("fisher" only); None for exact.
        key: seed of the labels; needed with `samples`.
        rtol: residual above which the approximation counts as failed; None to accept any.
    """

    samples: int | None = None
    key: Key[Array, ""] | None = None
    rtol: float | None = None

    def __post_init__(self) -> None:
        if self.samples is not None and (self.samples < 1 or self.key is None):
            raise InputError("EKFAC: samples must be at least 1 and needs a key, for instance key=jax.random.key(0).")
        if self.rtol is not None and not self.rtol > 0.0:
            raise InputError(f"EKFAC: rtol is {self.rtol}; a positive number or None is needed.")

    def init(self, curvature: AnyCurvature) -> Blocks:
        """Build the factors; `InputError` for a Hessian, a model that is not an `MLP`, or a ridge of 0."""
        if curvature.kind == "hessian":
            raise InputError('EK-FAC approximates a Gauss–Newton or Fisher matrix, not a Hessian: use curvature="ggn".')
        if isinstance(curvature, LinearCurvature):
            raise InputError(_NO_LAYERS)
        _network(curvature)
        if self.samples is not None and curvature.kind != "fisher":
            raise InputError(
                f'labels are sampled for curvature="fisher" only; {curvature.kind} does not average over them.'
            )
        if one_ridge(curvature, "EKFAC") <= 0.0:
            raise InputError(
                "EK-FAC needs λ + λ_d > 0: the factors of a finite data set are often singular. Give a damping."
            )
        return Blocks(curvature, _layers(curvature, self.key, self.samples))

    def compute(self, state: Any, rhs: Float[np.ndarray, "q d"]) -> CurvatureSolve:
        """Every layer's block on its own."""
        solution = state.solve(rhs)
        residual = relative_residuals(products(state.curvature, solution), rhs)
        return CurvatureSolve(
            solution=solution,
            residual=residual,
            result=judge(residual, np.inf if self.rtol is None else self.rtol, RESULTS.breakdown),
            steps=np.zeros(len(rhs), np.int64),
            solver="ekfac",
            note="layers do not interact and each block is diagonal in its Kronecker eigenbasis; more damping helps",
        )


def kronecker_layers(
    curvature: Curvature, key: Key[Array, ""] | None = None, samples: int | None = None
) -> list[KroneckerLayer]:
    """The factors of every layer, in two passes over chunks of the data: bases, then eigenvalues in them. Traceable."""

    def second_moments(index: Array, x: Array, y: Array, weights: Array) -> list[tuple[Array, Array]]:
        inputs, deltas = _back_propagate(curvature, index, x, y, key, samples)
        return [
            ((a * weights[:, None]).T @ a, jnp.tensordot(s * weights[:, None, None], s, [(0, 1), (0, 1)]))
            for a, s in zip(inputs, deltas, strict=True)
        ]

    size = _points_together(curvature, samples)
    moments = curvature.sum_points(second_moments, size)
    bases = [(jnp.linalg.eigh(a)[1], jnp.linalg.eigh(s)[1]) for a, s in moments]

    def corrections(index: Array, x: Array, y: Array, weights: Array) -> list[Array]:
        inputs, deltas = _back_propagate(curvature, index, x, y, key, samples)
        return [
            (((s @ q_out) ** 2).sum(axis=1) * weights[:, None]).T @ (a @ q_in) ** 2
            for a, s, (q_in, q_out) in zip(inputs, deltas, bases, strict=True)
        ]

    values = curvature.sum_points(corrections, size)
    return [KroneckerLayer(*basis, value) for basis, value in zip(bases, values, strict=True)]


def _points_together(curvature: Curvature, samples: int | None) -> int | None:
    """Points whose back-propagated vectors fit into half of the budget, three times."""
    risk, model = _network(curvature)
    if curvature.chunks is None:
        return None
    columns = 1 if curvature.kind == "empirical_fisher" else samples or model.widths[-1]
    numbers = 3 * (sum(model.widths[:-1]) + columns * sum(model.widths[1:]))
    half = curvature.chunks.max_bytes // (2 * curvature.theta.dtype.itemsize)
    return max(1, min(risk.chunk_rows, half // numbers))


def _network(curvature: Curvature) -> tuple[EmpiricalRisk, MLP]:
    risk = curvature.risk
    model = risk.model if isinstance(risk, EmpiricalRisk) else None
    model = model.model if isinstance(model, RoundedProducts) else model
    if not isinstance(risk, EmpiricalRisk) or not isinstance(model, MLP):
        raise InputError(_NO_LAYERS)
    return risk, model


def _back_propagate(
    curvature: Curvature, index: Array, x: Array, y: Array, key: Array | None, samples: int | None
) -> tuple[list[Array], list[Array]]:
    """Per layer the homogeneous inputs ā, shape (b, in+1), and the r back-propagated vectors, shape (b, r, out).

    The vectors are the columns of L, LLᵀ = E[∇_fℓ∇_fℓᵀ] (or of sampled gradients), pulled back through the network, so
    that sums of their squares are exact expectations.
    """
    risk, model = _network(curvature)
    layers = model.layers(curvature.theta)

    def forward(shifts: list[Array], point: Array) -> tuple[Array, list[Array]]:
        inputs, value = [], point
        for level, ((weight, bias), shift) in enumerate(zip(layers, shifts, strict=True)):
            value = model.activate(value) if level else value
            inputs.append(jnp.append(value, 1.0))
            value = weight @ value + bias + shift
        return value, inputs

    def one(number: Array, point: Array, target: Array) -> tuple[list[Array], list[Array]]:
        output, pull, inputs = jax.vjp(
            lambda s: forward(s, point), [jnp.zeros_like(b) for _, b in layers], has_aux=True
        )
        scored = output[0] if model.widths[-1] == 1 else output
        if samples is None or key is None:
            columns = output_factor(curvature.kind, risk.loss, scored, target)
        else:
            labels = sample_labels(risk.loss, scored, jax.random.fold_in(key, number), samples)
            gradients = jax.vmap(jax.grad(risk.loss), (None, 0))(scored, labels)
            columns = gradients.reshape(samples, -1).T / jnp.sqrt(samples)
        return inputs, jax.vmap(lambda column: pull(column)[0], in_axes=1)(columns)

    one = with_rounded_products(one) if isinstance(risk.model, RoundedProducts) else one
    return jax.vmap(one)(index, x, y)


@eqx.filter_jit
def _layers(curvature: Curvature, key: Array | None, samples: int | None) -> list[KroneckerLayer]:
    return kronecker_layers(curvature, key, samples)
