"""Whatever a user can hold shows itself in one short line with its values; no arrays, addresses or dtypes."""

import dataclasses
import enum
import importlib
import inspect

import equinox as eqx
import jax
import numpy as np
import pytest

import epsflow as ef
from epsflow.problem import WeightedLoss

ROOMS = ["problem", "schedules", "flow", "analysis", "control", "unlearning", "attribution", "claims", "studies"]
MODULES = [ef, *(importlib.import_module(f"epsflow.{room}") for room in ROOMS)]
PUBLIC = sorted(
    {
        value
        for module in MODULES
        for value in (getattr(module, name) for name in dir(module) if not name.startswith("_"))
        if isinstance(value, type) and value.__module__.startswith("epsflow")
    },
    key=lambda kind: (kind.__module__, kind.__name__),
)
STATEFUL = {"Walker", "Runner", "Store", "Here", "AbstractTask", "AbstractStackedTask"}
"""What does work, rather than being a value."""

RNG = np.random.default_rng(0)
DATA = ef.Dataset(RNG.standard_normal((30, 3)), RNG.standard_normal(30), name="some data")
LINEAR = ef.linear_regression(DATA, [3], reduction="mean")
WINDOW = {"s": 1.0, "T": 3.0}

SPELLED = {
    "Step(tau=2)": ef.Step(2.0),
    "Step(tau=[0.25, 1])": jax.vmap(ef.Step)(np.array([0.25, 1.0])),
    "Constant(value=0.5)": ef.Constant(0.5),
    "LinearDecay(s=1, t1=2.12346)": ef.LinearDecay(1.0, 2.123456789),
    "PolynomialDecay(s=1, t1=2, power=0.5)": ef.PolynomialDecay(1.0, 2.0, 0.5),
    "ExponentialDecay(s=1, rate=3, T=4)": ef.ExponentialDecay(1.0, 3.0, 4.0),
    "BangBang(s=1, switch_ts=[2], T=4, first='low', low=0, high=1)": ef.BangBang(1.0, [2.0], 4.0, "low"),
    "PiecewiseConstant(knots=array(9,), values=array(8,))": ef.PiecewiseConstant(np.arange(9.0), np.ones(8)),
    "LinearModel(features=3, outputs=None)": ef.LinearModel(3),
    "MLP(widths=(3, 4, 1), activation='tanh')": ef.MLP((3, 4, 1)),
    "SquaredLoss()": ef.SquaredLoss(),
    "PseudoHuberLoss(delta=1.5)": ef.PseudoHuberLoss(1.5),
    "WeightedLoss(loss=LogisticLoss())": WeightedLoss(ef.LogisticLoss()),
    "Distance()": ef.Distance(),
    "QuadraticForm(factor=array(3, 3))": ef.QuadraticForm(np.eye(3)),
    "Nystrom(rank=3, key=a key, rtol=None)": ef.Nystrom(3, key=jax.random.key(0)),
    "EndForm(factor=array(3, 3))": ef.EndForm(np.eye(3)),
    "CoalitionFunction(function=sum, n=3, batched=False)": ef.CoalitionFunction(sum, 3),
}


def written_by_dataclass(kind: type) -> bool:
    """Whether the line is the one that `dataclass` makes: every field's own `repr`, arrays written out."""
    return dataclasses.is_dataclass(kind) and kind.__repr__.__module__ == kind.__module__


@pytest.mark.parametrize("line", SPELLED)
def test_a_value_shows_what_it_was_made_of(line: str):
    assert repr(SPELLED[line]) == line


def test_inside_a_transformation_too():
    lines = []
    jax.eval_shape(lambda tau: lines.append(repr(ef.Step(tau))), 1.0)
    assert lines == ["Step(tau=traced())"]


@pytest.mark.parametrize("kind", PUBLIC, ids=lambda kind: kind.__name__)
def test_no_public_class_leaves_its_line_to_chance(kind: type):
    """Neither equinox's (dtypes and shapes), nor Python's (an address), nor one that writes arrays out."""
    if kind.__name__ in STATEFUL or issubclass(kind, enum.Enum | BaseException) or kind is ef.RESULTS:
        return
    assert kind.__repr__ not in (eqx.Module.__repr__, object.__repr__)
    arrays = [name for name, text in inspect.get_annotations(kind).items() if "ndarray" in str(text)]
    if issubclass(kind, tuple):
        assert kind.__repr__.__module__.startswith("epsflow") or not arrays, arrays
    else:
        assert not (written_by_dataclass(kind) and arrays), arrays


@pytest.mark.parametrize(
    "ask",
    [
        lambda: LINEAR,
        lambda: LINEAR.risk,
        lambda: LINEAR.design,
        lambda: ef.retrain(LINEAR),
        lambda: ef.influence(LINEAR),
        lambda: ef.leverage(LINEAR),
        lambda: ef.gradient_flow(LINEAR, ef.Step(1.0), np.zeros(3), ts=np.linspace(0.0, 3.0, 50)),
        lambda: ef.certify(LINEAR, ef.Step(1.0), np.zeros(3), **WINDOW),
        lambda: ef.compare_schedules(LINEAR, np.zeros(3), **WINDOW),
        lambda: ef.optimal_schedule(LINEAR, np.zeros(3), **WINDOW).extremal,
        lambda: ef.exact_unlearning_time(LINEAR, np.zeros(3), s=1.0),
    ],
)
def test_a_result_is_one_short_line(ask):
    line = repr(ask())
    assert "\n" not in line
    assert len(line) < 250
    for noise in ("f64[", "array([", " at 0x", "dtype", "(numpy)"):
        assert noise not in line
