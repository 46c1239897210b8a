"""Functionals φ(θ) whose change is asked for: losses and predictions of given points, or any function of θ."""

import abc
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

from .._core import Array, InputError, Spelled, jaxpr_of
from ..problem import AbstractLoss, AbstractModel, GeneralisedLinear, LinearModel


class AbstractFunctional(Spelled, eqx.Module):
    """φ: θ ↦ q values, which knows its Jacobian better than one reverse pass per value over all of its points."""

    model: eqx.AbstractVar[AbstractModel]

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """How many points it is of."""

    @abc.abstractmethod
    def __call__(self, theta: Float[Array, " d"]) -> Float[Array, " q"]:
        """φ(θ)."""

    @abc.abstractmethod
    def jacobian(self, theta: Float[Array, " d"]) -> Float[Array, "q d"]:
        """∂φ/∂θ."""

    @abc.abstractmethod
    def part(self, start: int, stop: int) -> "AbstractFunctional":
        """The functional of some of its points alone."""

    @abc.abstractmethod
    def linear_jacobian(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, "q d"]:
        """∂φ/∂θ of a linear model, in NumPy."""


Functional = AbstractFunctional | Callable[[Array], Array]
"""An `AbstractFunctional`, or a JAX function of θ (shape (d,)) with a scalar or a vector as its value."""


def _as_numbers(value: Array) -> Array:
    return value if isinstance(value, Tracer) else np.asarray(value, dtype=np.float64)


class Losses(AbstractFunctional):
    """φ_i(θ) = ℓ(f(θ; x_i), y_i), unscaled, for q given points, test points for instance.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> at_points = ef.Losses(problem.model, problem.loss, problem.data.x[:2], problem.data.y[:2])
        >>> at_points(np.zeros(10)).shape
        (2,)

    Attributes:
        model, loss: f and ℓ.
        x: features, shape (q, p).
        y: targets, shape (q, ...).
    """

    model: AbstractModel
    loss: AbstractLoss
    x: Float[Array, "q p"] = eqx.field(converter=_as_numbers)
    y: Float[Array, "q *t"] = eqx.field(converter=_as_numbers)

    def __check_init__(self) -> None:
        if self.x.ndim != 2 or self.y.ndim < 1 or len(self.x) != len(self.y):
            raise InputError(
                f"Losses: x of shape {self.x.shape} and y of shape {self.y.shape} do not list the same points."
            )

    @property
    def size(self) -> int:
        """How many points it is of."""
        return len(self.x)

    def __call__(self, theta: Float[Array, " d"]) -> Float[Array, " q"]:
        """φ(θ)."""
        return jax.vmap(self._one, (None, 0, 0))(theta, *self._points(theta))

    def jacobian(self, theta: Float[Array, " d"]) -> Float[Array, "q d"]:
        """∇ℓ_i(θ), one reverse pass per point."""
        return jax.vmap(jax.grad(self._one), (None, 0, 0))(theta, *self._points(theta))

    def part(self, start: int, stop: int) -> "Losses":
        """Those of some of the points."""
        return replace(self, x=self.x[start:stop], y=self.y[start:stop])

    def _points(self, theta: Array) -> tuple[Array, Array]:
        # In the type of θ: a network in single precision is not to be widened by its test points.
        return jnp.asarray(self.x, theta.dtype), jnp.asarray(self.y, theta.dtype)

    def linear_jacobian(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, "q d"]:
        """x_i times the slope of the loss."""
        model: Any = self.model
        rows = GeneralisedLinear(
            loss=self.loss,
            x=np.asarray(self.x),
            y=np.asarray(self.y),
            delete=np.zeros(0, np.int64),
            l2=0.0,
            scale=1.0,
            outputs=model.outputs,
        )
        return rows.outer(rows.at(theta).points.slopes)

    def _one(self, theta: Array, x: Array, y: Array) -> Array:
        return self.loss(self.model(theta, x), y)


class Predictions(AbstractFunctional):
    """φ(θ) = f(θ; x_i) for given points; several outputs per point follow each other.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.Predictions(problem.model, problem.data.x[:2])(np.zeros(10)).shape
        (2,)

    Attributes:
        model: f.
        x: features, shape (points, p).
    """

    model: AbstractModel
    x: Float[Array, "points p"] = eqx.field(converter=_as_numbers)

    def __check_init__(self) -> None:
        if self.x.ndim != 2:
            raise InputError(f"Predictions: x has shape {self.x.shape}; a matrix (points, features) is needed.")

    @property
    def size(self) -> int:
        """How many points it is of."""
        return len(self.x)

    def __call__(self, theta: Float[Array, " d"]) -> Float[Array, " q"]:
        """φ(θ)."""
        return jax.vmap(self.model, (None, 0))(theta, jnp.asarray(self.x, theta.dtype)).ravel()

    def jacobian(self, theta: Float[Array, " d"]) -> Float[Array, "q d"]:
        """∂f(θ; x_i)/∂θ, one reverse pass per output."""
        x = jnp.asarray(self.x, theta.dtype)
        return jax.vmap(jax.jacrev(self.model), (None, 0))(theta, x).reshape(-1, theta.shape[0])

    def part(self, start: int, stop: int) -> "Predictions":
        """Those of some of the points."""
        return replace(self, x=self.x[start:stop])

    def linear_jacobian(self, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, "q d"]:
        """x_i, once for every output."""
        model: Any = self.model
        return np.kron(np.asarray(self.x), np.eye(model.outputs or 1))


def functional_jacobian(functional: Functional, theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, "*q d"]:
    """∂φ/∂θ, shape (d,) for a scalar functional, (q, d) for a vector.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]))
        >>> ef.analysis.functional_jacobian(ef.Predictions(line.model, line.data.x), np.zeros(1))
        array([[1.],
               [1.],
               [2.]])

    In NumPy for losses and predictions of a linear model. Otherwise compiled once per functional: a function is
    recognised by its identity, the classes of this module by their shapes.

    Raises:
        InputError: a value that is neither a scalar nor a vector of floats, or a function that cannot be traced.
    """
    if isinstance(functional, AbstractFunctional) and isinstance(functional.model, LinearModel):
        # By the class: an equinox module wraps every method that is taken from an instance.
        return type(functional).linear_jacobian(functional, theta)
    return np.asarray(_jacobian(functional, jnp.asarray(theta)))


def functional_rows(
    functional: Functional, theta: Float[Array, " d"], count: int, most: int
) -> Iterator[tuple[int, Float[np.ndarray, "rows d"]]]:
    """∂φ/∂θ of `count` values, at most `most` rows at a time, each with the number of its first row.

    One value after the other of a function of one's own; those of a class of this module by their points.
    """
    if isinstance(functional, AbstractFunctional):
        points = functional.size
        each = count // points
        step = max(1, most // each)
        for start in range(0, points, step):
            part = functional.part(start, min(start + step, points))
            yield each * start, np.asarray(_jacobian(part, theta))
    else:
        for start in range(0, count, most):
            basis = np.eye(min(most, count - start), count, start, dtype=theta.dtype)
            yield start, np.asarray(_rows(functional, theta, basis))


def functional_slopes(
    functional: Functional, theta: Float[Array, " d"], vectors: Float[np.ndarray, "p d"]
) -> Float[np.ndarray, "p q"]:
    """∂φ/∂θ u for each row u, without the Jacobian."""
    slopes = np.asarray(_slopes(functional, theta, vectors))
    return slopes.reshape(len(vectors), -1)


@eqx.filter_jit
def _rows(functional: Functional, theta: Array, basis: Array) -> Float[Array, "rows d"]:
    value, pull = jax.vjp(functional, theta)
    return jax.lax.map(lambda row: pull(row.reshape(value.shape))[0], basis)


@eqx.filter_jit
def _slopes(functional: Functional, theta: Array, vectors: Array) -> Array:
    return jax.lax.map(lambda vector: jax.jvp(functional, (theta,), (vector,))[1], vectors)


def functional_shape(functional: Callable[..., Any], theta: Float[Array, " d"]) -> jax.ShapeDtypeStruct:
    """What φ(θ) will be, without computing it.

    Example:
        >>> ef.analysis.functional_shape(lambda theta: theta @ theta, np.zeros(2)).shape
        ()

    Raises:
        InputError: neither a number nor a vector, or whatever a function that cannot be traced raises, in one line.
    """
    try:
        value = jax.eval_shape(functional, theta)
    except jax.errors.JAXTypeError as error:
        raise InputError(
            f"the functional leaves JAX ({str(error).splitlines()[0]}). Write it with jax.numpy, not numpy, and "
            "without float(…) or `if` on values."
        ) from error
    except Exception as error:  # it is not our code
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"the functional cannot be computed at θ, shape {theta.shape}: {line}") from error
    if not isinstance(value, jax.ShapeDtypeStruct):
        raise _no_value(theta, type(value).__name__)
    if len(value.shape) > 1:
        raise _no_value(theta, f"shape {value.shape}, dtype {value.dtype}")
    return value


def value_shape(functional: Functional, theta: Float[Array, " d"]) -> tuple[int, ...]:
    """The shape of φ(θ), traced once for every functional.

    Raises:
        InputError: as `functional_shape`.
    """
    try:
        (value,) = jaxpr_of(functional, jax.ShapeDtypeStruct(theta.shape, theta.dtype)).out_avals
    except Exception:  # which says what is wrong with it
        return functional_shape(functional, theta).shape
    return value.shape


def _no_value(theta: Float[Array, " d"], what: str) -> InputError:
    return InputError(
        f"the functional must map θ, shape {theta.shape}, to a float scalar or a vector of floats; it returned {what}."
    )


@eqx.filter_jit
def _jacobian(functional: Functional, theta: Float[Array, " d"]) -> Float[Array, "*q d"]:
    if isinstance(functional, AbstractFunctional):
        return functional.jacobian(theta)
    value = functional_shape(functional, theta)
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise _no_value(theta, f"shape {value.shape}, dtype {value.dtype}")
    return jax.jacrev(functional)(theta)


def functional_curvatures(
    functional: Functional, theta: Float[np.ndarray, " d"], vectors: Float[np.ndarray, "p d"]
) -> Float[np.ndarray, "p *q"]:
    """vᵀ∇²φ(θ)v for each row v, shape (p, *q).

    Example:
        >>> ef.analysis.functional_curvatures(lambda theta: theta @ theta, np.zeros(2), np.eye(2))
        array([2., 2.])
    """
    return np.asarray(_curvatures(functional, jnp.asarray(theta), jnp.asarray(vectors)))


@eqx.filter_jit
def _curvatures(functional: Functional, theta: Float[Array, " d"], vectors: Float[Array, "p d"]) -> Array:
    def one(vector: Array) -> Array:
        return jax.jvp(lambda t: jax.jvp(functional, (t,), (vector,))[1], (theta,), (vector,))[1]

    return jax.vmap(one)(vectors)
