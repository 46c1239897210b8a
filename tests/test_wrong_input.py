"""Any argument of a public function, replaced by something wrong, is refused by one clear InputError."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import epsflow as ef
from epsflow import InputError
from epsflow.problem import AbstractLoss


@pytest.fixture(autouse=True)
def untyped():
    """As a user runs it: the suite checks every annotation, and would be the first to refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


RNG = np.random.default_rng(0)
DATA = ef.Dataset(RNG.standard_normal((12, 2)), RNG.standard_normal(12))
LINEAR = ef.linear_regression(DATA, [3])
LABELS = ef.Dataset(DATA.x, (DATA.y > 0.0).astype(float))
LOGISTIC = ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), LABELS, [3], l2=1.0)
ZERO = np.zeros(2)
REWIND = ef.RewindToDelete(steps=10, unlearning_steps=5)
LAW = ef.DistanceLaw(np.array([0.0, 1.0]), np.array([0.5, 0.5]))


class Undefined:
    """An object that is nothing the library knows."""

    def __repr__(self):
        return "Undefined()"


def a_function(t):
    return t


STRANGE = [Undefined(), {"a": 1}, {1, 2}, a_function, ef.Problem, "strange", b"bytes", 1j, range(0), object()]
"""What is right nowhere."""
MASKED = np.ma.masked_array([1.0, 2.0], [0, 1])
NOT_NUMBERS = [
    *STRANGE,
    np.nan,
    np.inf,
    "1",
    ["a"],
    [1, [2, 3]],
    np.array([np.nan]),
    MASKED,
]
SCATTERED = [x for x in NOT_NUMBERS if not isinstance(x, range)]
OBJECT = [*STRANGE, None, 0, 1.5, True, [], DATA.x]
FLAG = [*STRANGE, "yes", 1, 0, None, 1.0, [True]]
COUNT = [*STRANGE, "3", 2.5, True, -1, np.nan, None, [1]]
POSITIVE = [*NOT_NUMBERS, 0.0, -1.0, [1.0, 2.0]]
TOLERANCE = [*POSITIVE, 1.0, 2.0, None]
VECTOR = [*NOT_NUMBERS, [1.0], np.zeros((2, 2)), np.zeros(3), np.zeros(2, np.float32), True]
WORD = [*STRANGE, "", 3, None, ["auto"], np.zeros(2)]
POINTS = [*STRANGE, 99, -1, 1.5, True, [], [0, 99], [[0], []], "everything", [np.nan]]
DELETE = [-13 if x == -1 else x for x in POINTS]
TIMES = [*NOT_NUMBERS, [], [2.0, 1.0], [-1.0], [[1.0]], None]
KEY = [*STRANGE, 0, "0", 1.5, np.zeros(2)]
WEIGHT = [*NOT_NUMBERS, [1.0, 2.0, 3.0], None]


class Door(NamedTuple):
    """A public function with right arguments, and wrong values of each."""

    function: Callable
    right: dict
    wrong: dict


def window(**more):
    return {"s": [*NOT_NUMBERS, -1.0, 9.0, None], "T": [*NOT_NUMBERS, 0.0, None], **more}


QUESTION = window(
    bounds=[*STRANGE, 1, (0.0,), (0.0, 1.0, 2.0), (1.0, 0.0), None, (0.0, np.inf)],
    target=[x for x in VECTOR if x is not None],
    cost=[x for x in OBJECT if x is not None],
    price=[*NOT_NUMBERS, -1.0, None],
)
BUDGETED = QUESTION | {"budget": [*NOT_NUMBERS, -1.0]}
PROBLEM = {"problem": OBJECT}
SOLVE = {"damping": [*NOT_NUMBERS, -1.0, None], "solver": WORD, "curvature": WORD, "throw": FLAG, "points": POINTS}
DESCENT = {
    "step_size": [x for x in POSITIVE if x is not None],
    "batch_size": [*[x for x in COUNT if x is not None], 0, 99],
    "key": KEY,
    "seeds": [*COUNT, 0],
    "throw": FLAG,
}
FIT = {"theta0": VECTOR, "tol": TOLERANCE, "max_steps": COUNT, "throw": FLAG}

DOORS = {
    "certify_unlearning": Door(
        ef.certify_unlearning,
        {"problem": LINEAR, "algorithm": REWIND, "epsilon_dp": 1.0, "delta_dp": 1e-5},
        {
            **PROBLEM,
            "algorithm": [*OBJECT, ef.RewindToDelete],
            "theta0": VECTOR,
            "epsilon_dp": [*POSITIVE, None],
            "delta_dp": [*POSITIVE, 1.0, None],
            "scope": WORD,
            "key": KEY,
            "seeds": [*COUNT, 0],
        },
    ),
    "risk_constants": Door(ef.risk_constants, {"problem": LINEAR, "radius": 1.0}, {**PROBLEM, "radius": POSITIVE}),
    "minimax_schedule": Door(
        ef.minimax_schedule,
        {"problem": LINEAR, "steps": 6, "unlearning_steps": 2, "points": [0, 3]},
        {
            **PROBLEM,
            "theta0": VECTOR,
            "steps": [*COUNT, 0],
            "unlearning_steps": [*COUNT, 0, 7],
            "step_size": POSITIVE,
            "bounds": QUESTION["bounds"],
            "points": POINTS,
        },
    ),
    "mixture_delta": Door(
        ef.mixture_delta,
        {"law": LAW, "epsilon": 1.0, "sigma": 1.0},
        {"law": OBJECT},
    ),
    "certify_stream": Door(
        ef.certify_stream,
        {"problem": LINEAR, "algorithm": REWIND, "requests": [[1], [2]], "epsilon_dp": 1.0, "delta_dp": 1e-5},
        {
            **PROBLEM,
            "algorithm": [*OBJECT, ef.RewindToDelete],
            "theta0": VECTOR,
            "requests": [[99], [1.5], "all", None, 3, [[1], [1]], []],
            "epsilon_dp": [*POSITIVE, None],
            "delta_dp": [*POSITIVE, 1.0, None],
            "scope": WORD,
        },
    ),
    "audit": Door(
        ef.audit,
        {"problem": LINEAR, "algorithm": REWIND, "models": 4},
        {
            **PROBLEM,
            "algorithm": [*OBJECT, ef.RewindToDelete],
            "theta0": VECTOR,
            "certificate": [x for x in OBJECT if x is not None],
            "sigma": [*NOT_NUMBERS, -1.0],
            "test": [x for x in OBJECT if x is not None],
            "key": KEY,
            "models": [*COUNT, 3],
            "confidence": [*POSITIVE, 1.0, None],
            "throw": FLAG,
        },
    ),
    "RewindToDelete": Door(
        ef.RewindToDelete,
        {"steps": 10, "unlearning_steps": 5},
        {
            "steps": COUNT,
            "unlearning_steps": [*COUNT, 11],
            "step_size": POSITIVE,
            "radius": POSITIVE,
            "batch_size": [x for x in [*COUNT, 0] if x is not None],
            "checkpoint": FLAG,
        },
    ),
    "RewindToDelete.run": Door(
        REWIND.run,
        {"problem": LINEAR},
        {**PROBLEM, "theta0": VECTOR, "sigma": [*NOT_NUMBERS, -1.0, None], "key": KEY, "seeds": [*COUNT, 0]},
    ),
    "ScheduledUnlearning": Door(
        ef.ScheduledUnlearning,
        {"schedule": ef.Step(1.0)},
        {
            "schedule": [*STRANGE, None, 1.5, [], ["a"], [[[1.0]]], [np.nan]],
            "steps": [x for x in [*COUNT, 0] if x is not None],
            "clock": WORD,
        },
    ),
    "unlearning_curve": Door(
        ef.unlearning_curve,
        {"problem": LINEAR, "algorithm": REWIND, "amounts": [1, 2], "epsilon_dp": 1.0, "delta_dp": 1e-5},
        {**PROBLEM, "algorithm": [*OBJECT, ef.RewindToDelete], "amounts": [*STRANGE, None, [], [1.5], ["a"], [99]]},
    ),
    "guarantees": Door(
        ef.guarantees,
        {"problem": LINEAR, "algorithms": [REWIND], "epsilon_dp": 1.0, "delta_dp": 1e-5, "draws": 2},
        {
            **PROBLEM,
            "algorithms": [*STRANGE, None, 3, [], [3]],
            "theta0": VECTOR,
            "epsilon_dp": [*POSITIVE, None],
            "delta_dp": [*POSITIVE, 1.0, None],
            "scope": WORD,
            "test": [x for x in OBJECT if x is not None],
            "key": KEY,
            "draws": [*COUNT, 0],
        },
    ),
    "Dataset": Door(
        ef.Dataset,
        {"x": DATA.x, "y": DATA.y, "name": "data", "features": ("a", "b"), "target": "y"},
        {
            "x": [*NOT_NUMBERS, [1.0], np.zeros((3, 2)), np.zeros((0, 2)), None],
            "y": [*NOT_NUMBERS, [1.0], None],
            "name": [Undefined(), 3, None],
            "features": [Undefined(), "ab", ("a",), ("a", "a"), (1, 2), None, 3],
            "target": [Undefined(), 3, None],
        },
    ),
    "Dataset.subsample": Door(DATA.subsample, {"n": 4, "seed": 0}, {"n": [*COUNT, 0, 99], "seed": COUNT}),
    "Dataset.standardise": Door(DATA.standardise, {"target": True}, {"target": FLAG}),
    "load_dataset": Door(
        ef.load_dataset,
        {"name": "diabetes", "standardise": True},
        {"name": [*STRANGE, ["diabetes"], None, 3], "standardise": FLAG},
    ),
    "read_csv": Door(ef.read_csv, {"path": "nowhere.csv"}, {"path": [*STRANGE, None, 3], "target": [*STRANGE, 1.5]}),
    "Problem": Door(
        ef.Problem,
        {"model": ef.LinearModel(2), "loss": ef.SquaredLoss(), "data": DATA, "delete": [3]},
        {
            "model": [*OBJECT, ef.LinearModel, ef.LinearModel(3)],
            "loss": [*OBJECT, ef.SquaredLoss, ef.LogisticLoss()],
            "data": OBJECT,
            "delete": [x for x in DELETE if x != [[0], []]],
            "l2": [*NOT_NUMBERS, -1.0, None, True],
            "reduction": WORD,
            "chunk_rows": [*COUNT, 0],
        },
    ),
    "linear_regression": Door(
        ef.linear_regression,
        {"data": DATA, "delete": [3]},
        {"data": OBJECT, "delete": DELETE, "l2": [*NOT_NUMBERS, -1.0, None], "reduction": WORD},
    ),
    "LinearModel": Door(
        ef.LinearModel, {"features": 2}, {"features": [*COUNT, 0], "outputs": [x for x in [*COUNT, 0] if x is not None]}
    ),
    "MLP": Door(
        ef.MLP, {"widths": (2, 3, 1)}, {"widths": [*STRANGE, 3, (3,), (3, 2.5, 1), (0, 1)], "activation": WORD}
    ),
    "PseudoHuberLoss": Door(ef.PseudoHuberLoss, {"delta": 1.0}, {"delta": [*POSITIVE, None]}),
    "gradient_flow": Door(
        ef.gradient_flow,
        {"problem": LINEAR, "schedule": ef.Step(1.0), "theta0": ZERO, "ts": [1.0, 2.0]},
        {
            "problem": OBJECT,
            "schedule": [*OBJECT, ef.Step],
            "theta0": [*VECTOR, None],
            "ts": TIMES,
            "t0": [*NOT_NUMBERS, None, 9.0],
            "method": WORD,
            "rtol": TOLERANCE,
            "atol": POSITIVE,  # in units of θ
            "dense": FLAG,
            "estimate_error": FLAG,
            "max_steps": COUNT,
            "throw": FLAG,
        },
    ),
    "equilibrium": Door(
        ef.equilibrium, {"problem": LINEAR}, {**PROBLEM, **FIT, "eps": WEIGHT, "max_time": [*POSITIVE, None]}
    ),
    "homotopy": Door(
        ef.homotopy,
        {"problem": LINEAR, "eps": [0.0, 1.0], "ts": [1.0], "theta0": ZERO},
        {**PROBLEM, "eps": [*NOT_NUMBERS, [], None], "ts": TIMES, "theta0": [*VECTOR, None], "throw": FLAG},
    ),
    "rewind_surface": Door(
        ef.rewind_surface,
        {"problem": LINEAR, "s": [0.0, 1.0], "T": [2.0], "theta0": ZERO},
        {
            **PROBLEM,
            "s": [*NOT_NUMBERS, [], [-1.0], [3.0], None],
            "T": [*NOT_NUMBERS, [], [0.5], [2.0, 1.0], None],
            "theta0": [*VECTOR, None],
            "throw": FLAG,
        },
    ),
    "train": Door(ef.train, {"problem": LOGISTIC}, {**PROBLEM, **FIT, "method": WORD}),
    "retrain": Door(ef.retrain, {"problem": LOGISTIC}, {**PROBLEM, **FIT, "method": WORD, "start": WORD}),
    "retrain_all": Door(
        ef.retrain_all,
        {"problem": LOGISTIC},
        {**PROBLEM, "theta": VECTOR, "points": POINTS, "tol": TOLERANCE, "throw": FLAG},
    ),
    "newton_step": Door(
        ef.newton_step, {"problem": LOGISTIC}, {**PROBLEM, "theta": VECTOR, "damping": SOLVE["damping"]}
    ),
    "newton_step_all": Door(
        ef.newton_step_all,
        {"problem": LOGISTIC},
        {**PROBLEM, "theta": VECTOR, "damping": SOLVE["damping"], "points": POINTS},
    ),
    "influence": Door(
        ef.influence,
        {"problem": LOGISTIC},
        {
            **PROBLEM,
            **SOLVE,
            "theta": VECTOR,
            "at": WORD,
            "order": [*COUNT, 0, 3],
            "functional": [Undefined(), {"a": 1}, "strange", 1.5, ef.Problem],
        },
    ),
    "self_influence": Door(ef.self_influence, {"problem": LOGISTIC}, {**PROBLEM, **SOLVE, "theta": VECTOR}),
    "leverage": Door(ef.leverage, {"problem": LINEAR}, {"problem": [*OBJECT, LOGISTIC]}),
    "response_path": Door(
        ef.response_path,
        {"problem": LOGISTIC},
        {**PROBLEM, "theta": VECTOR, "eps": [*NOT_NUMBERS, [1.0], [0.0, 1.0, 0.5]], "tol": TOLERANCE, "throw": FLAG},
    ),
    "response_jacobian": Door(ef.response_jacobian, {"problem": LOGISTIC}, {**PROBLEM, "theta": VECTOR, "eps": WEIGHT}),
    "pbrf": Door(
        ef.pbrf,
        {"problem": LOGISTIC, "theta": ZERO, "damping": 0.1},
        {
            **PROBLEM,
            "theta": [*VECTOR, None],
            "damping": [*NOT_NUMBERS, -1.0, None, []],
            "delete_bregman": FLAG,
            "points": POINTS,
            "tol": TOLERANCE,
            "max_steps": COUNT,
            "matrix": FLAG,
            "throw": FLAG,
        },
    ),
    "gradient_descent": Door(
        ef.gradient_descent,
        {"problem": LINEAR, "schedule": 1.0, "theta0": ZERO, "steps": 2},
        {
            **PROBLEM,
            **DESCENT,
            "schedule": [*NOT_NUMBERS, ef.Step, None],
            "theta0": [*VECTOR, None],
            "steps": [*COUNT, []],
        }
        | {"steps": [*[x for x in COUNT if x != [1]], [2, 1]]},
    ),
    "reconstruct": Door(
        ef.reconstruct,
        {"problem": LINEAR, "theta": ZERO, "steps": 2, "step_size": 0.01},
        {
            **PROBLEM,
            "theta": [*VECTOR, None],
            "steps": [*[x for x in COUNT if x != [1]], 0],
            "step_size": [*POSITIVE, None, 1e3],
            "eps": WEIGHT,
            "tol": TOLERANCE,
        },
    ),
    "descend_to_delete": Door(
        ef.descend_to_delete,
        {"problem": LINEAR, "theta": ZERO, "steps": 2},
        {**PROBLEM, **DESCENT, "theta": [*VECTOR, None], "target": VECTOR, "steps": [x for x in COUNT if x != [1]]},
    ),
    "rewind_to_delete": Door(
        ef.rewind_to_delete,
        {"problem": LINEAR, "theta0": ZERO, "steps": 3, "K": 1},
        {
            **PROBLEM,
            **DESCENT,
            "theta0": [*VECTOR, None],
            "steps": [x for x in COUNT if x != [1]],
            "K": [*NOT_NUMBERS, -1, 9, None],
            "target": VECTOR,
            "checkpoints": WORD,
        },
    ),
    "endpoints": Door(
        ef.endpoints,
        {"problem": LOGISTIC, "theta": ZERO, "steps": 3, "K": 1},
        {
            **PROBLEM,
            "theta": VECTOR,
            "theta0": VECTOR,
            "damping": [*NOT_NUMBERS, -1.0, None],
            "steps": COUNT,
            "K": [*COUNT, 9],
            "step_size": [x for x in POSITIVE if x is not None],
            "functional": [Undefined(), "strange", 1.5],
            "tol": TOLERANCE,
            "max_steps": COUNT,
            "throw": FLAG,
        },
    ),
    "decompose": Door(
        ef.decompose,
        {"problem": LOGISTIC, "theta": ZERO, "damping": 0.1, "solver": "cholesky"},
        {
            **PROBLEM,
            "theta": [*VECTOR, None],
            "damping": [*NOT_NUMBERS, -1.0, None],
            "solver": WORD,
            "theta0": [x for x in VECTOR if not isinstance(x, np.ndarray)],
            "points": POINTS,
            "functional": [Undefined(), "strange", 1.5],
            "tol": TOLERANCE,
            "max_steps": COUNT,
            "throw": FLAG,
        },
    ),
    "optimal_schedule": Door(
        ef.optimal_schedule,
        {"problem": LINEAR, "theta0": ZERO, "s": 1.0, "T": 2.0},
        {
            **PROBLEM,
            **BUDGETED,
            "theta0": [*VECTOR, None],
            "intervals": [*COUNT, 0],
            "per_point": FLAG,
            "method": WORD,
            "starts": [*[x for x in STRANGE if not isinstance(x, range)], 3, ["x"], None],
            "time_limit": [*POSITIVE],
            "throw": FLAG,
        },
    ),
    "best_in_family": Door(
        ef.best_in_family,
        {"problem": LINEAR, "family": ef.Step, "theta0": ZERO, "s": 1.0, "T": 2.0},
        {**PROBLEM, **BUDGETED, "family": [*OBJECT, "Step"], "theta0": [*VECTOR, None], "grid": [1.5, "9", True, 0]},
    ),
    "certify": Door(
        ef.certify,
        {"problem": LINEAR, "schedule": ef.Step(1.5), "theta0": ZERO, "s": 1.0, "T": 2.0},
        {**PROBLEM, **BUDGETED, "schedule": [*OBJECT, ef.Step], "theta0": [*VECTOR, None]},
    ),
    "extremal": Door(
        ef.extremal,
        {"problem": LINEAR, "schedule": ef.Step(1.5), "theta0": ZERO, "s": 1.0, "T": 2.0},
        {**PROBLEM, **QUESTION, "schedule": [*OBJECT, ef.Step], "theta0": [*VECTOR, None]},
    ),
    "exact_unlearning_time": Door(
        ef.exact_unlearning_time,
        {"problem": LINEAR, "theta0": ZERO, "s": 1.0},
        {**PROBLEM, "theta0": [*VECTOR, None], "s": [*NOT_NUMBERS, -1.0, None], "bounds": QUESTION["bounds"]},
    ),
    "exact_starts": Door(
        ef.exact_starts,
        {"problem": LINEAR, "longest": 1.0},
        {**PROBLEM, "longest": [*POSITIVE, None], "bounds": QUESTION["bounds"], "grid": [*COUNT, 0, 1]},
    ),
    "Step": Door(ef.Step, {"tau": 1.0}, {"tau": [*NOT_NUMBERS, [1.0, 2.0], None]}),
    "Step at": Door(ef.Step(1.0), {"t": 0.5}, {"t": [*STRANGE[:-2], np.nan, [0.0, np.nan], None, "1"]}),
    "PiecewiseConstant": Door(
        ef.PiecewiseConstant,
        {"knots": [0.0, 1.0], "values": [0.5]},
        {"knots": [*NOT_NUMBERS, [1.0, 0.0], [0.0], None], "values": [*NOT_NUMBERS, [], None]},
    ),
    "BangBang": Door(
        ef.BangBang,
        {"s": 0.0, "switch_ts": [1.0], "T": 2.0},
        {
            "s": [*NOT_NUMBERS, 3.0],
            "switch_ts": [*SCATTERED, [3.0]],
            "T": [*NOT_NUMBERS, 0.5],
            "first": WORD,
        },
    ),
    "check_admissible": Door(
        ef.check_admissible, {"schedule": ef.Step(1.5), "s": 1.0, "T": 2.0}, window(schedule=[*OBJECT, ef.Step])
    ),
}

FUNCTIONAL = [x for x in OBJECT if x is not a_function] + [None, lambda t: t > 0.0, lambda t: t[:, None]]
ALONG = {
    **PROBLEM,
    "schedule": [*OBJECT, ef.Step],
    "theta0": [*VECTOR, None],
    "ts": TIMES,
    "functional": FUNCTIONAL,
}
TRAINED = {
    "problem": LINEAR, "schedule": ef.Step(1.0), "theta0": ZERO, "ts": [1.0, 2.0], "functional": lambda t: t[0]
}  # fmt: skip
DOORS |= {
    "influence_density": Door(
        ef.influence_density,
        TRAINED,
        {
            **ALONG,
            "t0": [*NOT_NUMBERS, None, 9.0],
            "optimiser": [x for x in OBJECT if x is not None],
            "step_size": [*POSITIVE, None],
            "rtol": TOLERANCE,
            "atol": POSITIVE,  # in units of θ
            "estimate_error": FLAG,
            "max_steps": COUNT,
            "throw": FLAG,
        },
    ),
    "influence_density, steps": Door(
        ef.influence_density,
        {**TRAINED, "optimiser": optax.sgd(0.1), "key": jax.random.key(0)},
        {
            **ALONG,
            "step_size": [*POSITIVE, None, 0.7],
            "batch": [*STRANGE[:-2], 0, -1, 99, 2.5, "3", [1, 2], [[99]], [[0.5]], [[0]]],
            "key": KEY,
            "t0": [*NOT_NUMBERS, None, 9.0],
        },
    ),
    "windowed_removal": Door(
        ef.windowed_removal,
        {**TRAINED, "points": [1]},
        {
            **ALONG,
            "window": [*STRANGE, 1.0, (1.0,), (2.0, 1.0), (0.0, 9.0), (np.nan, 2.0)],
            "points": [*POINTS, [[1, 2]]],
        },
    ),
    "checkpoint_influence": Door(ef.checkpoint_influence, TRAINED, {**ALONG, "t0": [*NOT_NUMBERS, None, 9.0]}),
    "tracin": Door(ef.attribution.tracin, TRAINED, {**ALONG, "ts": [*TIMES, [1.0]]}),
    "source_influence": Door(ef.attribution.source_influence, TRAINED, {**ALONG, "ts": [*TIMES, [1.0]]}),
    "converged_influence": Door(ef.attribution.converged_influence, TRAINED, ALONG),
    "plateau_flow": Door(
        ef.plateau_flow,
        {"target": [0.0, 1.0], "time_scale": 0.1, "neurons": 4, "grid": 3},
        {
            "target": [*SCATTERED, [], [0.0, 0.0], None],
            "time_scale": [*POSITIVE, None],
            "activation": [*SCATTERED, [1.0], [1.0, 0.0]],
            "T": [*POSITIVE],
            "neurons": [*COUNT, 0],
            "grid": [*COUNT, 0, 1],
            "rtol": TOLERANCE,
        },
    ),
}

TRIALS = [(door, name, k) for door in DOORS for name, values in DOORS[door].wrong.items() for k in range(len(values))]


@pytest.mark.parametrize("door", DOORS)
def test_right_arguments_are_taken(door):
    function, right, _ = DOORS[door]
    if door != "read_csv":  # of a file that is not there
        function(**right)


@given(trial=st.sampled_from(TRIALS))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_wrong_argument_is_refused(trial):
    refuse(*trial)


@pytest.mark.slow
def test_every_wrong_argument_is_refused():
    for trial in TRIALS:
        refuse(*trial)


def refuse(door, name, k):
    function, right, wrong = DOORS[door]
    with pytest.raises(InputError) as refusal:
        function(**right | {name: wrong[name][k]})
    message = str(refusal.value)
    assert len(message) > 10, (door, name, wrong[name][k])


# ---- models, losses and data of one's own ----------------------------------------------------------------------


class VectorLoss(AbstractLoss):
    convex = True

    def __call__(self, output, target):
        return jnp.stack([output - target, output])


class NumpyLoss(VectorLoss):
    def __call__(self, output, target):
        return np.maximum(output - target, 0.0) ** 2


class BranchingLoss(VectorLoss):
    def __call__(self, output, target):
        return output if output > target else target


class BrokenLoss(VectorLoss):
    def __call__(self, output, target):
        raise KeyError("weights")


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (VectorLoss(), r"VectorLoss returns shape \(2,\) for one point; a loss is one number"),
        (NumpyLoss(), r"NumpyLoss cannot be computed for one point: it leaves JAX .* Write it with jax\.numpy"),
        (BranchingLoss(), "Write it with jax.numpy, not numpy, and without `if`"),
        (BrokenLoss(), "BrokenLoss cannot be computed for one point: 'weights'"),
    ],
)
def test_a_loss_of_ones_own_is_tried_when_it_is_given(loss, words):
    with pytest.raises(InputError, match=words):
        ef.Problem(ef.LinearModel(2), loss, DATA)


@pytest.mark.parametrize(
    ("apply", "words"),
    [
        (lambda params, x: {"output": params @ x}, "the model returns a dict for a point"),
        (lambda params, x: jnp.outer(params, x), r"the model returns shape \(2, 2\) for a point"),
        (lambda params, x: np.tanh(np.asarray(params) @ x), "it leaves JAX"),
        (lambda params, x: params["w"] @ x, "the model cannot read a point with 2 features"),
    ],
)
def test_a_model_of_ones_own_is_tried_when_it_is_given(apply, words):
    with pytest.raises(InputError, match=words):
        ef.Problem(ef.FunctionModel(apply, jnp.zeros(2)), ef.SquaredLoss(), DATA)


def test_data_do_not_change_under_a_problem():
    x, y = np.ones((3, 1)), np.ones(3)
    data = ef.Dataset(x, y)
    x[0], y[0] = 7.0, 7.0
    assert (data.x[0, 0], data.y[0]) == (1.0, 1.0)


@pytest.mark.parametrize("unit", [1e-300, 1.0, 1e308 / 3.0])
def test_huge_and_tiny_columns_are_standardised(unit):
    x = np.array([[1.0], [-1.0], [2.0], [-2.0], [3.0]])
    plain, scaled = ef.Dataset(x, x[:, 0]).standardise(), ef.Dataset(unit * x, unit * x[:, 0]).standardise()
    np.testing.assert_allclose(scaled.x, plain.x, rtol=1e-15)
    np.testing.assert_allclose(scaled.y, plain.y, rtol=1e-15)
