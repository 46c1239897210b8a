"""What is to be small at T: the distance to the target, a quadratic form of it, predictions, or the retained loss.

Every cost is a function of θ(T) alone, is least (zero) at the target, and enters the theory in two places: the costate
begins with its gradient, p(T) = ∇cost, and for linear regression, where it is ½‖Lδ(T)‖² with δ = θ − target, the dual
bound with π = Lᵀμ (see `bounds._dual`). H_{-D} is diagonal in the eigenbasis in which linear control works; LᵀL need
not be.
"""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError, Spelled, as_float64, as_numbers, spelled
from ...flow import EndSlope
from ...problem import AbstractRisk, EmpiricalRisk, Problem, Quadratic


class EndForm(NamedTuple):
    """½‖Lδ‖² in the eigenbasis of H_{-D}.

    Example:
        >>> float(ef.EndForm(np.array([1.0, 2.0])).value(np.array([3.0, 1.0])))
        6.5

    Attributes:
        factor: L, shape (k, d); or its diagonal, shape (d,).
    """

    factor: Float[np.ndarray, "*k d"]

    __repr__ = spelled

    def image(self, delta: Float[np.ndarray, "*b d"]) -> Float[np.ndarray, "*b k"]:
        """Lδ, of one δ or of each row."""
        return self.factor * delta if self.factor.ndim == 1 else delta @ self.factor.T

    def pull(self, mu: Float[np.ndarray, "*b k"]) -> Float[np.ndarray, "*b d"]:
        """Lᵀμ, of one μ or of each row."""
        return self.factor * mu if self.factor.ndim == 1 else mu @ self.factor

    def gradient(self, delta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        """LᵀLδ."""
        return self.pull(self.image(delta))

    def value(self, delta: Float[np.ndarray, " d"]) -> float:
        """½‖Lδ‖²."""
        image = self.image(delta)
        return 0.5 * float(image @ image)

    def values(self, deltas: Float[np.ndarray, "*n d"]) -> Float[np.ndarray, "*n"]:
        """½‖Lδ‖² of each δ."""
        return 0.5 * np.square(self.image(deltas)).sum(axis=-1)

    @property
    def norm(self) -> float:
        """A bound on ‖L‖: the largest entry of a diagonal, else the Frobenius norm."""
        return float(np.abs(self.factor).max() if self.factor.ndim == 1 else np.linalg.norm(self.factor))


class AbstractCost(Spelled, eqx.Module):
    """A cost of θ(T). A pytree; one of your own needs `value` (traceable), and `form` to serve linear regression.

    Example:
        >>> class Twice(ef.AbstractCost):
        ...     def value(self, risk, theta, target):
        ...         return ((theta - target) ** 2).sum()
        ...     def form(self, rates, basis):
        ...         return ef.EndForm(np.full(len(rates), np.sqrt(2.0)))
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.optimal_schedule(line, np.zeros(1), s=0.1, T=1.0, cost=Twice()).scope.value
        'global (certified)'
    """

    @abc.abstractmethod
    def value(self, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]) -> Float[Array, ""]:
        """The cost of ending in θ: zero at the target."""

    @abc.abstractmethod
    def form(self, rates: Float[np.ndarray, " k"], basis: Float[np.ndarray, "d k"]) -> EndForm:
        """For linear regression: ½‖Lδ‖², in the basis in which H_{-D} = diag(rates)."""

    def check(self, problem: Problem, target: Float[Array, " d"] | None) -> None:
        """Refuse a problem that the cost does not fit. `target`: the one that was given, if any.

        Raises:
            InputError: what does not fit.
        """


class Distance(AbstractCost):
    """½‖θ(T) − target‖², the notes' 𝓔, in units of θ².

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.optimal_schedule(problem, np.zeros(10), s=2.0, T=20.0, cost=ef.Distance()).scope.value
        'global (certified)'
    """

    def value(self, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]) -> Float[Array, ""]:
        """½‖θ − target‖²."""
        return 0.5 * ((theta - target) ** 2).sum()

    def form(self, rates: Float[np.ndarray, " k"], basis: Float[np.ndarray, "d k"]) -> EndForm:
        """L = I."""
        return EndForm(np.ones(len(rates)))


class QuadraticForm(AbstractCost):
    """½(θ(T) − target)ᵀW(θ(T) − target), W symmetric and positive semi-definite.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> cost = ef.QuadraticForm(np.eye(10))
        >>> ef.certify(problem, ef.Step(2.0), np.zeros(10), s=2.0, T=20.0, cost=cost).scope.value
        'global (certified)'

    Attributes:
        factor: L with W = LᵀL, shape (k, d).
    """

    factor: Float[np.ndarray, "k d"]

    def __init__(self, matrix: object | None = None, *, factor: object | None = None):
        """From W, shape (d, d), or from a factor L of it, shape (k, d).

        Raises:
            InputError: both or neither; not a finite matrix; W not symmetric, or with a negative eigenvalue; zero.
        """
        if (matrix is None) == (factor is None):
            raise InputError("QuadraticForm needs either the matrix W, or a factor L of W = LᵀL by factor=L; not both.")
        name = "W" if factor is None else "factor"
        given = as_float64(matrix if factor is None else factor, name)
        if given.ndim != 2 or not np.isfinite(given).all():
            raise InputError(f"{name} has shape {given.shape}; a matrix of finite numbers is needed.")
        self.factor = _square_root(given) if factor is None else given
        if not self.factor.any():
            raise InputError(f"{name} is zero: every schedule would cost the same.")

    def value(self, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]) -> Float[Array, ""]:
        """½‖L(θ − target)‖²."""
        return 0.5 * ((self.factor @ (theta - target)) ** 2).sum()

    def form(self, rates: Float[np.ndarray, " k"], basis: Float[np.ndarray, "d k"]) -> EndForm:
        """L in the eigenbasis."""
        return _short(self.factor @ basis)

    def check(self, problem: Problem, target: Float[Array, " d"] | None) -> None:
        """See `AbstractCost`."""
        columns = self.factor.shape[1]
        if columns != problem.dim:
            raise InputError(f"the cost's W is for {columns} parameters; this problem has {problem.dim}.")


class PredictionGap(AbstractCost):
    """½·mean_i ‖f(θ(T); x_i) − f(target; x_i)‖²: how far predictions are from the retrained model's.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> cost = ef.PredictionGap(problem.data.x[:5])
        >>> ef.certify(problem, ef.Step(2.0), np.zeros(10), s=2.0, T=20.0, cost=cost).scope.value
        'local'

    Attributes:
        x: the points, shape (q, p): test points, or the deleted ones.
    """

    x: Float[np.ndarray, "q p"]

    def __init__(self, x: object):
        """From features, shape (q, p).

        Raises:
            InputError: not a finite matrix, or no points.
        """
        given = as_numbers(x, "x")  # of float32 too: features of a network's data
        if given.ndim != 2 or not given.size or not np.isfinite(given).all():
            raise InputError(f"PredictionGap: x has shape {given.shape}; a finite matrix (points, features) is needed.")
        self.x = given

    def value(self, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]) -> Float[Array, ""]:
        """½·mean ‖f(θ; x_i) − f(target; x_i)‖²."""
        if isinstance(risk, Quadratic):
            return 0.5 * ((self.x @ (theta - target)) ** 2).sum() / len(self.x)
        assert isinstance(risk, EmpiricalRisk)  # the only other risk there is; this tells the type checker
        kind = jnp.result_type(
            theta, target, self.x
        )  # of one type for models that mix none: the widest, to round least
        at, goal, x = (jnp.asarray(part, kind) for part in (theta, target, self.x))
        predict = jax.vmap(risk.model, (None, 0))
        return 0.5 * jnp.sum((predict(at, x) - predict(goal, x)) ** 2) / len(self.x)

    def form(self, rates: Float[np.ndarray, " k"], basis: Float[np.ndarray, "d k"]) -> EndForm:
        """L = X/√q in the eigenbasis."""
        return _short(self.x @ basis / np.sqrt(len(self.x)))

    def check(self, problem: Problem, target: Float[Array, " d"] | None) -> None:
        """See `AbstractCost`."""
        features = problem.data.x.shape[1]
        if self.x.shape[1] != features:
            raise InputError(f"PredictionGap: x has {self.x.shape[1]} features; the data of this problem {features}.")


class RetainedLoss(AbstractCost):
    """R_0(θ(T)) − R_0(θ*_{-D}) ≥ 0: what is still lost on the retained points. ½δᵀH_{-D}δ for linear regression.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> cost = ef.RetainedLoss()
        >>> ef.certify(problem, ef.Step(2.0), np.zeros(10), s=2.0, T=20.0, cost=cost).scope.value
        'global (certified)'

    It does not see the directions that the retained points leave undetermined, so θ*_{-D} need not be unique.
    """

    def value(self, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]) -> Float[Array, ""]:
        """R_0(θ) − R_0(target); for linear regression without the cancellation."""
        if isinstance(risk, Quadratic):
            delta = theta - target
            return 0.5 * delta @ (risk.h_retained @ delta)
        return risk.value(theta, 0.0) - risk.value(target, 0.0)

    def form(self, rates: Float[np.ndarray, " k"], basis: Float[np.ndarray, "d k"]) -> EndForm:
        """L = diag(√λ)."""
        return EndForm(np.sqrt(np.maximum(rates, 0.0)))

    def check(self, problem: Problem, target: Float[Array, " d"] | None) -> None:
        """See `AbstractCost`."""
        if target is None:
            return
        slope, size = (float(jnp.linalg.norm(problem.gradient(t, 0.0))) for t in (target, jnp.zeros(problem.dim)))
        # Where zero is a minimum too, the size of the terms is that of the deleted points.
        pulls = float(jnp.linalg.norm(problem.point_gradients(target), axis=1).sum()) if problem.delete.size else 0.0
        if slope > 1e-8 * max(size, pulls):
            raise InputError(
                f"RetainedLoss is measured from its own minimum, but the given target is none (‖∇R_0‖ = {slope:.2g} "
                "there). Leave the target out, or measure the distance to it by QuadraticForm."
            )


def _square_root(matrix: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "k d"]:
    """L with LᵀL = W, without the rows of zero eigenvalues."""
    square = matrix.shape[0] == matrix.shape[1]
    if not square or not np.allclose(matrix, matrix.T, rtol=1e-12, atol=0.0):
        what = f"|W − Wᵀ| is up to {np.abs(matrix - matrix.T).max():.2g}" if square else f"its shape is {matrix.shape}"
        raise InputError(f"W must be symmetric; {what}. ½(W + Wᵀ) has the same values δᵀWδ.")
    values, vectors = np.linalg.eigh(matrix)
    rounding = len(matrix) * np.finfo(np.float64).eps * np.abs(values).max()
    if values[0] < -rounding:
        raise InputError(
            f"W has the eigenvalue {values[0]:.3g}; the cost would have no minimum. It must be positive semi-definite."
        )
    kept = values > rounding
    return np.sqrt(values[kept])[:, None] * vectors[:, kept].T


def _short(factor: Float[np.ndarray, "k d"]) -> EndForm:
    """The same ‖Lδ‖ by at most d rows."""
    return EndForm(np.asarray(np.linalg.qr(factor, mode="r")) if len(factor) > factor.shape[1] else factor)


def cost_and_gradient(
    cost: AbstractCost, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]
) -> EndSlope:
    """The cost of θ, and its gradient there, the costate at T; for linear regression in NumPy, where it is ½‖Lδ‖²."""
    if isinstance(risk, Quadratic):
        at, goal, q = np.asarray(theta), np.asarray(target), np.asarray(risk.retained.vectors)
        form = cost.form(np.asarray(risk.retained.values), q)
        if not type(cost).__module__.startswith("epsflow."):
            _check_form(cost, form, risk, (at, goal), q)
        return EndSlope(float(cost.value(risk, at, goal)), q @ form.gradient((at - goal) @ q))
    value, gradient = _traced(cost, risk, theta, target)
    return EndSlope(float(value), np.asarray(gradient))


def _check_form(
    cost: AbstractCost, form: EndForm, risk: AbstractRisk, ends: tuple[np.ndarray, np.ndarray], q: np.ndarray
) -> None:
    """Refuse a cost of one's own whose form is not its value, at a point that is far from the target."""
    at, goal = ends
    size = max(float(np.abs(at - goal).max()), float(np.abs(goal).max())) or 1.0
    delta = size * np.linspace(1.0, 2.0, len(goal))
    value, claimed = float(cost.value(risk, goal + q @ delta, goal)), float(form.value(delta))
    if not abs(value - claimed) <= 1e-6 * max(abs(value), abs(claimed)):
        raise InputError(
            f"{type(cost).__name__}: its `value` is {value:.6g} where its `form`, ½‖Lδ‖², is {claimed:.6g}; "
            "for linear regression they must be the same function."
        )


@eqx.filter_jit
def _traced(
    cost: AbstractCost, risk: AbstractRisk, theta: Float[Array, " d"], target: Float[Array, " d"]
) -> tuple[Float[Array, ""], Float[Array, " d"]]:
    return jax.value_and_grad(lambda at: cost.value(risk, at, target))(theta)
