"""pyDVL, dattri, captum and kronfluence on the tasks of `bench_influence.py`, in its units, in float64.

    pip install torch pyDVL distributed dattri captum kronfluence

None is a dependency: what is not installed is reported as such. An adapter takes a `Task` and returns a function that
does the whole work, the curvature included, as ours does; its answer has the shape (points, tests) and the units of
∇ℓ_iᵀ C⁻¹ ∇ℓ_t, C the curvature of the *summed* risk.
"""

import contextlib
import importlib.util
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


class Task:
    """A trained torch model with its data: logistic regression (width 0), or one hidden tanh layer.

    Attributes:
        model: the module.
        loss: of a batch, the mean over its points.
        x, y: all points, targets of shape (n, 1).
        tests: the first so many points are the tests.
        ridge: λ + λ_d of the summed risk.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, theta: np.ndarray, width: int, tests: int, ridge: float):
        import torch

        features, nn = x.shape[1], torch.nn
        if width:
            layers = nn.Linear(features, width), nn.Tanh(), nn.Linear(width, 1)
            self.loss: Callable[..., Any] = lambda output, target: 0.5 * nn.functional.mse_loss(output, target)
        else:
            layers = (nn.Linear(features, 1, bias=False),)
            self.loss = nn.functional.binary_cross_entropy_with_logits
        self.model = nn.Sequential(*layers).double()
        # Same order as ours: each layer's weight by rows, then its bias.
        nn.utils.vector_to_parameters(torch.tensor(theta), self.model.parameters())
        self.x, self.y = torch.tensor(x), torch.tensor(y)[:, None]
        self.tests, self.ridge = tests, ridge

    @property
    def n(self) -> int:
        return len(self.x)

    def data(self, count: int | None = None) -> Any:
        """The first `count` points as a dataset."""
        from torch.utils.data import TensorDataset

        return TensorDataset(self.x[:count], self.y[:count])

    def loader(self, count: int | None = None) -> Any:
        """The same, in one batch."""
        from torch.utils.data import DataLoader

        return DataLoader(self.data(count), batch_size=len(self.x[:count]))


def pydvl(task: Task) -> Callable[[], np.ndarray]:
    """The Hessian and a direct solve. Its "Gauss–Newton" is an empirical Fisher matrix, divided by 0 for one batch."""
    from pydvl.influence.torch import DirectInfluence

    def run() -> np.ndarray:
        fitted = DirectInfluence(task.model, task.loss, regularization=task.ridge / task.n).fit(task.loader())
        values = fitted.influences(task.x[: task.tests], task.y[: task.tests], task.x, task.y)
        return values.numpy().T / task.n

    return run


def dattri(task: Task) -> Callable[[], np.ndarray]:
    """The Hessian and an explicit inverse."""
    import torch
    from dattri.algorithm.influence_function import IFAttributorExplicit
    from dattri.task import AttributionTask

    def loss(parameters: Any, batch: Any) -> Any:
        x, y = batch
        return task.loss(torch.func.functional_call(task.model, parameters, x), y)

    def run() -> np.ndarray:
        question = AttributionTask(loss_func=loss, model=task.model, checkpoints=task.model.state_dict())
        attributor = IFAttributorExplicit(question, regularization=task.ridge / task.n)
        attributor.cache(task.loader())
        return attributor.attribute(task.loader(), task.loader(task.tests)).detach().numpy() / task.n

    return run


def captum(task: Task) -> Callable[[], np.ndarray]:
    """The Hessian and all of its eigenvectors (for logistic regression)."""
    import torch
    from captum.influence._core.influence_function import NaiveInfluenceFunction

    dim = sum(parameter.numel() for parameter in task.model.parameters())
    options = {"projection_dim": dim, "hessian_inverse_tol": 0.0, "sample_wise_grads_per_batch": True}
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    file = Path(tempfile.mkdtemp()) / "checkpoint.pt"
    torch.save(task.model.state_dict(), file)

    def run() -> np.ndarray:
        found = NaiveInfluenceFunction(
            task.model, task.loader(), str(file), loss_fn=loss, hessian_reg=task.ridge, **options
        )
        return found.influence((task.x[: task.tests], task.y[: task.tests])).detach().numpy().T

    return run


def kronfluence(task: Task) -> Callable[[], np.ndarray]:
    """EK-FAC with labels sampled from the model; factors and scores go through files, as the library has it."""
    import torch
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task as Question

    class Regression(Question):
        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> Any:
            x, y = batch
            outputs = model(x)
            target = outputs.detach() + torch.randn_like(outputs) if sample else y
            return 0.5 * torch.nn.functional.mse_loss(outputs, target, reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> Any:
            return self.compute_train_loss(batch, model)

    question, wide = Regression(), torch.float64
    types = {"per_sample_gradient_dtype": wide}
    factor = FactorArguments(
        strategy="ekfac",
        activation_covariance_dtype=wide,
        gradient_covariance_dtype=wide,
        lambda_dtype=wide,
        **types,
    )
    score = ScoreArguments(damping_factor=task.ridge / task.n, score_dtype=wide, precondition_dtype=wide, **types)
    model, folder = prepare_model(task.model, question), tempfile.mkdtemp()
    quiet = {"cpu": True, "disable_tqdm": True, "output_dir": folder, "log_level": 50}

    def run() -> np.ndarray:
        torch.manual_seed(0)
        analyzer = Analyzer("influence", model, question, **quiet)
        analyzer.fit_all_factors(
            "factors", task.data(), per_device_batch_size=task.n, factor_args=factor, overwrite_output_dir=True
        )
        analyzer.compute_pairwise_scores(
            "scores",
            "factors",
            task.data(task.tests),
            task.data(),
            per_device_query_batch_size=task.tests,
            per_device_train_batch_size=task.n,
            score_args=score,
            overwrite_output_dir=True,
        )
        return analyzer.load_pairwise_scores("scores")["all_modules"].numpy().T / task.n

    return run


LOGISTIC = {"pyDVL, Hessian": pydvl, "dattri, explicit": dattri, "captum, naive": captum}
NETWORK = {"pyDVL, Hessian (another matrix)": pydvl, "kronfluence, EK-FAC": kronfluence}


def installed(adapter: Callable[..., Any]) -> bool:
    """Whether the adapter's library and torch are there."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", adapter.__name__))


@contextlib.contextmanager
def silence() -> Any:
    """Without the peers' progress bars and warnings."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
