"""EK-FAC: the Fisher matrix of a network, layer by layer, in the eigenbasis of its Kronecker factors."""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import RESULTS, Array, InputError
from ...problem import EmpiricalRisk, LayeredModel, RoundedProducts, with_rounded_products
from ._base import AbstractCurvatureSolver, AnyCurvature, CurvatureSolve, judge, one_ridge, products, relative_residuals
from ._curvature import Curvature
from ._labels import output_factor, sample_labels
from ._linear import LinearCurvature


class KroneckerLayer(eqx.Module):
    """One layer's block (Q_S ⊗ Q_A) diag(Λ) (Q_S ⊗ Q_A)ᵀ on its gradients, written as matrices G of shape (out, in+1).

    Attributes:
        inputs: Q_A, eigenvectors (columns) of A = Σ w_i Σ_t ā_it ā_itᵀ, ā = (a, 1), shape (in+1, in+1); t runs over
            the pixels of a convolution, whose a is what a pixel's kernel sees. Other layers have one t.
        outputs: Q_S, eigenvectors (columns) of S = Σ w_i E[Σ_t δ_it δ_itᵀ], δ_t = ∂ℓ/∂(W a_t + b), shape (out, out).
        eigenvalues: Λ = Σ w_i E[(Q_Sᵀ G_i Q_A)²] entry by entry, G_i = Σ_t δ_it ā_itᵀ, shape (out, in+1): the diagonal
            of the layer's own block in this basis, where K-FAC would put the product of the factors' eigenvalues.
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


@dataclass(frozen=True, repr=False)
class EKFAC(AbstractCurvatureSolver):
    """(blocks of the layers + μI)⁻¹v, μ = λ + λ_d, for an `MLP` or a `CNN` under any loss with a factor.

    Example:
        >>> problem = ef.Problem(ef.MLP((10, 1)), ef.SquaredLoss(), ef.load_dataset("diabetes"), delete=[17])
        >>> ef.influence(problem, np.zeros(11), curvature="ggn", damping=1.0, solver=ef.EKFAC()).change.shape
        (11,)

    Approximates the curvature that it is given: "ggn" and "fisher" with the exact expectation over labels (as many
    backward passes as outputs), "empirical_fisher" at the observed labels. Two approximations remain, and show in the
    residual: layers do not interact, and a layer's block is diagonal in the Kronecker eigenbasis. A successful result
    says that the factors were built, unless `rtol` makes the residual the criterion.

    A convolution's factors sum over its pixels, as if what they see and send back were alike everywhere and independent
    (spatial homogeneity); that decides the basis only. Its eigenvalues are exact, from each point's whole gradient.

    Source: George et al., "Fast approximate natural gradient descent in a Kronecker-factored eigenbasis", 2018; Grosse
    et al., "Studying large language model generalization with influence functions", 2023, section 3; convolutions:
    Grosse and Martens, "A Kronecker-factored approximate Fisher matrix for convolution layers", 2016, section 3.

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
        """Build the factors; `InputError` for a Hessian, a model whose layers are not known, or a ridge of 0."""
        if curvature.kind == "hessian":
            raise InputError('EK-FAC approximates a Gauss–Newton or Fisher matrix, not a Hessian: use curvature="ggn".')
        if isinstance(curvature, LinearCurvature):
            raise _no_layers(curvature.problem.model)
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
        return [_moments(a, s, weights) for a, s in zip(inputs, deltas, strict=True)]

    size = _points_together(curvature, samples)
    moments = curvature.sum_points(second_moments, size)
    bases = [(jnp.linalg.eigh(a)[1], jnp.linalg.eigh(s)[1]) for a, s in moments]

    def corrections(index: Array, x: Array, y: Array, weights: Array) -> list[Array]:
        inputs, deltas = _back_propagate(curvature, index, x, y, key, samples)
        return [_squares(a, s, weights, *basis) for a, s, basis in zip(inputs, deltas, bases, strict=True)]

    values = curvature.sum_points(corrections, size)
    return [KroneckerLayer(*basis, value) for basis, value in zip(bases, values, strict=True)]


def layer_squares(curvature: Curvature) -> list[Float[Array, "o i"]]:
    """Σ w_i E[G_i²] entry by entry for every layer, the diagonal of its block as it is: Λ in the plain basis."""

    def squares(index: Array, x: Array, y: Array, weights: Array) -> list[Array]:
        parts = zip(*_back_propagate(curvature, index, x, y, None, None), strict=True)
        plain = [(a, s, *(jnp.eye(side, dtype=a.dtype) for side in (a.shape[-1], s.shape[2]))) for a, s in parts]
        return [_squares(a, s, weights, *bases) for a, s, *bases in plain]

    return curvature.sum_points(squares, _points_together(curvature, None))


def is_layered(curvature: Curvature) -> bool:
    """Whether the layers of its model are known."""
    return isinstance(_model(curvature), LayeredModel)


def _moments(
    inputs: Float[Array, "b *places i"], deltas: Float[Array, "b r o *places"], weights: Float[Array, " b"]
) -> tuple[Float[Array, "i i"], Float[Array, "o o"]]:
    """A and S of some points: Σ w ā āᵀ and Σ w δ δᵀ, over places too."""
    if inputs.ndim == 3:
        weights = jnp.repeat(weights, inputs.shape[1])
        inputs = inputs.reshape(-1, inputs.shape[2])
        deltas = jnp.moveaxis(deltas, 3, 1).reshape(-1, *deltas.shape[1:3])
    a = (inputs * weights[:, None]).T @ inputs
    return a, jnp.tensordot(deltas * weights[:, None, None], deltas, [(0, 1), (0, 1)])


def _squares(
    inputs: Float[Array, "b *places i"],
    deltas: Float[Array, "b r o *places"],
    weights: Float[Array, " b"],
    q_in: Float[Array, "i i"],
    q_out: Float[Array, "o o"],
) -> Float[Array, "o i"]:
    """Λ of some points: Σ w (Q_Sᵀ G Q_A)². G is an outer product unless places are summed over."""
    if inputs.ndim == 3:
        gradients = jnp.einsum("brop,bpi->broi", jnp.einsum("brsp,so->brop", deltas, q_out), inputs @ q_in)
        return jnp.einsum("b,broi->oi", weights, gradients**2)
    return (((deltas @ q_out) ** 2).sum(axis=1) * weights[:, None]).T @ (inputs @ q_in) ** 2


def _points_together(curvature: Curvature, samples: int | None) -> int | None:
    """Points whose back-propagated vectors fit into half of the budget, three times."""
    risk, model = _network(curvature)
    if curvature.chunks is None:
        return None
    layers, numbers = model.layers(curvature.theta), 0
    columns = 1 if curvature.kind == "empirical_fisher" else samples or len(layers[-1][1])
    for (weight, bias), places in zip(layers, model.places, strict=True):
        inputs, outputs = weight.size // len(bias), len(bias)
        numbers += 3 * (places or 1) * (inputs + columns * outputs)
        numbers += 0 if places is None else 2 * columns * outputs * inputs  # a gradient for each column
    half = curvature.chunks.max_bytes // (2 * curvature.theta.dtype.itemsize)
    return max(1, min(risk.chunk_rows, half // numbers))


def _network(curvature: Curvature) -> tuple[EmpiricalRisk, LayeredModel]:
    risk, model = curvature.risk, _model(curvature)
    if not isinstance(risk, EmpiricalRisk):
        raise InputError("EK-FAC needs the points of the data, which sufficient statistics do not hold.")
    if not isinstance(model, LayeredModel):
        raise _no_layers(model)
    return risk, model


def _model(curvature: Curvature) -> Any:
    """f, without what rounds its products."""
    model = getattr(curvature.risk, "model", None)
    return model.model if isinstance(model, RoundedProducts) else model


def _no_layers(model: Any) -> InputError:
    return InputError(
        f"EK-FAC factors a network layer by layer, and a {type(model).__name__} is one function of θ whose layers it "
        'does not know. Build the network as an ef.MLP or an ef.CNN; or use solver="cg" (exact), "nystrom", or "dual" '
        "for few points."
    )


def _back_propagate(
    curvature: Curvature, index: Array, x: Array, y: Array, key: Array | None, samples: int | None
) -> tuple[list[Array], list[Array]]:
    """Per layer the inputs ā, shape (b, *places, in+1), and r back-propagated vectors, shape (b, r, out, *places).

    The vectors are the columns of L, LLᵀ = E[∇_fℓ∇_fℓᵀ] (or of sampled gradients), pulled back through the network, so
    that sums of their squares are exact expectations.
    """
    risk, model = _network(curvature)
    layers = zip(model.layers(curvature.theta), model.places, strict=True)
    zeros = [jnp.zeros((len(bias), *(() if places is None else (places,))), bias.dtype) for (_, bias), places in layers]

    def forward(shifts: list[Array], point: Array) -> tuple[Array, list[Array]]:
        """The output with shifts after each W a + b, and what entered each layer."""
        inputs: list[Array] = []

        def tap(a: Array, values: Array) -> Array:
            inputs.append(jnp.append(a.T, jnp.ones((*a.shape[1:], 1), a.dtype), axis=-1))
            return values + shifts[len(inputs) - 1]

        return model.tapped(curvature.theta, point, tap), inputs

    def one(number: Array, point: Array, target: Array) -> tuple[list[Array], list[Array]]:
        output, pull, inputs = jax.vjp(lambda s: forward(s, point), zeros, has_aux=True)
        if samples is None or key is None:
            columns = output_factor(curvature.kind, risk.loss, output, target)
        else:
            labels = sample_labels(risk.loss, output, jax.random.fold_in(key, number), samples)
            gradients = jax.vmap(jax.grad(risk.loss), (None, 0))(output, labels)
            columns = gradients.reshape(samples, -1).T / jnp.sqrt(samples)
        return inputs, jax.vmap(lambda column: pull(column.reshape(output.shape))[0], in_axes=1)(columns)

    one = with_rounded_products(one) if isinstance(risk.model, RoundedProducts) else one
    return jax.vmap(one)(index, x, y)


@eqx.filter_jit
def _layers(curvature: Curvature, key: Array | None, samples: int | None) -> list[KroneckerLayer]:
    return kronecker_layers(curvature, key, samples)
