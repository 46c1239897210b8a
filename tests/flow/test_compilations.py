"""A second call with other numbers of the same shapes compiles nothing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow.flow import equilibrium, gradient_flow, homotopy, rewind_surface
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression
from epsflow.schedules import (
    BangBang,
    Constant,
    ExponentialDecay,
    LinearDecay,
    PiecewiseConstant,
    PolynomialDecay,
    Step,
)

DELETE = (1, 4)
TS = np.array([0.0, 0.3, 0.5, 1.0, 1.7, 2.0, 3.0])


def linear(seed: int) -> Problem:
    """Another seed: other data, other deleted points, same shapes."""
    rng = np.random.default_rng(seed)
    data = Dataset(rng.standard_normal((8, 3)), rng.standard_normal(8))
    return linear_regression(data, [seed, seed + 3], l2=0.1 * seed)


def logistic(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((8, 3))
    return Problem(LinearModel(3), LogisticLoss(), Dataset(x, 1.0 * (x[:, 0] > 0)), [seed, seed + 3], l2=0.1 + seed)


def start(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(3)


SCHEDULES: dict[str, Callable[[float], object]] = {
    "constant": lambda z: Constant(z),
    "step": lambda z: Step(z),
    "piecewise": lambda z: PiecewiseConstant([0.5, 1.0 + z, 2.0], [[z, 0.1], [0.0, z]]),
    "bang-bang": lambda z: BangBang(0.1, [0.5, z + 1.0], 2.0, high=1.0 + z),
    "linear": lambda z: LinearDecay(0.2, 1.0 + z),
    "polynomial": lambda z: PolynomialDecay(0.2, 1.0 + z, 0.5 + z),
    "exponential": lambda z: ExponentialDecay(0.2, 1.0 + z, 2.0),
}


def flow(make, schedule: str, method: str):
    def run(seed: int) -> None:
        options = {"ts": jnp.asarray(TS * (1.0 + 0.1 * seed)), "rtol": 1e-10 / (1.0 + seed), "method": method}
        gradient_flow(make(seed), SCHEDULES[schedule](0.2 * seed), start(seed), **options)

    return run


CALLS = {
    **{f"exact, {name}": flow(linear, name, "exact") for name in ("constant", "step", "piecewise", "bang-bang")},
    **{f"collocation, {name}": flow(linear, name, "collocation") for name in ("linear", "polynomial", "exponential")},
    **{f"diffrax, {name}": flow(linear, name, "diffrax") for name in ("step", "linear")},
    "diffrax, logistic": flow(logistic, "step", "auto"),
    "equilibrium": lambda seed: equilibrium(linear(seed), eps=0.3 * seed, theta0=start(seed)),
    "equilibrium, logistic": lambda seed: equilibrium(
        logistic(seed), eps=0.3 * seed, theta0=start(seed), tol=1e-9 / seed
    ),
    "homotopy": lambda seed: homotopy(linear(seed), eps=np.linspace(0.0, seed, 3), ts=TS * seed, theta0=start(seed)),
    "homotopy, logistic": lambda seed: homotopy(
        logistic(seed), eps=np.linspace(0.0, seed, 3), ts=TS * seed, theta0=start(seed)
    ),
    "rewinding": lambda seed: rewind_surface(
        linear(seed), s=np.linspace(0.0, seed, 3), T=TS * seed, theta0=start(seed)
    ),
}


def test_the_listener_hears_a_compilation(compiled):
    jax.jit(lambda x: x * 3.0 + 0.5)(jnp.ones(17))
    assert compiled


def test_piecewise_constant_schedules_of_all_kinds_and_lengths_share_one_integrator(compiled):
    """ε and its jumps come in arrays of one size, whatever they were made from; only the times of the answer differ."""
    CALLS["diffrax, logistic"](1)
    compiled.clear()
    for name in ("constant", "step", "bang-bang"):
        flow(logistic, name, "auto")(2)
    knots = np.linspace(0.1, 1.9, 101)
    gradient_flow(logistic(3), PiecewiseConstant(knots, np.tile([1.0, 0.0], 50)), start(3), ts=jnp.asarray(TS))
    assert compiled == []


@pytest.mark.parametrize("name", CALLS)
def test_a_second_call_compiles_nothing(name, compiled):
    CALLS[name](1)
    compiled.clear()
    CALLS[name](2)
    assert compiled == []
