"""Schedules for training with an optimiser, chosen for the mean cost of a few seeds that no row of a study has."""

import json
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import Field

from ..._core import InputError, install_command
from ...control import PredictionGap, best_in_family, optimal_schedule, step_weights
from ...problem import Problem
from ...schedules import LinearDecay, Step
from .._problems import problem_of, question, training_key
from .._rows import Row
from .._specification import Axis, Count, Size, Specification, Start, Time

CHOSEN = 3
"""Which of a row's streams of random numbers makes the seeds on which schedules are chosen."""

STEP, DECAY, OPTIMUM, CONSTANT, ASCENT = "best step", "best decay", "optimum", "best constant", "ascent"

Weights = Float[np.ndarray, "K 1"]


class NetworksSpecification(Specification):
    """A study of schedules for training with an optimiser, in which s and T count steps.

    Attributes:
        theta0: "random", and nothing else: each row is a training from a start of its own.
        s, T: the step of the checkpoint to which unlearning goes back, and that at which training ends.
        optimiser, learning_rate: of optax: SGD, SGD with momentum 0.9, or Adam.
        batch: points per step; all, where there are fewer.
        dtype: of the training.
        cost: what schedules are chosen by: the distance to the parameters that the same seed has when retrained, or
            the mean squared difference of the model's outputs there, on all training points.
        seeds: trainings for whose mean cost schedules are chosen; no row is one of them.
        intervals: on which the optimum is constant.
        ascent: how far ε may go below 0 in "best constant" and in "ascent".
        models: retrained models, with other batches, that each row is compared with.
    """

    task: str = "networks"
    theta0: Axis[Start] = ("random",)
    s: Axis[Time] = (800.0,)
    T: Axis[Time] = (1000.0,)
    optimiser: Literal["sgd", "momentum", "adam"] = "momentum"
    learning_rate: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 0.05
    batch: Count = 64
    dtype: Literal["float32", "float64"] = "float32"
    cost: Literal["distance", "predictions"] = "distance"
    seeds: Count = 6
    intervals: Count = 10
    ascent: Size = 1.0
    models: Annotated[int, Field(ge=2)] = 10


class Chosen(NamedTuple):
    """A schedule after s.

    Attributes:
        weights: ε of each of the K steps.
        cost: its mean over the seeds on which it was chosen.
        seconds: that choosing it took.
        claim: how the search ended: status, and scope of an optimum.
    """

    weights: Weights
    cost: float
    seconds: float
    claim: str


def chosen_schedules(specification: NetworksSpecification, row: Row) -> dict[str, Chosen]:
    """The best step, the best linear decay and the best schedule; the best constant and schedule that may ascend.

    They are the same for all draws of a problem, and found once for the draws that come one after another.
    """
    inputs = json.dumps(row.inputs | {"draw": 0})
    return _chosen(specification.model_dump_json(), row.source, row.deletion, inputs)


@lru_cache(maxsize=4)
def _chosen(text: str, source: int, deletion: int, inputs: str) -> dict[str, Chosen]:
    specification = NetworksSpecification.model_validate_json(text)
    row = Row(0, source, 0, deletion, json.loads(inputs), "")
    problem, _ = problem_of(specification, row, question(specification, row))
    s, T = float(row.inputs["s"]), float(row.inputs["T"])
    asked: dict[str, Any] = {
        "s": s,
        "T": T,
        "cost": PredictionGap(problem.data.x) if specification.cost == "predictions" else None,
        "optimiser": optimiser_of(specification.optimiser, specification.learning_rate),
        "batch": batch_of(specification, problem),
        "key": [training_key(specification, row, CHOSEN, k) for k in range(specification.seeds)],
        "dtype": specification.dtype,
    }
    chosen: dict[str, Chosen] = {}

    def choose(name: str, search: Callable[..., Any], *what: Any, **more: Any) -> Any:
        begin = time.perf_counter()
        found = search(problem, *what, problem.model.init, **asked, **more)
        weights = step_weights(found.schedule, s, T)
        claim = ", ".join(getattr(found, part).value for part in ("status", "scope") if hasattr(found, part))
        chosen[name] = Chosen(weights, float(found.cost), time.perf_counter() - begin, claim)
        return found.schedule

    bounds = specification.bounds
    step = choose(STEP, best_in_family, Step, bounds=bounds)
    decay = choose(DECAY, best_in_family, LinearDecay, bounds=bounds)
    # Ascent can make trainings so rough that L-BFGS-B does not settle: the best of what it tried is judged, too.
    mesh = {"method": "adjoint", "intervals": specification.intervals, "throw": False}
    best = choose(OPTIMUM, optimal_schedule, bounds=bounds, starts=(step, decay), **mesh)
    wider = (min(bounds[0], -specification.ascent), bounds[1])
    constant = choose(CONSTANT, optimal_schedule, bounds=wider, **{**mesh, "intervals": 1})
    choose(ASCENT, optimal_schedule, bounds=wider, starts=(best, constant), **mesh)
    return chosen


@lru_cache(maxsize=4)
def optimiser_of(name: str, learning_rate: float) -> Any:
    """An optimiser of optax; the same object for the same arguments, so that nothing is compiled twice.

    Raises:
        InputError: optax is not installed.
    """
    try:
        import optax
    except ImportError as error:
        raise InputError(f"training with an optimiser needs optax: {install_command('train')}.") from error
    if name == "adam":
        return optax.adam(learning_rate)
    return optax.sgd(learning_rate, momentum=0.9 if name == "momentum" else None)


def batch_of(specification: NetworksSpecification, problem: Problem) -> int:
    """Points per step."""
    return min(specification.batch, problem.data.n)
