"""Nothing depends on units: features, targets, parameters and time scaled by powers of ten scale every answer.

With X' = X·diag(a) and y' = b·y the parameters are θ' = bθ/a; where the flow is involved, a is one number, time is
t' = t/a² and costs of the distance scale by (b/a)². Penalties and dampings are curvatures: λ' = a²λ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.problem import AbstractLoss

RNG = np.random.default_rng(11)
X = RNG.standard_normal((14, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.3 * RNG.standard_normal(14)
LABELS = (Y + 3.0 * RNG.standard_normal(14) > 0.0).astype(float)
THETA = np.array([0.4, -0.3, 0.8])
POINT = [2]


class Cauchy(AbstractLoss):
    """A loss that is not convex, with a width in the units of the target."""

    width: float = eqx.field(static=True)
    convex: ClassVar[bool] = False

    def __call__(self, output, target):
        return 0.5 * self.width**2 * jnp.log1p(((output - target) / self.width) ** 2)


@dataclass(frozen=True, eq=False)
class Units:
    """The same question in other units; what comes back is in the first ones."""

    columns: np.ndarray
    target: float = 1.0

    @property
    def rate(self) -> float:
        """One over the unit of time, a²; for questions in which all columns have one unit."""
        return float(self.columns[0]) ** 2

    def linear(self, l2: float = 0.0, delete=POINT) -> ef.Problem:
        return ef.linear_regression(ef.Dataset(X * self.columns, self.target * Y), delete, l2=l2 * self.rate)

    def logistic(self, l2: float = 0.0) -> ef.Problem:
        data = ef.Dataset(X * self.columns, LABELS)
        return ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), data, POINT, l2=l2 * self.rate)

    def huber(self) -> ef.Problem:
        data = ef.Dataset(X * self.columns, self.target * Y)
        return ef.Problem(ef.LinearModel(3), ef.PseudoHuberLoss(0.5 * self.target), data, POINT)

    def cauchy(self) -> ef.Problem:
        """Not convex: ½σ² log(1 + (f − y)²/σ²)."""
        data = ef.Dataset(X * self.columns, self.target * Y)
        return ef.Problem(ef.LinearModel(3), Cauchy(self.target), data, POINT)

    def into(self, theta: np.ndarray) -> np.ndarray:
        return theta * self.target / self.columns

    def back(self, theta: object) -> np.ndarray:
        return np.asarray(theta) * self.columns / self.target

    def cost(self, value: object) -> np.ndarray:
        return np.asarray(value) * self.rate / self.target**2

    @property
    def window(self) -> dict[str, float]:
        return {"s": 0.1 / self.rate, "T": 0.6 / self.rate}


ONE = Units(np.ones(3))


def _scores(problem: ef.Problem) -> list[np.ndarray]:
    """Predicted and exact changes of the mean loss, by every method that needs no draws."""
    found = ef.compare_attributions(problem, ["influence", "newton", "pbrf"], groups=3, fractions=())
    return [found.exact, *(found.scores[name].change for name in found.names)]


OPTIMA: dict[str, Callable[[Units], object]] = {
    "train": lambda u: u.back(ef.train(u.linear()).theta),
    "train, Huber": lambda u: u.back(ef.train(u.huber()).theta),
    "equilibrium": lambda u: u.back(ef.equilibrium(u.linear(), eps=0.5).theta),
    "equilibrium, Huber": lambda u: u.back(ef.equilibrium(u.huber(), eps=0.5).theta),
    "unique": lambda u: float(ef.equilibrium(u.linear()).unique and ef.equilibrium(u.huber()).unique),
    "retrain": lambda u: u.back(ef.retrain(u.linear()).theta),
    "retrain, Huber": lambda u: u.back(ef.retrain(u.huber()).theta),
    "retrain_all": lambda u: u.back(ef.retrain_all(u.linear(), points=[1, 2]).thetas),
    "retrain_all, Huber": lambda u: u.back(ef.retrain_all(u.huber(), points=[1, 2]).thetas),
    "newton_step": lambda u: u.back(ef.newton_step(u.linear()).change),
    "newton_step, Huber": lambda u: u.back(ef.newton_step(u.huber()).change),
    "newton_step_all": lambda u: u.back(ef.newton_step_all(u.huber(), points=[1, 2]).change),
    "influence": lambda u: u.back(ef.influence(u.linear()).change),
    "influence, Huber": lambda u: u.back(ef.influence(u.huber(), curvature="ggn").change),
    "influence, order 2": lambda u: u.back(ef.influence(u.huber(), order=2).change),
    "self_influence": lambda u: ef.self_influence(u.linear()).values / u.target**2,
    "leverage": lambda u: ef.leverage(u.linear()).leverages,
    "leverage, change": lambda u: u.back(ef.leverage(u.linear()).change),
    "leverage, Cook": lambda u: ef.leverage(u.linear()).cooks_distance,
    "leverage, DFBETAS": lambda u: ef.leverage(u.linear()).dfbetas,
    "response_path": lambda u: u.back(ef.response_path(u.linear(), eps=np.array([1.0, 0.5, 0.0])).thetas),
    "response_path, Huber": lambda u: u.back(ef.response_path(u.huber(), eps=np.array([1.0, 0.5, 0.0])).thetas),
    "response_jacobian": lambda u: u.back(ef.response_jacobian(u.huber()).jacobian.T),
    "pbrf": lambda u: u.back(ef.pbrf(u.linear(), u.into(THETA), damping=0.0).change),
    "pbrf, Huber": lambda u: u.back(ef.pbrf(u.huber(), u.into(THETA), damping=0.0).change),
    "pbrf, ggn": lambda u: u.back(ef.pbrf(u.linear(), u.into(THETA), damping=0.1, metric="ggn").change),
    "pbrf, ggn, Huber": lambda u: u.back(ef.pbrf(u.huber(), u.into(THETA), damping=0.1, metric="ggn").change),
}
"""Invariant under a unit for each column."""

CLASSES: dict[str, Callable[[Units], object]] = {
    "train": lambda u: u.back(ef.train(u.logistic()).theta),
    "equilibrium": lambda u: u.back(ef.equilibrium(u.logistic(), eps=0.0).theta),
    "retrain_all": lambda u: u.back(ef.retrain_all(u.logistic(), points=[1, 2]).thetas),
    "newton_step": lambda u: u.back(ef.newton_step(u.logistic()).change),
    "influence": lambda u: u.back(ef.influence(u.logistic()).change),
    "response_path": lambda u: u.back(ef.response_path(u.logistic(), eps=np.array([1.0, 0.5, 0.0])).thetas),
    "pbrf": lambda u: u.back(ef.pbrf(u.logistic(), u.into(THETA), damping=0.0).change),
    "pbrf, ggn": lambda u: u.back(ef.pbrf(u.logistic(), u.into(THETA), damping=0.1, metric="ggn").change),
}
"""The same of logistic regression, whose targets have no unit."""


def _schedules(u: Units):
    s, T = u.window["s"], u.window["T"]
    return ef.PiecewiseConstant([s, 0.5 * (s + T), T], [0.7, 0.2]), ef.LinearDecay(s, T)


def _steps(u: Units) -> dict[str, float]:
    return {"s": 2, "T": 12, "step_size": 0.02 / u.rate}


def _times(u: Units) -> np.ndarray:
    return np.array([0.05, 0.3, 2.0]) / u.rate


def _along(u: Units) -> dict[str, object]:
    """Times of training, and predictions as functional."""
    problem = u.linear()
    return {"ts": np.linspace(0.0, 0.6, 5) / u.rate, "functional": ef.Predictions(problem.model, problem.data.x[:2])}


def _windowed(u: Units) -> ef.attribution.WindowedRemoval:
    window = (0.1 / u.rate, 0.2 / u.rate)
    return ef.windowed_removal(u.linear(), ef.Step(0.3 / u.rate), u.into(THETA), **_along(u), window=window, points=[4])


def _density(u: Units, schedule: ef.AbstractSchedule) -> ef.InfluenceDensity:
    return ef.influence_density(u.linear(), schedule, u.into(THETA), **_along(u))


FLOWS: dict[str, Callable[[Units], object]] = {
    "gradient_flow, exact": lambda u: u.back(
        ef.gradient_flow(u.linear(), _schedules(u)[0], u.into(THETA), ts=_times(u)).thetas
    ),
    "gradient_flow, collocation": lambda u: u.back(
        ef.gradient_flow(u.linear(), _schedules(u)[1], u.into(THETA), ts=_times(u)).thetas
    ),
    "homotopy": lambda u: u.back(
        ef.homotopy(u.linear(), eps=np.array([0.0, 0.5]), ts=_times(u), theta0=u.into(THETA)).thetas
    ),
    "rewind_surface": lambda u: u.back(
        ef.rewind_surface(u.linear(), s=_times(u)[:2], T=_times(u), theta0=u.into(THETA)).thetas
    ),
    "equilibrium, penalised": lambda u: u.back(ef.equilibrium(u.linear(0.5)).theta),
    "train, penalised": lambda u: ef.train(u.logistic(0.5)).theta * u.columns,
    "gradient_descent": lambda u: u.back(
        ef.gradient_descent(u.linear(), 1.0, u.into(THETA), steps=5, step_size=0.02 / u.rate).thetas
    ),
    "gradient_descent, own step": lambda u: u.back(ef.gradient_descent(u.linear(), 1.0, u.into(THETA), steps=5).thetas),
    "reconstruct": lambda u: u.back(ef.reconstruct(u.linear(), u.into(THETA), steps=3, step_size=0.01 / u.rate).thetas),
    "descend_to_delete": lambda u: u.back(
        ef.descend_to_delete(u.linear(), u.into(THETA), time=[0.1 / u.rate, 1.0 / u.rate]).thetas
    ),
    "rewind_to_delete": lambda u: u.back(
        ef.rewind_to_delete(u.linear(), u.into(THETA), T=1.0 / u.rate, K=[0.0, 0.3 / u.rate]).thetas
    ),
    "endpoints": lambda u: u.back(
        ef.endpoints(u.linear(), u.into(THETA), damping=0.1 * u.rate, steps=10, K=5, step_size=0.02 / u.rate).thetas
    ),
    "decompose": lambda u: u.back(
        ef.decompose(u.linear(), u.into(THETA), damping=0.1 * u.rate, solver="cholesky").thetas
    ),
    "pbrf, damped": lambda u: u.back(ef.pbrf(u.huber(), u.into(THETA), damping=0.3 * u.rate).change),
    "influence, damped": lambda u: u.back(ef.influence(u.linear(), u.into(THETA), damping=0.3 * u.rate).change),
    "certify": lambda u: u.cost(ef.certify(u.linear(), _schedules(u)[0], u.into(THETA), **u.window).cost),
    "certify, bound": lambda u: u.cost(
        ef.certify(u.linear(), ef.Step(u.window["s"]), u.into(THETA), **u.window).lower_bound
    ),
    "extremal": lambda u: u.cost(
        ef.extremal(u.linear(), _schedules(u)[0], u.into(THETA), **u.window).switching(
            u.window["T"] * np.array([0.3, 0.6, 0.9])
        )
        / u.rate
    ),
    "optimal_schedule": lambda u: u.cost(ef.optimal_schedule(u.linear(), u.into(THETA), **u.window).cost),
    "optimal_schedule, certified": lambda u: float(
        ef.optimal_schedule(u.linear(), u.into(THETA), **u.window).scope in (ef.Scope.GLOBAL, ef.Scope.WITHIN_ERROR)
    ),
    "optimal_schedule, price": lambda u: u.cost(
        ef.optimal_schedule(
            u.linear(), u.into(THETA), **u.window, price=1e-3 * u.target**2, intervals=10, throw=False
        ).cost
    ),
    "best_in_family, Step": lambda u: u.cost(ef.best_in_family(u.linear(), ef.Step, u.into(THETA), **u.window).cost),
    "best_in_family, LinearDecay": lambda u: u.cost(
        ef.best_in_family(u.linear(), ef.LinearDecay, u.into(THETA), **u.window).cost
    ),
    "best_in_family, PolynomialDecay": lambda u: u.cost(
        ef.best_in_family(u.linear(), ef.PolynomialDecay, u.into(THETA), **u.window).cost
    ),
    "compare_schedules": lambda u: u.cost(
        [
            row["cost"]
            for row in ef.compare_schedules(
                u.linear(), u.into(THETA), **u.window, families=(ef.Step, ef.LinearDecay, ef.ExponentialDecay)
            ).rows()
        ]
    ),
    "optimal_schedule, steps": lambda u: u.cost(ef.optimal_schedule(u.linear(), u.into(THETA), **_steps(u)).cost),
    "optimal_schedule, steps, bound": lambda u: u.cost(
        ef.optimal_schedule(u.linear(), u.into(THETA), **_steps(u), momentum=0.5).lower_bound
    ),
    "best_in_family, steps": lambda u: u.cost(
        ef.best_in_family(u.linear(), ef.LinearDecay, u.into(THETA), **_steps(u)).cost
    ),
    "exact_unlearning_time": lambda u: (
        ef.exact_unlearning_time(u.linear(), u.into(THETA), s=0.1 / u.rate).time * u.rate
    ),
    "influence_density": lambda u: _density(u, ef.Step(0.3 / u.rate)).values / u.rate / u.target,
    "influence_density, decay": lambda u: (
        _density(u, ef.LinearDecay(0.1 / u.rate, 0.4 / u.rate)).removal(0.1 / u.rate, 0.5 / u.rate).change / u.target
    ),
    "stages": lambda u: ef.stages(_density(u, ef.Step(0.3 / u.rate))).times * u.rate,
    "windowed_removal": lambda u: _windowed(u).change / u.target,
    "source_influence": lambda u: (
        ef.attribution.source_influence(u.linear(), ef.Step(0.3 / u.rate), u.into(THETA), **_along(u)).change / u.target
    ),
    "converged_influence": lambda u: (
        ef.attribution.converged_influence(u.linear(), ef.Constant(1.0), u.into(THETA), **_along(u)).change / u.target
    ),
}
"""Invariant under one unit for all columns, with time in its own."""

INTEGRATED: dict[str, Callable[[Units], object]] = {
    "gradient_flow, Huber": lambda u: u.back(
        ef.gradient_flow(u.huber(), _schedules(u)[0], u.into(THETA), ts=_times(u)).thetas
    ),
    "equilibrium, Cauchy": lambda u: u.back(ef.equilibrium(u.cauchy(), u.into(THETA)).theta),
    "retrain_all, Cauchy": lambda u: u.back(
        ef.retrain_all(u.cauchy(), u.into(ef.equilibrium(ONE.cauchy(), THETA).theta), points=[1, 2]).thetas
    ),
}
"""The same of what adaptive steps and searches of risks that are not convex find."""

UNEVEN = [np.array([1e-8, 1e8, 1.0]), np.array([1e8, 1e-3, 1e5]), np.array([1e-8, 1e-8, 1e-8])]
EVEN = [np.full(3, 1e-8), np.full(3, 1e-3), np.full(3, 1e8)]
TARGETS = [1e-8, 1.0, 1e8]

ALLOWED = 1e-11
"""The scaled design has a condition below 3: rounding of some hundred operations, and the squares of what searches
leave."""


def deviation(question: Callable[[Units], object], units: Units) -> float:
    """How far the answer is from that in the first units, relative to the largest number in it."""
    known, found = np.asarray(question(ONE), float), np.asarray(question(units), float)
    both = np.isinf(known) & (known == found)
    gap = np.abs(np.where(both, 0.0, found) - np.where(both, 0.0, known)).max()
    return float(gap / max(np.abs(np.where(both, 1.0, known)).max(), np.finfo(float).tiny))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("columns", UNEVEN, ids=str)
@pytest.mark.parametrize("name", OPTIMA)
def test_optima_in_a_unit_for_each_column(name, columns, target):
    assert deviation(OPTIMA[name], Units(columns, target)) < ALLOWED


def test_scores_of_points_in_a_unit_for_each_column():
    """Those of the PBRF, too, whose damping would otherwise be one of the features' units."""
    units = Units(UNEVEN[1], 1e8)
    assert deviation(lambda u: np.asarray(_scores(u.huber())) / u.target**2, units) < ALLOWED
    assert deviation(lambda u: _scores(u.logistic()), units) < ALLOWED


@pytest.mark.parametrize("columns", UNEVEN, ids=str)
@pytest.mark.parametrize("name", CLASSES)
def test_classes_in_a_unit_for_each_column(name, columns):
    assert deviation(CLASSES[name], Units(columns)) < ALLOWED


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("columns", EVEN, ids=str)
@pytest.mark.parametrize("name", FLOWS)
def test_flows_and_schedules_in_one_unit(name, columns, target):
    assert deviation(FLOWS[name], Units(columns, target)) < ALLOWED


@pytest.mark.parametrize(("column", "target"), [(1e-8, 1e8), (1e8, 1e-8)])
@pytest.mark.parametrize("name", INTEGRATED)
def test_integrators_and_searches_in_one_unit(name, column, target):
    """To diffrax's rtol: its first step is 1e-6 where a speed per unit of time looks small, and others follow."""
    assert deviation(INTEGRATED[name], Units(np.full(3, column), target)) < 1e-10
