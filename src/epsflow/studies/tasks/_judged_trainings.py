"""One training, unlearned in every way of the task "networks", and held against retrained models."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Key
from scipy.special import softmax

from ..._core import Array, ConvergenceError
from ...analysis import outputs_of
from ...flow import Course, Reached, course_of, diverged
from ...problem import Dataset, LogisticLoss, Problem, SoftmaxCrossEntropy
from ...unlearning import score_models
from .._problems import read_test, training_key
from .._rows import Row
from .._specification import DataProblems
from ._chosen_schedules import Chosen, NetworksSpecification, Weights, batch_of, optimiser_of

BATCHES, ENSEMBLE = 4, 5
"""Which of a row's streams of random numbers shuffle its own batches, and those of the retrained models."""

RETRAINED, TRAINED, SCRATCH, D2D, R2D = "retrained", "not unlearned", "from scratch", "D2D", "R2D"


class Judgement(NamedTuple):
    """What became of one training, in numbers.

    Attributes:
        distance: of θ to the mean of the retrained models.
        own: of θ to the retrained model of the same seed.
        gap, gap_forget: how far predictions are from the mean ones of the retrained models, on unseen and on deleted
            points: half the sum of |p_k − p̄_k| over the classes, or |f − f̄|; a mean over points.
        forget, retain, test: accuracy (R² where nothing is classified); NaN where it is not defined.
        membership: AUC of the attack by the loss, deleted points against unseen ones with the same labels.
        gradients: of single points, after the request.
        seconds: after the request.
    """

    distance: float
    own: float
    gap: float
    gap_forget: float
    forget: float
    retain: float
    test: float
    membership: float
    gradients: int
    seconds: float


def judged(
    specification: NetworksSpecification,
    row: Row,
    problem: Problem,
    theta0: Float[Array, " d"],
    chosen: dict[str, Chosen],
) -> dict[str, Judgement]:
    """Every way of unlearning, for the row's own start and batches.

    Raises:
        ConvergenceError: a training left the finite numbers.
    """
    s, T = (round(float(row.inputs[name])) for name in ("s", "T"))
    rest, size = T - s, batch_of(specification, problem)
    start = np.asarray(theta0)
    first = _course(specification, problem, start, training_key(specification, row, BATCHES))
    _end(first, np.ones((1, 1)))  # what is compiled here is no part of unlearning
    checkpoint = _end(first, np.ones((s, 1))).course
    trained = _end(checkpoint, np.ones((rest, 1)))
    begin = time.perf_counter()
    own = _end(first, np.zeros((T, 1)))
    seconds = time.perf_counter() - begin
    ensemble = [
        _end(_course(specification, problem, start, training_key(specification, row, ENSEMBLE, k)), np.zeros((T, 1)))
        for k in range(specification.models)
    ]
    source = specification.problems[row.source]
    test = read_test(source) if isinstance(source, DataProblems) else None
    judge = _judge(problem, test, [each.theta for each in ensemble], own.theta)
    # Descend-to-delete ends later, and so do the retrained models that it is compared with.
    late = [_end(each.course, np.zeros((rest, 1))).theta for each in ensemble]
    judge_late = _judge(problem, test, late, _end(own.course, np.zeros((rest, 1))).theta)
    none = np.zeros((rest, 1))
    return {
        RETRAINED: judge.of(own.theta, T * size, seconds),
        TRAINED: judge.of(trained.theta, 0, 0.0),
        SCRATCH: judge.after(first, none, size),
        D2D: judge_late.after(trained.course, none, size),
        R2D: judge.after(checkpoint, none, size),
        **{name: judge.after(checkpoint, each.weights, size) for name, each in chosen.items()},
    }


def _course(
    specification: NetworksSpecification, problem: Problem, start: Float[np.ndarray, " d"], key: Key[Array, ""]
) -> Course:
    return course_of(
        problem,
        start,
        optimiser=optimiser_of(specification.optimiser, specification.learning_rate),
        batch=batch_of(specification, problem),
        key=key,
        dtype=specification.dtype,
        steps=1,  # nothing is differentiated
    )


def _end(course: Course, weights: Weights) -> Reached:
    reached = course.end(weights)
    if reached.bad is not None:
        raise ConvergenceError(diverged(reached.bad, course.recipe.optimiser))
    return reached


@dataclass(frozen=True, eq=False)
class _Judge:
    """What retrained models say of θ.

    Attributes:
        problem: the data, and which points are deleted.
        test: unseen points, if there are any.
        others: those among them whose labels deleted points have; None where there are none such.
        unseen: features of the test points; of the retained ones, where there are none.
        mean, own: of the retrained models, and the one with the same seed, shape (d,).
        at_unseen, at_deleted: mean predictions of the retrained models, shapes (q, k) and (m, k).
    """

    problem: Problem
    test: Dataset | None
    others: Dataset | None
    unseen: Float[np.ndarray, "q p"]
    mean: Float[np.ndarray, " d"]
    own: Float[np.ndarray, " d"]
    at_unseen: Float[np.ndarray, "q k"]
    at_deleted: Float[np.ndarray, "m k"]

    def after(self, course: Course, weights: Weights, size: int) -> Judgement:
        """Of where a training ends."""
        begin = time.perf_counter()
        theta = _end(course, weights).theta
        return self.of(theta, len(weights) * size, time.perf_counter() - begin)

    def of(self, theta: Float[np.ndarray, " d"], gradients: int, seconds: float) -> Judgement:
        """Of one θ."""
        scores = score_models(self.problem, theta[None], test=self.test, others=self.others)
        quality = {
            name.partition(" ")[0]: float(values[0])
            for name, values in scores.metrics.items()
            if not name.endswith("loss")
        }
        deleted = np.asarray(self.problem.data.x)[self.problem.delete]
        return Judgement(
            distance=float(np.linalg.norm(theta - self.mean)),
            own=float(np.linalg.norm(theta - self.own)),
            gap=self._gap(theta, self.unseen, self.at_unseen),
            gap_forget=self._gap(theta, deleted, self.at_deleted),
            **{name: quality.get(name, np.nan) for name in ("forget", "retain", "test")},
            membership=float(scores.membership[0]),
            gradients=gradients,
            seconds=seconds,
        )

    def _gap(
        self, theta: Float[np.ndarray, " d"], x: Float[np.ndarray, "q p"], means: Float[np.ndarray, "q k"]
    ) -> float:
        differences = np.abs(predictions(self.problem, theta, x) - means).sum(axis=1)
        return float(differences.mean()) * (0.5 if _classifies(self.problem) else 1.0)


def _judge(
    problem: Problem,
    test: Dataset | None,
    thetas: Sequence[Float[np.ndarray, " d"]],
    own: Float[np.ndarray, " d"],
) -> _Judge:
    """From the retrained models."""
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    deleted = problem.delete
    unseen = np.delete(x, deleted, axis=0) if test is None else np.asarray(test.x)
    others = None
    if test is not None and _classifies(problem):
        same = np.isin(np.asarray(test.y), y[deleted])
        others = Dataset(test.x[same], test.y[same], test.name) if same.any() else None
    means = [np.mean([predictions(problem, theta, part) for theta in thetas], axis=0) for part in (unseen, x[deleted])]
    return _Judge(problem, test, others, unseen, np.mean(thetas, axis=0), own, means[0], means[1])


def _classifies(problem: Problem) -> bool:
    return isinstance(problem.loss, SoftmaxCrossEntropy | LogisticLoss)


def predictions(
    problem: Problem, theta: Float[np.ndarray, " d"], x: Float[np.ndarray, "q p"]
) -> Float[np.ndarray, "q k"]:
    """Probabilities of the classes; the model's outputs where nothing is classified."""
    outputs: Any = outputs_of(problem.model, theta, x).reshape(len(x), -1)
    if not _classifies(problem):
        return outputs
    if isinstance(problem.loss, LogisticLoss):
        outputs = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    return softmax(outputs, axis=1)
