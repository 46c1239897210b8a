"""Linear models compile nothing: linear regression, and generalised linear models under the losses that ship."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from epsflow import (
    leverage,
    newton_step,
    newton_step_all,
    response_jacobian,
    response_path,
    retrain,
    retrain_all,
    train,
)
from epsflow.problem import (
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    linear_regression,
)

# A shape that no other test uses: nothing can have been compiled for it before.
N, P, K = 31, 7, 3


@pytest.fixture
def compilations() -> Iterator[list[float]]:
    """The seconds of what XLA compiles while the test runs."""
    seconds: list[float] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seconds
    jax.monitoring.unregister_event_duration_listener(listen)


def problems() -> dict[str, Problem]:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((N, P)), rng.standard_normal(N)
    labels, classes = (y > 0.0).astype(float), rng.integers(0, K, N).astype(float)
    return {
        "linear": linear_regression(Dataset(x, y), [2, 5], l2=0.3),
        "logistic": Problem(LinearModel(P), LogisticLoss(), Dataset(x, labels), [2, 5], l2=0.3),
        "pseudo-Huber": Problem(LinearModel(P), PseudoHuberLoss(0.7), Dataset(x, y), [2, 5], l2=0.3),
        "softmax": Problem(LinearModel(P, K), SoftmaxCrossEntropy(), Dataset(x, classes), [2, 5], l2=0.3),
    }


QUESTIONS = {
    "train": train,
    "retrain": retrain,
    "retrain_all": retrain_all,
    "newton_step": newton_step,
    "newton_step_all": lambda problem: newton_step_all(problem, points=[[0, 1], [2, 3]]),
    "response_path": response_path,
    "response_jacobian": response_jacobian,
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", problems())
def test_linear_models_compile_nothing(name, question, compilations):
    QUESTIONS[question](problems()[name])
    assert not compilations


def test_leverage_compiles_nothing(compilations):
    leverage(problems()["linear"])
    assert not compilations
