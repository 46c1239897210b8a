"""Stages of learning in closed form: the deep linear network, whose modes are learned one after another."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import Array, InputError, Spelled, as_count, as_float64, as_scalar
from ...problem import AbstractModel, Dataset, Problem, SquaredLoss


def mode_strengths(
    strengths: Float[np.ndarray, " modes"],
    ts: Float[np.ndarray, " k"],
    *,
    initial: Float[np.ndarray, " modes"] | float,
    tau: float = 1.0,
) -> Float[np.ndarray, "k modes"]:
    """How far a two-layer linear network has learned each mode, 𝒢_k(t).

    Example:
        >>> ef.attribution.mode_strengths(np.array([2.0, 1.0]), np.array([0.0, 2.0, 10.0]), initial=0.01).round(2)
        array([[0.01, 0.01],
               [1.87, 0.36],
               [2.  , 1.  ]])

    𝒢_k(t) = s_k e^{2s_kt/τ}/(e^{2s_kt/τ} − 1 + s_k/𝒢_k(0)) solves τ𝒢̇ = 2𝒢(s − 𝒢): the gradient flow of
    ½‖W₂W₁ − Σ‖² on whitened inputs, both layers balanced and aligned with the singular vectors of the input–output
    correlation Σ. Mode k rises at t ≈ (τ/2s_k) ln(s_k/𝒢_k(0)).

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks" (2014).

    Args:
        strengths: the singular values s_k > 0, shape (modes,).
        ts: times ≥ 0, shape (k,).
        initial: 𝒢_k(0) > 0, one number or one per mode.
        tau: τ > 0.

    Raises:
        InputError: a strength, a start or τ that is not positive; a negative time.
    """
    s, times, start = as_float64(strengths, "strengths"), as_float64(ts, "ts"), as_float64(initial, "initial")
    rate = as_float64(tau, "tau")
    for name, value in (("strengths", s), ("initial", start), ("tau", rate)):
        if not (np.isfinite(value).all() and (value > 0.0).all()):
            raise InputError(f"{name} is {value}; positive, finite numbers are needed: a mode at 0 is never learned.")
    if not (np.isfinite(times).all() and (times >= 0.0).all()):
        raise InputError("ts holds a time that is negative or not finite; the network starts at 0.")
    # Divided by the growing exponential, so that nothing overflows however late t is.
    return s / (1.0 + (s / start - 1.0) * np.exp(-2.0 * s * times[:, None] / rate))


class DeepLinear(AbstractModel):
    """f = W₂W₁x: a network of one hidden layer without activation or biases; θ stacks W₁ and W₂, row by row.

    Example:
        >>> ef.attribution.DeepLinear((4, 2, 3)).dim
        14

    Attributes:
        widths: (features, hidden, outputs).
    """

    widths: tuple[int, int, int] = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """Number of weights."""
        features, hidden, outputs = self.widths
        return hidden * (features + outputs)

    def layers(self, theta: Float[Array, " d"]) -> tuple[Float[Array, "h p"], Float[Array, "k h"]]:
        """W₁ and W₂."""
        features, hidden, outputs = self.widths
        cut = hidden * features
        return theta[:cut].reshape(hidden, features), theta[cut:].reshape(outputs, hidden)

    def __call__(self, theta: Float[Array, " d"], x: Float[Array, " p"]) -> Float[Array, " k"]:
        first, second = self.layers(theta)
        return second @ (first @ x)

    def init(self, key: Key[Array, ""]) -> Float[Array, " d"]:
        """Normal entries divided by √hidden and by 10: small, so that modes are learned one after another."""
        return 0.1 * jax.random.normal(key, (self.dim,), dtype=jnp.float64) / math.sqrt(self.widths[1])


@dataclass(frozen=True, eq=False, repr=False)
class TreeNetwork(Spelled):
    """A deep linear network about to learn tree-structured data.

    Example:
        >>> tree = ef.attribution.tree_network(depth=1)
        >>> tree.left.shape, tree.right.shape
        ((2, 2), (2, 2))

    Attributes:
        problem: one point per item; the risk is ½‖W₂W₁ − Y‖², so that τ = 1.
        theta0: balanced, aligned, small: every mode at `initial`.
        strengths: singular values s_k of Y, descending, shape (modes,).
        left, right: singular vectors u_k over properties (columns), v_k over items (columns).
    """

    problem: Problem
    theta0: Float[np.ndarray, " d"]
    strengths: Float[np.ndarray, " modes"]
    left: Float[np.ndarray, "properties modes"]
    right: Float[np.ndarray, "items modes"]

    def mode(self, k: int) -> Callable[[Array], Array]:
        """φ(θ) = u_kᵀW₂W₁v_k, how far mode k has been learned."""
        model: Any = self.problem.model
        u, v = self.left[:, k], self.right[:, k]

        def strength(theta: Array) -> Array:
            first, second = model.layers(theta)
            return u @ (second @ (first @ v))

        return strength

    def density(self, k: int, T: float, initial: float) -> Float[np.ndarray, " items"]:
        """K_j(t) of mode k at T in closed form, v_jk²·2𝒢_k(T)(s_k − 𝒢_k(T)): the same at every t ≤ T.

        Proved here: a unit of weight on item j for dt moves 𝒢_k by v_jk²·2𝒢_k(s_k − 𝒢_k) dt, along its own flow, so
        that it arrives multiplied by 𝒢̇_k(T)/𝒢̇_k(t). What couples two modes is odd under a change of sign of one of
        them, and does not reach 𝒢_k to first order.
        """
        s = self.strengths[k]
        reached = mode_strengths(s[None], np.array([T]), initial=initial)[0, 0]
        return self.right[:, k] ** 2 * 2.0 * reached * (s - reached)


def tree_network(depth: int = 2, *, initial: float = 1e-3, fade: float = 0.7) -> TreeNetwork:
    """Items at the leaves of a binary tree, described by its branches: the broad distinctions are learned first.

    Example:
        >>> ef.attribution.tree_network(depth=2).strengths.round(2)
        array([2.  , 1.4 , 0.69, 0.69])

    One property is shared by all items; every split of the tree adds one, which is fade^level for the items on its
    left, −fade^level on its right, and 0 for all others. Inputs are one-hot.

    Args:
        depth: of the tree; 2^depth items.
        initial: 𝒢_k(0) of every mode.
        fade: how much less a finer distinction weighs, so that modes differ in strength.

    Raises:
        InputError: a depth below 1 or above 10, `initial` or `fade` that is not positive.

    Source: Saxe, McClelland and Ganguli, "A mathematical theory of semantic development" (2019).
    """
    levels = as_count(depth, "depth")
    start, weaker = as_scalar(initial, "initial"), as_scalar(fade, "fade")
    if levels > 10 or start <= 0.0 or weaker <= 0.0:
        raise InputError(f"depth {levels}, initial {start:g}, fade {weaker:g}: depth is 1 to 10, the others positive.")
    items = 2**levels
    columns = [np.ones(items)]
    for level in range(levels):
        block = items // 2**level
        for first in range(0, items, block):
            split = np.zeros(items)
            split[first : first + block // 2], split[first + block // 2 : first + block] = 1.0, -1.0
            columns.append(weaker ** (level + 1) * split)
    targets = np.stack(columns, axis=1)
    left, strengths, right = np.linalg.svd(targets.T, full_matrices=False)
    modes = int(np.count_nonzero(strengths > 1e-12 * strengths[0]))
    model = DeepLinear((items, modes, targets.shape[1]))
    root = math.sqrt(start)
    theta0 = np.concatenate([(root * right[:modes]).ravel(), (root * left[:, :modes]).ravel()])
    problem = Problem(model, SquaredLoss(), Dataset(np.eye(items), targets), delete=[0])
    return TreeNetwork(problem, theta0, strengths[:modes], left[:, :modes], right[:modes].T)
