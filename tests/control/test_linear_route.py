"""The route of linear regression: no compilation, whatever the shapes and the cost."""

import numpy as np
import pytest

import epsflow as ef


def question(d: int, deleted: int) -> tuple[ef.Problem, np.ndarray]:
    rng = np.random.default_rng(d)
    x, y = rng.standard_normal((d + 6, d)), rng.standard_normal(d + 6)
    y[:deleted] += 30.0  # outliers: their residuals keep their signs
    return ef.linear_regression(ef.Dataset(x, y), delete=list(range(deleted))), rng.standard_normal(d)


# Shapes that no other test has, so that nothing is compiled already.
@pytest.mark.parametrize(
    ("d", "deleted", "options"),
    [
        (13, 1, {}),
        (14, 2, {"per_point": True}),
        (70, 1, {}),  # rank-one updates
        (15, 1, {"cost": ef.RetainedLoss()}),
        (16, 1, {"cost": ef.QuadraticForm(np.diag(np.arange(1.0, 17.0)))}),
        (17, 1, {"cost": ef.PredictionGap(np.eye(17)[:3])}),
        (18, 1, {"price": 0.01, "time_limit": 60.0}),
    ],
    ids=["one point", "two points", "large", "retained loss", "form", "predictions", "price"],
)
def test_the_certified_route_compiles_nothing(d, deleted, options, compiled):
    problem, theta0 = question(d, deleted)
    best = ef.optimal_schedule(problem, theta0, s=0.3, T=2.0, throw=False, **options)
    assert best.method is ef.SearchMethod.POLISH
    np.testing.assert_allclose(best.switching(best.task.T), best.switching(np.array([0.4, best.task.T]))[1], rtol=1e-12)
    assert compiled == []


def test_nor_does_judging_a_schedule(compiled):
    problem, theta0 = question(19, 1)
    ef.certify(problem, ef.PiecewiseConstant([0.3, 0.9, 2.0], [0.4, 0.8]), theta0, s=0.3, T=2.0)
    assert compiled == []
