"""θ(t, ε) and θ(T, s): each row is the flow that `gradient_flow` computes alone."""

import jax.numpy as jnp
import numpy as np
import pytest

import reference as ref
from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.flow import HomotopySurface, equilibrium, gradient_flow, homotopy, rewind_surface
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression
from epsflow.schedules import Constant, Step

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 3)), RNG.standard_normal(8)
DELETE = (1, 4)
THETA0 = np.array([0.5, -1.0, 2.0])
TS = jnp.array([0.0, 0.3, 0.5, 1.0, 1.7, 2.0, 3.0])
LINEAR = linear_regression(Dataset(X, Y), DELETE)
LOGISTIC = Problem(LinearModel(3), LogisticLoss(), Dataset(X, 1.0 * (X[:, 0] > 0)), DELETE, l2=0.1)

EPS = jnp.array([0.0, 0.3, 1.0])
PAIRS = jnp.array([[0.0, 1.0], [0.3, 0.2], [1.0, 0.0]])
DROPS = jnp.array([0.0, 0.4, 3.0])

# Exact: the same formula, vectorised. Diffrax: the step sizes amplify the order of sums, up to the tolerance.
each_problem = pytest.mark.parametrize(
    ("problem", "tolerance"), [(LINEAR, 1e-14), (LOGISTIC, 1e-9)], ids=["exact", "diffrax"]
)


@pytest.mark.parametrize(
    ("problem", "tolerance", "eps"),
    [(LINEAR, 1e-14, EPS), (LINEAR, 1e-14, PAIRS), (LOGISTIC, 1e-9, EPS)],
    ids=["exact", "exact, a weight each", "diffrax"],
)
def test_homotopy_is_flow_by_flow(problem, tolerance, eps):
    surface = homotopy(problem, eps=eps, ts=TS, theta0=THETA0)
    assert surface.thetas.shape == (3, 7, 3)
    assert surface.method == ("exact" if problem is LINEAR else "diffrax")
    assert (surface.result == RESULTS.successful).shape == (3,)
    np.testing.assert_array_equal(surface.eps, eps)
    for row, value in zip(surface.thetas, eps, strict=True):
        alone = gradient_flow(problem, Constant(value), THETA0, ts=TS)
        np.testing.assert_allclose(row, alone.thetas, rtol=0, atol=tolerance)


@each_problem
def test_rewinding_is_flow_by_flow(problem, tolerance):
    surface = rewind_surface(problem, s=DROPS, T=TS, theta0=THETA0)
    assert surface.thetas.shape == (3, 7, 3)
    assert (surface.result == RESULTS.successful).shape == (3,)
    for row, s in zip(surface.thetas, DROPS, strict=True):
        alone = gradient_flow(problem, Step(s), THETA0, ts=TS)
        np.testing.assert_allclose(row, alone.thetas, rtol=0, atol=tolerance)


@each_problem
def test_the_edges_of_the_two_surfaces_meet(problem, tolerance):
    """s = 0 is retraining, ε = 0; s = T is training without deletion, ε = 1."""
    flows = homotopy(problem, eps=EPS, ts=TS, theta0=THETA0)
    rewound = rewind_surface(problem, s=DROPS, T=TS, theta0=THETA0)
    # Diffrax interpolates between steps, which end on other times here and there: ten times its error at their ends.
    atol = tolerance if problem is LINEAR else 10.0 * tolerance
    np.testing.assert_allclose(rewound.thetas[0], flows.thetas[0], rtol=0, atol=atol)
    np.testing.assert_allclose(rewound.thetas[2], flows.thetas[2], rtol=0, atol=atol)


def test_homotopy_is_expm_within_its_error():
    surface = homotopy(LINEAR, eps=EPS, ts=TS, theta0=THETA0)
    for row, eps in zip(surface.thetas, EPS, strict=True):
        system = ref.weighted_system(X, Y, DELETE, float(eps))
        expected = np.array([ref.linear_flow(*system, THETA0, float(t)) for t in TS])
        # expm's own rounding is u·‖H‖t = 1e-14.
        assert np.abs(row - expected).max() <= float(surface.error) + 1e-13
    assert float(surface.error) < 1e-12


def test_late_rows_of_the_homotopy_are_the_optima():
    surface = homotopy(LINEAR, eps=EPS, ts=jnp.full(7, 200.0), theta0=THETA0)
    for row, eps in zip(surface.thetas[:, 0], EPS, strict=True):
        # The slowest rate is above 0.5: e^{−100}.
        np.testing.assert_allclose(row, equilibrium(LINEAR, eps=float(eps)).theta, rtol=0, atol=1e-12)


def test_one_final_time():
    surface = rewind_surface(LINEAR, s=DROPS, T=3.0, theta0=THETA0)
    assert surface.thetas.shape == (3, 1, 3)
    assert surface.T.tolist() == [3.0]


def test_rows_that_fail():
    arguments = {"eps": EPS, "ts": TS, "theta0": THETA0, "max_steps": 3}
    with pytest.raises(
        ConvergenceError, match="3 of 3 flows failed, first row 0: The maximum number of solver"
    ) as failure:
        homotopy(LOGISTIC, **arguments)
    assert isinstance(failure.value.result, HomotopySurface)
    kept = homotopy(LOGISTIC, **arguments, throw=False)
    assert (kept.result == RESULTS.max_steps_reached).all()
    np.testing.assert_array_equal(kept.thetas[:, 0], np.broadcast_to(THETA0, (3, 3)))


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": []}, r"eps must be a non-empty grid of finite numbers; got shape \(0,\)"),
        ({"eps": [np.nan]}, "eps must be a non-empty grid of finite numbers"),
        ({"eps": np.ones((2, 3))}, "eps has 3 columns, but 2 points are deleted"),
        ({"ts": [1.0, 0.5]}, "ts must ascend from a time ≥ 0; it runs from 1 to 0.5"),
        ({"ts": [-1.0, 0.5]}, "ts must ascend from a time ≥ 0; it runs from -1 to 0.5"),
        ({"theta0": np.ones(2)}, r"theta0 has shape \(2,\)"),
    ],
)
def test_homotopies_that_are_none(options, message):
    with pytest.raises(InputError, match=message):
        homotopy(LINEAR, **{"eps": EPS, "ts": TS, "theta0": THETA0, **options})


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"s": [0.5, -0.1]}, "s contains -0.1; points cannot be dropped before training starts"),
        ({"s": []}, "s must be a non-empty grid"),
        ({"T": np.inf}, "T must be a non-empty grid of finite numbers"),
        ({"T": [2.0, 1.0]}, "T must ascend from a time ≥ 0"),
    ],
)
def test_rewindings_that_are_none(options, message):
    with pytest.raises(InputError, match=message):
        rewind_surface(LINEAR, **{"s": DROPS, "T": TS, "theta0": THETA0, **options})
