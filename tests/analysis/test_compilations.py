"""Linear models compile nothing: linear regression, and generalised linear models under the losses that ship."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from epsflow import (
    LinearDecay,
    Losses,
    descend_to_delete,
    endpoints,
    gradient_descent,
    influence,
    leverage,
    newton_step,
    newton_step_all,
    pbrf,
    reconstruct,
    response_jacobian,
    response_path,
    retrain,
    retrain_all,
    rewind_to_delete,
    self_influence,
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
    "influence": lambda problem: influence(problem, order=2),
    "influence on losses": lambda problem: influence(
        problem, points="all", functional=Losses(problem.model, problem.loss, problem.data.x[:2], problem.data.y[:2])
    ),
    "self_influence": lambda problem: self_influence(problem, curvature="ggn", damping=0.1),
    "pbrf": lambda problem: pbrf(problem, np.zeros(problem.dim), damping=0.1, points=[1, 4]),
    "endpoints": lambda problem: endpoints(problem, damping=0.1, steps=20, K=5),
    "response_path": response_path,
    "response_jacobian": response_jacobian,
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("name", problems())
def test_linear_models_compile_nothing(name, question, compilations):
    QUESTIONS[question](problems()[name])
    assert not compilations


def test_gradient_descent_of_linear_regression_compiles_nothing_forward_or_back(compilations):
    problem, start = problems()["linear"], np.zeros(P)
    end = gradient_descent(problem, LinearDecay(0.1, 0.5), start, steps=np.array([2, 20]), step_size=0.01).end
    reconstruct(problem, end, steps=5, step_size=0.01)
    descend_to_delete(problem, end, steps=[1, 30])
    rewind_to_delete(problem, start, steps=20, K=[2, 5], step_size=0.01, checkpoints="reconstructed")
    assert not compilations


def test_leverage_compiles_nothing(compilations):
    leverage(problems()["linear"])
    assert not compilations
