"""Every method of attribution as one column: the predicted change of the mean test loss upon removal of each point."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import Array, ConvergenceError, InputError, Spelled, as_array, succeeded
from ...analysis import Losses, influence, newton_step_all, pbrf, retrain_all
from ...problem import Dataset, Problem
from .._evaluate import losses_at
from ..bayes._bayesian_influence import bayesian_influence
from ..values._data_values import data_banzhaf, data_shapley
from ..values._knn import knn_shapley
from ..values._utility import ModelUtility

NEIGHBOURS = 5

PERMUTATIONS, COALITIONS = 200, 4_000

PROXIMAL = {"damping": 1e-3, "metric": "ggn"}
"""Of the PBRF, unless its options say otherwise: λ_d is a pure number, whatever the units of features and targets."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What all methods are asked about.

    Attributes:
        problem: what is trained.
        theta: θ(1), shape (d,).
        test: the points whose mean loss is φ.
        utility: −φ(θ(S)) of coalitions; None where the problem is not convex and none was given.
        key: of the random methods.
    """

    problem: Problem
    theta: Float[np.ndarray, " d"]
    test: Dataset
    utility: ModelUtility | None
    key: Key[Array, ""]

    def mean_loss(self, thetas: Float[np.ndarray, "k d"]) -> Float[np.ndarray, " k"]:
        """φ of each."""
        problem = self.problem
        return losses_at(problem.model, problem.loss, thetas, self.test.x, self.test.y).mean(axis=1)

    def change_at(self, thetas: Float[np.ndarray, "k d"]) -> Float[np.ndarray, " k"]:
        """φ of each less φ(θ(1))."""
        return self.mean_loss(thetas) - self.mean_loss(self.theta[None])

    @property
    def losses(self) -> Losses:
        """The test losses one by one."""
        return Losses(self.problem.model, self.problem.loss, self.test.x, self.test.y)

    def game(self) -> ModelUtility:
        """The utility.

        Raises:
            InputError: there is none.
        """
        if self.utility is None:
            raise InputError(
                "coalitions of a problem that is not strictly convex are trained by a flow whose start and length are "
                "yours to say: pass utility=ModelUtility(problem, test, theta0=…, T=…), or give a linear model l2 > 0. "
                "fractions=() leaves the removal curves out."
            )
        return self.utility


@dataclass(frozen=True, eq=False, repr=False)
class Scores(Spelled):
    """One column.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.compare_attributions(line, ["newton"], groups=3, fractions=()).scores["newton"].change.round(4)
        array([-0.0181,  0.0652,  0.2041])

    Attributes:
        change: predicted change of φ upon removal of each point: positive where the point helps. Shape (n,).
        error: its standard error, 0 where there is none, shape (n,).
        gradients: gradients of single points it took; None where that is not known, as of numbers of your own.
        seconds: wall-clock time; None where it is not known.
    """

    change: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"]
    gradients: int | None
    seconds: float | None


class MeanLoss(Spelled, eqx.Module):
    """φ(θ) as a JAX function; equal shapes share compiled code.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> losses = ef.Losses(line.model, line.loss, data.x, data.y)
        >>> round(float(ef.attribution.MeanLoss(losses)(np.zeros(1))), 4)  # (1 + 4 + 9)/6
        2.3333
    """

    losses: Losses

    def __call__(self, theta: Float[Array, " d"]) -> Float[Array, ""]:
        """The mean of the losses."""
        return jnp.mean(self.losses(theta))


Answer = tuple[np.ndarray, np.ndarray | float, int]


def _loo(at: Setting, options: Mapping[str, Any]) -> Answer:
    found = retrain_all(at.problem, at.theta, points="all", **options)
    return at.change_at(found.thetas), 0.0, int(found.steps.sum()) * at.problem.data.n


def _influence(at: Setting, options: Mapping[str, Any]) -> Answer:
    found = influence(at.problem, at.theta, points="all", functional=at.losses, **options)
    return np.asarray(found.change).mean(axis=1), 0.0, at.problem.data.n


def _newton(at: Setting, options: Mapping[str, Any]) -> Answer:
    found = newton_step_all(at.problem, at.theta, points="all", **options)
    return at.change_at(at.theta + found.change), 0.0, at.problem.data.n


def _pbrf(at: Setting, options: Mapping[str, Any]) -> Answer:
    found = pbrf(at.problem, at.theta, points="all", **{**PROXIMAL, **options})
    return at.change_at(found.theta), 0.0, int(found.steps.sum()) * at.problem.data.n


def _bif(at: Setting, options: Mapping[str, Any]) -> Answer:
    found = bayesian_influence(at.problem, at.theta, functional=MeanLoss(at.losses), key=at.key, **options)
    return found.removal, found.beta * found.error, found.gradients


def _shapley(at: Setting, options: Mapping[str, Any]) -> Answer:
    given = {"max_permutations": PERMUTATIONS, "throw": "max_permutations" in options, **options}
    found = data_shapley(at.game(), at.problem.data.n, key=at.key, **given)
    return found.values, found.error, found.gradients


def _banzhaf(at: Setting, options: Mapping[str, Any]) -> Answer:
    given = {"max_coalitions": COALITIONS, "throw": "max_coalitions" in options, **options}
    found = data_banzhaf(at.game(), at.problem.data.n, key=at.key, **given)
    return found.values, found.error, found.gradients


def _knn(at: Setting, options: Mapping[str, Any]) -> Answer:
    data = at.problem.data
    x, x_test = (np.asarray(part.x, np.float64) for part in (data, at.test))
    return knn_shapley(x, data.y, x_test, at.test.y, **{"k": NEIGHBOURS, **options}).values, 0.0, 0


def _random(at: Setting, options: Mapping[str, Any]) -> Answer:
    return np.asarray(jax.random.normal(at.key, (at.problem.data.n,))), 0.0, 0


METHODS: dict[str, Callable[[Setting, Mapping[str, Any]], Answer]] = {
    "loo": _loo,
    "influence": _influence,
    "newton": _newton,
    "pbrf": _pbrf,
    "bif": _bif,
    "shapley": _shapley,
    "banzhaf": _banzhaf,
    "knn": _knn,
    "random": _random,
}
"""By name: exact leave-one-out, the influence function, one Newton step, the proximal Bregman response, Bayesian
influence, Shapley and Banzhaf values of −φ, Shapley values of nearest neighbours (in another unit), and chance."""


def exact_changes(at: Setting, sets: Any) -> Scores:
    """φ(θ(0)) − φ(θ(1)) of every deletion set by exact retraining; NaN where a retraining was not certified.

    Raises:
        ConvergenceError: none was.
    """
    start = time.perf_counter()
    found = retrain_all(at.problem, at.theta, points=sets, throw=False)
    certified = succeeded(found.result)
    if not certified.any():
        raise ConvergenceError("no retraining without points was certified: nothing can be compared with them.", found)
    change = np.where(certified, at.change_at(found.thetas), np.nan)
    gradients = int(found.steps.sum()) * at.problem.data.n
    return Scores(change, np.zeros(len(change)), gradients, time.perf_counter() - start)


def scores_of(at: Setting, name: str, given: object, options: Mapping[str, Any]) -> Scores:
    """The column of a method, or of numbers of one's own.

    Raises:
        InputError: an unknown name, or numbers that are not one per point.
        ConvergenceError: the method's, with its name.
    """
    n = at.problem.data.n
    if given is not None:
        # Scores of another program may well be in single precision.
        change = as_array(given.change if isinstance(given, Scores) else given, f"scores[{name!r}]")
        if change.shape != (n,) or change.dtype.kind not in "fiub" or not np.isfinite(change).all():
            raise InputError(
                f"the scores {name!r} have shape {change.shape}; one finite number per point, {n} of them."
            )
        change = change.astype(np.float64)
        return given if isinstance(given, Scores) else Scores(change, np.zeros(n), None, None)
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: choose among {', '.join(METHODS)}, or pass {{name: scores}}.")
    start = time.perf_counter()
    try:
        change, error, gradients = METHODS[name](at, options)
    except ConvergenceError as failure:
        raise ConvergenceError(f"method {name!r}: {failure}", failure.result) from failure
    seconds = time.perf_counter() - start
    return Scores(np.asarray(change), np.broadcast_to(error, (n,)), gradients, seconds)
