"""Utilities V(S) of coalitions of points: a function of one's own, or the quality of a model trained on S."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..._core import Array, ConvergenceError, InputError, Spelled, as_choice, as_count, as_instance, brief, succeeded
from ...flow import checked
from ...problem import AbstractLoss, Dataset, LogisticLoss, Problem, SoftmaxCrossEntropy
from .._evaluate import losses_at, outputs_at
from ._coalition_newton import CoalitionRisk, count_true

TEST_NUMBERS = 8_000_000
"""Outputs at test points that are held at once (64 MB)."""


class Valued(NamedTuple):
    """Utilities of several coalitions.

    Attributes:
        values: V(S), shape (k,).
        gradients: gradients of single points that training took; 0 where none are counted.
    """

    values: Float[np.ndarray, " k"]
    gradients: int


class AbstractUtility(Spelled, abc.ABC):
    """V(S) for S ⊂ {0, …, n−1}; higher is better.

    Example:
        >>> size = ef.CoalitionFunction(lambda coalition: float(len(coalition)), 3)
        >>> isinstance(size, ef.attribution.AbstractUtility), size(np.array([[True, False, True]]))
        (True, array([2.]))
    """

    n: int

    @abc.abstractmethod
    def evaluate(self, members: Bool[np.ndarray, "k n"]) -> Valued:
        """V of each coalition, a row of flags: whether the point belongs to it."""

    def __call__(self, members: Bool[np.ndarray, "k n"]) -> Float[np.ndarray, " k"]:
        """V of each coalition."""
        return self.evaluate(np.asarray(members, bool)).values


class CoalitionFunction(AbstractUtility):
    """A function of one's own.

    Example:
        >>> utility = ef.CoalitionFunction(lambda flags: flags.sum(1) >= 2.0, 3, batched=True)
        >>> ef.data_shapley(utility, 3, method="exact").values.round(4)
        array([0.3333, 0.3333, 0.3333])

    Args:
        function: maps one coalition, the list of its points in increasing order, to a number; or, if `batched`, a
            stack of rows of flags, shape (k, n), to k numbers. A list, so that a function of flags is found out.
        n: number of points.
        batched: which of the two.
    """

    def __init__(self, function: Any, n: int, *, batched: bool = False):
        if not callable(function) or isinstance(function, type):
            raise InputError(f"utility is {brief(function)}; a function of a coalition, or a ModelUtility, is needed.")
        self.function: Callable[..., Any] = function
        self.n: int = as_count(n, "n")
        self.batched: bool = batched

    def evaluate(self, members: Bool[np.ndarray, "k n"]) -> Valued:
        """V of each coalition.

        Raises:
            InputError: a value that is not one finite number.
        """
        if self.batched:
            values = np.asarray(self.function(members), dtype=np.float64)
        else:
            values = np.array([self._one(np.flatnonzero(row).tolist()) for row in members], dtype=np.float64)
        if values.shape != (len(members),):
            raise InputError(f"the utility of {len(members)} coalitions has shape {values.shape}; one number each.")
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            coalition = np.flatnonzero(members[wrong[0]])
            raise InputError(
                f"the utility of the coalition {brief(coalition.tolist())} ({coalition.size} points) is "
                f"{values[wrong[0]]}; every coalition, the empty one too, needs a finite value."
            )
        return Valued(values, 0)

    def _one(self, coalition: list[int]) -> float:
        try:
            value = np.asarray(self.function(coalition))
        except Exception as error:  # it is not our code
            raise InputError(
                f"the utility cannot be computed for the coalition {brief(coalition)}: {error}. It is given the "
                "list of the coalition's points, which may be empty; pass a function of flags as "
                "CoalitionFunction(function, n, batched=True)."
            ) from error
        if value.shape != () or value.dtype.kind not in "fiub":
            raise InputError(f"the utility returned {brief(value)} for a coalition; one number is needed.")
        return float(value)


class ModelUtility(AbstractUtility):
    """V(S): how good the model is at test points when it is trained on S alone.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> ef.loo_values(ef.ModelUtility(line, data), 3).values.round(4)
        array([-0.0181,  0.0652,  0.2041])

    A convex problem is trained to its optimum θ(S) = argmin c Σ_{i∈S} ℓ_i + (λ/2)‖θ‖², all coalitions of a batch at
    once by Newton's method; c and λ are the problem's, whatever the size of S, so removing a point means ε = 0 as
    everywhere in this library. λ > 0 makes every coalition's optimum unique: that of the empty one is θ = 0, and one
    with points of a single class is trained like any other (`one_class="train"`), or is the classifier that always
    answers that class (`one_class="constant"`, accuracy only). Other models follow the flow θ̇ = −∇R_S from a common θ0
    for a time T, by `steps` steps of Euler's method (`training="flow"`); warm-started where θ0 was trained on all
    points.

    Attributes:
        problem: what is trained; its own `delete` plays no part.
        test: points at which the model is judged.
        metric: "loss": minus the mean loss at the test points. "accuracy": the share of them that is classified right,
            where equal outputs share a point: at θ = 0 two classes have ½.
    """

    @checked
    def __init__(
        self,
        problem: Problem,
        test: Dataset,
        *,
        metric: str = "loss",
        one_class: str = "train",
        training: str | None = None,
        theta0: Float[Array, " d"] | Float[np.ndarray, " d"] | None = None,
        T: float | None = None,
        steps: int = 100,
    ):
        """Check and prepare.

        Raises:
            InputError: λ = 0 with Newton's method; a flow without θ0 or T; test points that do not fit the model; an
                accuracy of a loss that knows no classes; training labels of one class.
        """
        self.metric: str = as_choice(metric, "metric", ("loss", "accuracy"))
        self.one_class: str = as_choice(one_class, "one_class", ("train", "constant"))
        as_instance(test, "test", Dataset, "write Dataset(x, y)")
        self.problem: Problem = problem
        self.test: Dataset = test
        self.n: int = problem.data.n
        if test.x.shape[1] != problem.data.x.shape[1]:
            raise InputError(
                f"test has {test.x.shape[1]} features, the training data {problem.data.x.shape[1]}; they must agree."
            )
        self.signs: Float[np.ndarray, " q"] = np.where(test.y > 0.5, 1.0, -1.0)
        self.labels: bool = isinstance(problem.loss, LogisticLoss | SoftmaxCrossEntropy)
        self._check_classes()
        if training is None:
            training = "newton" if problem.convex and theta0 is None else "flow"
        self.training: str = as_choice(training, "training", ("newton", "flow"))
        if self.training == "newton":
            self._newton = self._prepare_newton()
        else:
            from ._coalition_flow import CoalitionFlow  # compiles

            self._flow = CoalitionFlow(problem, theta0, T, as_count(steps, "steps"))

    def evaluate(self, members: Bool[np.ndarray, "k n"]) -> Valued:
        """V of each coalition.

        Raises:
            ConvergenceError: a coalition whose optimum was not reached.
        """
        values, gradients = np.empty(len(members)), 0
        chunk = max(1, TEST_NUMBERS // max(1, self.test.n))
        for start in range(0, len(members), chunk):
            rows = slice(start, start + chunk)
            thetas, count = self.train(members[rows])
            values[rows], gradients = self.score(thetas), gradients + count
        if self.one_class == "constant":
            self._answer_constant(members, values)
        return Valued(values, gradients)

    def train(self, members: Bool[np.ndarray, "k n"]) -> tuple[Float[np.ndarray, "k d"], int]:
        """θ(S) of each coalition, and the gradients of single points it took."""
        if self.training == "flow":
            return self._flow.thetas(members)
        found = self._newton.optima(members)
        failed = np.flatnonzero(~succeeded(found.result))
        if failed.size:
            raise ConvergenceError(
                f"{failed.size} of {len(members)} coalitions were not trained to their optimum; the first has "
                f"{int(members[failed[0]].sum())} points. Try a larger l2.",
                found,
            )
        return found.thetas, found.gradients

    def score(self, thetas: Float[np.ndarray, "k d"]) -> Float[np.ndarray, " k"]:
        """The metric at the test points, of several parameters."""
        if self.metric == "accuracy" and isinstance(self.problem.loss, LogisticLoss):
            # Signed so that right is positive: one product and two counts, whatever the number of coalitions.
            margins = outputs_at(self.problem.model, thetas, self.test.x)
            margins *= self.signs
            right = count_true(margins > 0.0)
            tied = 0.0 if margins.all() else count_true(margins == 0.0)
            return (right + 0.5 * tied) / self.test.n
        return self.each(thetas).mean(axis=1)

    def each(self, thetas: Float[np.ndarray, "k d"]) -> Float[np.ndarray, "k m"]:
        """The same at every test point: right or wrong, or minus the loss."""
        model, test = self.problem.model, self.test
        if self.metric == "accuracy":
            return _right(outputs_at(model, thetas, test.x), test.y)
        return -losses_at(model, self.problem.loss, thetas, test.x, test.y)

    def _check_classes(self) -> None:
        problem, test = self.problem, self.test
        if not self.labels:
            if self.metric == "accuracy" or self.one_class == "constant":
                loss = type(problem.loss).__name__
                raise InputError(f"{loss} knows no classes: use metric='loss', and leave one_class alone.")
            return
        check_labels(problem.loss, problem.data.y)
        strange = np.setdiff1d(test.y, np.unique(problem.data.y))
        if strange.size:
            raise InputError(f"test has the label {strange[0]:g}, which no training point has.")
        if self.one_class == "constant" and self.metric != "accuracy":
            raise InputError("one_class='constant' has an accuracy but no finite loss; use metric='accuracy'.")

    def _prepare_newton(self) -> CoalitionRisk:
        if not self.problem.convex:
            raise InputError("training='newton' is for linear models under a convex loss; use training='flow'.")
        if not np.min(self.problem.penalty) > 0.0:
            raise InputError(
                "a parameter is not penalised: coalitions smaller than d do not determine θ, and those whose classes "
                "are separable, or that have one class, have no optimum. Give the problem l2 > 0 for every parameter."
            )
        return CoalitionRisk(self.problem)

    def _answer_constant(self, members: np.ndarray, values: np.ndarray) -> None:
        """Overwrite the coalitions of one class by the share of test points of that class."""
        y = self.problem.data.y
        size = members.sum(axis=1)
        for label in np.unique(y):
            alone = (size > 0) & (members[:, y == label].sum(axis=1) == size)
            values[alone] = np.mean(self.test.y == label)


def as_utility(utility: object, n: int) -> AbstractUtility:
    """A utility of n points, from one or from a function of one coalition.

    Raises:
        InputError: neither, or another number of points.
    """
    if not isinstance(utility, AbstractUtility):
        function: Any = utility
        return CoalitionFunction(function, n)
    if utility.n != as_count(n, "n"):
        raise InputError(f"n is {n}, but the utility values coalitions of {utility.n} points.")
    return utility


def check_labels(loss: AbstractLoss | None, y: np.ndarray) -> None:
    """Refuse labels of one class: every classifier is then as good as any other."""
    classes = np.unique(y)
    if classes.size < 2:
        raise InputError(
            f"all {len(y)} training labels are {classes[0]:g}: with one class there is nothing to tell apart, and no "
            "point is worth more than another. Use data with at least two classes."
        )


def _right(outputs: Float[np.ndarray, "k m *c"], y: Float[np.ndarray, " m"]) -> Float[np.ndarray, "k m"]:
    """Whether each test point is classified right; outputs that tie for the largest share it."""
    if outputs.ndim == 2:
        signs = np.sign(outputs) * np.where(y > 0.5, 1.0, -1.0)
        return 0.5 + 0.5 * signs
    best = outputs == outputs.max(axis=2, keepdims=True)
    own = np.take_along_axis(best, y.astype(np.int64)[None, :, None], axis=2)[:, :, 0]
    return own / best.sum(axis=2)
