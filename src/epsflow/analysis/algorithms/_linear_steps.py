"""Steps of gradient descent of linear models in NumPy, for several starts, or for several deletions, side by side.

Linear regression with all points is not stepped: k steps at one weight are a power of one affine map,

    θ_k = V[(1 − ηΛ)^k Vᵀθ_0 + φ_k(Λ) Vᵀb_ε],   φ_k(λ) = (1 − (1 − ηλ)^k)/λ = η Σ_{j<k} (1 − ηλ)^j,   H_ε = VΛVᵀ,

exact to rounding for any k, a negative one included.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ..._core import Eigen, eigen
from ...problem import LinearModel, Problem, Quadratic, slopes, statistics
from ._steps import StepRule, changes

Entropy = Sequence[int]
"""The words of a seed."""


class LinearSteps:
    """Gradient descent of one linear model at one step size; decompositions are kept from leg to leg.

    Args:
        problem: a linear model.
        step_size: η.
        rule: what is done beside the steps.
        entropy: seed of what the rule draws.
        seeds: runs that draw for themselves.
        sets: one deletion for each start instead of the problem's own, shape (q, m).
    """

    def __init__(
        self,
        problem: Problem,
        step_size: float,
        rule: StepRule,
        entropy: Entropy = (),
        seeds: int = 1,
        sets: Int[np.ndarray, "q m"] | None = None,
    ):
        assert isinstance(problem.model, LinearModel)  # the caller's business
        self.problem: Problem = problem
        self.eta: float = step_size
        self.rule: StepRule = rule
        self.entropy: tuple[int, ...] = tuple(entropy)
        self.seeds: int = seeds
        self.sets: Int[np.ndarray, "q m"] | None = sets
        self.runs: int = seeds if sets is None else len(sets)
        self.outputs: int | None = problem.model.outputs
        self._maps: dict[bytes, tuple[Eigen, np.ndarray]] = {}
        self._systems: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
        self._weights: dict[bytes, np.ndarray] = {}
        self._order = self._orders() if rule.cyclic else None

    def walk(
        self,
        theta0: Float[np.ndarray, "*r d"],
        weights: Float[np.ndarray, "steps *m"],
        first: int,
        marks: Int[np.ndarray, " k"],
    ) -> Float[np.ndarray, "r k d"]:
        """θ at the ascending steps `marks`, from step `first` on; step k has the weight weights[k]."""
        theta, found, powers = np.broadcast_to(theta0, (self.runs, theta0.shape[-1])), [], self._exact
        edges = changes(weights)
        for mark in marks:
            for stop in map(int, [*edges[(edges > first) & (edges < mark)], mark]):
                # A decomposition takes about as long as so many steps.
                if powers and stop - first > 16 + 4 * self.problem.dim:
                    theta, first = self.power(theta, weights[first, ...], stop - first), stop
                lasting = stop - first > 1
                while first < stop:
                    theta, first = self._step(theta, weights[first, ...], first, lasting), first + 1
            found.append(theta)
        return np.stack(found, axis=1)

    def power(self, theta: Float[np.ndarray, "r d"], eps: np.ndarray, count: int) -> Float[np.ndarray, "r d"]:
        """`count` steps at one weight; backwards where it is negative."""
        axes, b = self._map(eps)
        vectors = np.asarray(axes.vectors)
        grown, filled = geometric(self.eta * np.asarray(axes.values), count)
        z, pull = (theta[:, None, :] @ vectors)[:, 0], (b[:, None, :] @ vectors)[:, 0]
        return (vectors @ (grown * z + self.eta * filled * pull)[..., None])[..., 0]

    @property
    def _exact(self) -> bool:
        return isinstance(self.problem.risk, Quadratic) and self.rule.plain

    def _step(
        self, theta: Float[np.ndarray, "r d"], eps: np.ndarray, k: int, lasting: bool
    ) -> Float[np.ndarray, "r d"]:
        """Step k; `lasting`: others have its weight too, so that H_ε is worth forming."""
        risk = self.problem.risk
        if isinstance(risk, Quadratic) and not lasting and self.sets is None and not self.rule.batch:
            h, b, x, y = (
                np.asarray(part) for part in (risk.h_retained, risk.b_retained, risk.x_deleted, risk.y_deleted)
            )
            gradient = theta @ h - b + (risk.scale * eps * (theta @ x.T - y)) @ x
        elif isinstance(risk, Quadratic) and not self.rule.batch:
            h, b = self._system(eps)
            gradient = theta @ h[0] - b if len(h) == 1 else (h @ theta[..., None])[..., 0] - b
        else:
            gradient = self._summed(theta, eps, self._batch(k))
        if self.rule.plain:
            return theta - self.eta * gradient
        draw = self._rng(k, 1).standard_normal(theta.shape) if self.rule.noise else np.zeros(1)
        return np.asarray(self.rule.moved(theta, gradient, self.problem.l2, self.eta, draw))

    def _summed(
        self, theta: Float[np.ndarray, "r d"], eps: np.ndarray, rows: Int[np.ndarray, "r b"] | None
    ) -> Float[np.ndarray, "r d"]:
        """Σ w_i∇ℓ_i + λθ over all points, or (n/b) times that over the points of a batch for each row."""
        problem, n = self.problem, self.problem.data.n
        coefficients = theta if self.outputs is None else theta.reshape(len(theta), -1, self.outputs)
        weights = self._point_weights(eps)
        x, y = problem.data.x, problem.data.y
        if rows is None:
            outputs = coefficients @ x.T if self.outputs is None else x @ coefficients
            slope = _slopes(problem, outputs, np.broadcast_to(y, (len(theta), *y.shape)))
            pulled = (weights * slope) @ x if self.outputs is None else x.T @ (weights[..., None] * slope)
        else:
            x, weights = x[rows], np.take_along_axis(weights, rows, axis=1) * (n / rows.shape[1])
            outputs = (x @ coefficients.reshape(len(theta), x.shape[2], -1)).reshape(*rows.shape, *self._tail)
            slope = _slopes(problem, outputs, y[rows])
            weighted = weights.reshape(*rows.shape, *[1] * len(self._tail)) * slope
            pulled = np.swapaxes(x, 1, 2) @ weighted.reshape(*rows.shape, -1)
        return pulled.reshape(len(theta), -1) + problem.l2 * theta

    def _point_weights(self, eps: np.ndarray) -> Float[np.ndarray, "r n"]:
        """c, or cε for deleted points; kept from step to step."""
        key = eps.tobytes()
        if key not in self._weights:
            weights = np.full((self.runs, self.problem.data.n), self.problem.scale)
            if self.sets is None:
                weights[:, self.problem.delete] *= eps
            else:
                weights[np.arange(self.runs)[:, None], self.sets] *= eps
            self._weights = {key: weights}  # of one weight alone: a schedule may have thousands
        return self._weights[key]

    @property
    def _tail(self) -> tuple[int, ...]:
        return () if self.outputs is None else (self.outputs,)

    def _batch(self, k: int) -> Int[np.ndarray, "r b"] | None:
        b, n = self.rule.batch, self.problem.data.n
        if not b:
            return None
        if self._order is not None:
            start = (k % (n // b)) * b
            return self._order[:, start : start + b]
        return np.argpartition(self._rng(k, 0).random((self.runs, n)), b - 1, axis=1)[:, :b]

    def _orders(self) -> Int[np.ndarray, "r n"]:
        rng = np.random.default_rng([*self.entropy, 0])
        return np.stack([rng.permutation(self.problem.data.n) for _ in range(self.runs)])

    def _rng(self, k: int, what: int) -> np.random.Generator:
        """Of one step, so that runs which differ in their weights or their start draw the same."""
        return np.random.default_rng([*self.entropy, k + 1, what])

    def _system(self, eps: np.ndarray) -> tuple[Float[np.ndarray, "q d d"], Float[np.ndarray, "q d"]]:
        """H_ε and b_ε, of the problem's deletion or of each set."""
        key = eps.tobytes()
        if key not in self._systems:
            self._systems[key] = self._gathered(eps)
        return self._systems[key]

    def _gathered(self, eps: np.ndarray) -> tuple[Float[np.ndarray, "q d d"], Float[np.ndarray, "q d"]]:
        problem = self.problem
        if self.sets is None:
            h, b = statistics(problem, np.broadcast_to(eps, problem.delete.shape))
            return h[None], b[None]
        h, b = statistics(problem, np.ones(problem.delete.shape))
        x, y = problem.data.x[self.sets], problem.data.y[self.sets]
        missing = problem.scale * np.broadcast_to(1.0 - eps, self.sets.shape[1:])[:, None] * x
        return h - np.swapaxes(missing, 1, 2) @ x, b - np.einsum("qmd,qm->qd", missing, y)

    def _map(self, eps: np.ndarray) -> tuple[Eigen, Float[np.ndarray, "q d"]]:
        key = eps.tobytes()
        if key not in self._maps:
            h, b = self._system(eps)
            risk = self.problem.risk
            if self.sets is None and isinstance(risk, Quadratic):
                axes, _ = risk.diagonal(np.broadcast_to(eps, self.problem.delete.shape))
                axes = Eigen(np.asarray(axes.values)[None], np.asarray(axes.vectors)[None])
            else:
                axes = eigen(h)
            self._maps[key] = axes, b
        return self._maps[key]


def geometric(rates: Float[np.ndarray, "*q d"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(1 − x)^k, and Σ_{j<k} (1 − x)^j to the last digit also where x is small.

    Example:
        >>> ef.analysis.geometric(np.array([0.5]), 2)
        (array([0.25]), array([1.5]))
    """
    base = 1.0 - rates
    grown = np.sign(base) ** (count % 2) * np.abs(base) ** count
    small = np.abs(rates) < 0.5
    safe = np.where(small & (rates != 0.0), rates, 1e-3)
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = np.where(small, -np.expm1(count * np.log1p(-safe)) / safe, (1.0 - grown) / rates)
    return grown, np.where(rates == 0.0, float(count), filled)


def _slopes(problem: Problem, outputs: Float[np.ndarray, "r n *k"], targets: np.ndarray) -> Float[np.ndarray, "r n *k"]:
    """∇_fℓ of several sets of outputs."""
    flat = outputs.reshape(-1, *outputs.shape[2:]), targets.reshape(-1, *targets.shape[2:])
    return slopes(problem.loss, *flat).reshape(outputs.shape)
