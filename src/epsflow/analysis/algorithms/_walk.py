"""Gradient descent by whatever computes it fastest for the model: with a weight for each step, or under a schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import Array, ConvergenceError
from ...problem import LinearModel, Problem
from ...schedules import AbstractSchedule
from ._linear_steps import LinearSteps
from ._steps import StepRule, compiled_walk, descend, no_keys


def descend_plainly(
    problem: Problem,
    schedule: AbstractSchedule,
    theta0: Float[Array, " d"],
    marks: Int[np.ndarray, " k"],
    eta: float,
    first: int = 0,
) -> Float[np.ndarray, "k d"]:
    """θ at the steps `marks` of gradient descent with all points, from step `first` on; finite or not.

    The weight of step k is that in its middle, ε(η(k + ½)).
    """
    if not isinstance(problem.model, LinearModel):
        legs = jnp.asarray(first), jnp.asarray(marks), jnp.asarray(eta)
        return np.asarray(descend(problem.risk, schedule, theta0, *legs, no_keys(), 0)[0])
    weights = np.asarray(schedule(eta * (np.arange(marks[-1]) + 0.5)))
    with np.errstate(over="ignore", invalid="ignore"):
        return LinearSteps(problem, eta, StepRule()).walk(np.asarray(theta0), weights, first, marks)[0]


class Walker:
    """Gradient descent of one problem at one step size and rule, in legs: linear models in NumPy, others compiled.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.analysis.Walker(line, step_size=0.1).walk(np.array([1.5]), np.zeros((2, 1)))
        array([[[1.575]]])

    Legs share their draws: what a step draws depends on the key, the run and the number of the step alone.

    Args:
        problem: what is trained.
        step_size: η.
        rule: what is done in a step beside it.
        key: of what the rule draws; needed if it is random.
        seeds: number of runs.
        sets: one deletion for each start instead of the problem's own, shape (q, m).
    """

    def __init__(
        self,
        problem: Problem,
        step_size: float,
        rule: StepRule | None = None,
        key: Key[Array, ""] | None = None,
        seeds: int = 1,
        sets: Int[np.ndarray, "q m"] | None = None,
    ):
        self.problem: Problem = problem
        self.eta: float = step_size
        self.rule: StepRule = rule or StepRule()
        self.sets: Int[np.ndarray, "q m"] | None = sets
        self.linear: LinearSteps | None = None
        if isinstance(problem.model, LinearModel):
            words = () if key is None else [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
            self.linear = LinearSteps(problem, step_size, self.rule, words, seeds, sets)
        else:
            self.keys: Key[Array, " r"] = no_keys() if key is None else jax.random.split(key, seeds)

    def walk(
        self,
        theta0: Float[np.ndarray, "*r d"],
        weights: Float[np.ndarray, "steps *m"],
        *,
        first: int = 0,
        marks: Int[np.ndarray, " k"] | None = None,
    ) -> Float[np.ndarray, "r k d"]:
        """θ at the steps `marks` (default: the last) from step `first` on; step k has the weight weights[k].

        Raises:
            ConvergenceError: θ does not stay finite.
        """
        ends = np.asarray([len(weights)]) if marks is None else np.asarray(marks)
        start = np.asarray(theta0)
        with np.errstate(over="ignore", invalid="ignore"):
            if self.linear is not None:
                thetas = self.linear.walk(start, weights, first, ends)
            elif self.sets is None:
                thetas = self._compiled(self.problem, start, weights, first, ends)
            else:
                thetas = np.concatenate(
                    [
                        self._compiled(self.problem, own, weights, first, ends, points)
                        for own, points in zip(
                            np.broadcast_to(start, (len(self.sets), start.shape[-1])), self.sets, strict=True
                        )
                    ]
                )
        if not np.isfinite(thetas).all():
            raise ConvergenceError(
                f"gradient descent left the finite numbers with η = {self.eta:g}. Take a smaller step_size (below "
                "2/λ_max(∇²R)), or project to a ball: radius=…",
                thetas,
            )
        return thetas

    def _compiled(
        self, problem: Problem, start: np.ndarray, weights: np.ndarray, first: int, ends: np.ndarray, points: Any = None
    ) -> Float[np.ndarray, "r k d"]:
        import equinox as eqx

        risk = problem.empirical()
        if points is not None:
            risk = eqx.tree_at(lambda r: r.delete, risk, jnp.asarray(points))
        return compiled_walk(risk, start, weights, first, ends, self.eta, self.rule, self.keys)
