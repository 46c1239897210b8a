"""The general path: order, accuracy, jumps, stiffness, failure; and models that have no other."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import reference as ref
import reference_models as models
from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.flow import Trajectory, gradient_flow
from epsflow.flow._diffrax import vector_field
from epsflow.problem import (
    MLP,
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    SquaredLoss,
    linear_regression,
    load_dataset,
)
from epsflow.schedules import AbstractSchedule, Constant, LinearDecay, PiecewiseConstant, Step

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 3)), RNG.standard_normal(8)
DELETE = (1, 4)
LINEAR = linear_regression(Dataset(X, Y), DELETE, reduction="mean")
THETA0 = np.array([0.5, -1.0, 2.0])
TS = jnp.array([0.0, 0.3, 0.5, 1.0, 1.7, 2.0, 3.0])


def check(path: Trajectory, expected) -> None:
    """At the end ten or so steps of rtol 1e-10; between steps Dopri8's interpolant, which is some tens less exact."""
    np.testing.assert_allclose(path.end, expected[-1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(path.thetas, expected, rtol=0, atol=1e-8)
    assert np.abs(path.thetas - expected).max() <= float(path.error)


# --- against the exact flow ---


@pytest.fixture(scope="module")
def diabetes() -> Dataset:
    return load_dataset("diabetes")


@pytest.mark.parametrize("rank", [10, 7])
def test_diabetes(diabetes, rank):
    """Real data, and the same with three columns replaced by sums of others; λ_max(T − t0) = 18,000."""
    x = diabetes.x.copy()
    x[:, rank:] = x[:, : 10 - rank] + x[:, 3 : 13 - rank]
    problem = linear_regression(Dataset(x, diabetes.y), 17)
    arguments = problem, Step(2.0), np.ones(10)
    exact = gradient_flow(*arguments, ts=jnp.linspace(0.0, 10.0, 51))
    path = gradient_flow(*arguments, ts=jnp.linspace(0.0, 10.0, 51), method="diffrax", solver=diffrax.Dopri8())
    # The promise to users at the default rtol 1e-10; it is kept by a factor of three or more.
    np.testing.assert_allclose(path.thetas, exact.thetas, rtol=0, atol=1e-9)
    assert np.abs(path.thetas - exact.thetas).max() <= float(path.error)


def test_stiff_problems_get_an_implicit_solver():
    """Curvatures 0.1 to 1e6: an explicit step would be 1e-6 for stability alone."""
    rows, targets = ref.rows_of(np.diag([0.1, 10.0, 1e6]), np.array([1.0, -2.0, 3e5]))
    problem = linear_regression(Dataset(np.vstack([rows, np.ones(3)]), np.append(targets, 1.0)), 3)
    exact = gradient_flow(problem, Step(1.0), THETA0, ts=TS)
    path = gradient_flow(problem, Step(1.0), THETA0, ts=TS, method="diffrax")
    assert path.stats["solver"] == "Kvaerno5"
    assert path.stats["num_steps"] < 5000
    # rtol 1e-10 a step over some hundred steps, stiffly stable.
    np.testing.assert_allclose(path.thetas, exact.thetas, rtol=0, atol=1e-8)
    assert np.abs(path.thetas - exact.thetas).max() <= float(path.error) + float(exact.error)
    mild = gradient_flow(LINEAR, Step(1.0), THETA0, ts=TS, method="diffrax")
    assert mild.stats["solver"] == "Dopri8"


def test_dense_output():
    arguments = LINEAR, Step(1.0), THETA0
    path = gradient_flow(*arguments, ts=TS, method="diffrax", dense=True)
    times = jnp.array([0.2, 1.0, 2.9])
    # The interpolant's order is lower than the solver's, and the steps are long.
    np.testing.assert_allclose(path(times), gradient_flow(*arguments, ts=TS)(times), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="holds only the times in `ts`; call gradient_flow with dense=True"):
        gradient_flow(*arguments, ts=TS, method="diffrax")(times)


# --- order ---


@eqx.filter_jit
def fixed_steps(risk, schedule, dt, solver):
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(vector_field),
        solver,
        0.0,
        2.0,
        dt,
        jnp.asarray(THETA0),
        args=(risk, schedule, jnp.zeros(())),
        max_steps=1000,
    )
    return solution.ys[-1]


# At fixed steps a stale Jacobian would do for a constant weight only.
IMPLICIT = diffrax.Kvaerno5(root_finder=optx.Newton(rtol=1e-12, atol=1e-12))


@pytest.mark.parametrize(
    ("solver", "order", "steps"),
    [
        pytest.param(diffrax.Tsit5(), 5, (8, 16, 32), id="Tsit5"),
        pytest.param(diffrax.Dopri8(), 8, (2, 4, 8), id="Dopri8", marks=pytest.mark.slow),
        pytest.param(IMPLICIT, 5, (8, 16, 32), id="Kvaerno5", marks=pytest.mark.slow),
    ],
)
def test_order_of_convergence(solver, order, steps):
    """The field under a smooth weight is smooth, so halving the step divides the error by 2^order."""
    schedule = LinearDecay(0.0, 4.0)
    exact = gradient_flow(LINEAR, schedule, THETA0, ts=jnp.array([2.0]), method="collocation").end
    errors = [
        float(jnp.linalg.norm(fixed_steps(LINEAR.risk, schedule, jnp.asarray(2.0 / n), solver) - exact)) for n in steps
    ]
    observed = np.log2(np.array(errors[:-1]) / errors[1:])
    # The next term of the error expansion is still visible at these steps, in either direction.
    assert observed.min() > order - 0.5
    assert observed.max() < order + 1.5


# --- jumps ---


def test_a_pulse_is_not_stepped_over():
    """On for a thousandth of the time: an integrator that was not told would hardly notice."""
    pulse = PiecewiseConstant([0.5, 2.5, 2.503, 3.0], [0.0, 200.0, 0.0])
    exact = gradient_flow(LINEAR, pulse, THETA0, ts=TS)
    without = gradient_flow(LINEAR, Step(0.5), THETA0, ts=TS)
    path = gradient_flow(LINEAR, pulse, THETA0, ts=TS, method="diffrax")
    assert float(jnp.abs(exact.end - without.end).max()) > 0.01
    np.testing.assert_allclose(path.end, exact.end, rtol=0, atol=1e-9)  # rtol 1e-10 a step, ten steps


@pytest.mark.parametrize("schedule", [Step(1.0), LinearDecay(0.5, 2.0)], ids=["a jump", "two kinks"])
def test_the_times_asked_for_do_not_matter(schedule):
    some = gradient_flow(LINEAR, schedule, THETA0, ts=TS, method="diffrax", rtol=1e-6)
    close = jnp.array([0.0, 0.9, 0.999, 1.001, 1.1, 2.999, 3.0])
    others = gradient_flow(LINEAR, schedule, THETA0, ts=close, method="diffrax", rtol=1e-6)
    # Steps end on jumps and on output times, so other outputs mean other steps; both ends are within their error.
    assert float(jnp.abs(some.end - others.end).max()) <= float(some.error + others.error)


@pytest.mark.parametrize("t0", [0.0, 3.0, 1000.0])
def test_a_jump_at_the_start_is_past(t0):
    """Under 1_[0, t0] from t0 on the point counts no more."""
    path = gradient_flow(LINEAR, Step(t0), THETA0, ts=t0 + TS, t0=t0, method="diffrax")
    expected = gradient_flow(LINEAR, Constant(0.0), THETA0, ts=TS)
    # One unit in the last place of t, 1e-13, times the speed.
    np.testing.assert_allclose(path.thetas[0], THETA0, rtol=0, atol=1e-11)
    check(path, expected.thetas)
    assert float(jnp.abs(path.end - gradient_flow(LINEAR, Constant(1.0), THETA0, ts=TS).end).max()) > 0.01


# --- other models and schedules, against solve_ivp ---


class Wave(AbstractSchedule):
    """A user's schedule, neither constant nor analytic for the library."""

    @property
    def start(self):
        return jnp.asarray(0.5)

    @property
    def end(self):
        return jnp.asarray(2.0)

    def inner(self, t):
        return 0.5 + 0.5 * jnp.sin(5.0 * t)

    @property
    def jump_ts(self):
        return jnp.array([0.5, 2.0])


def wave(t: float) -> float:
    return 1.0 if t <= 0.5 else 0.0 if t >= 2.0 else 0.5 + 0.5 * float(np.sin(5.0 * t))


def test_a_users_schedule():
    path = gradient_flow(LINEAR, Wave(), THETA0, ts=TS, method="diffrax")
    gradient = ref.linear_gradient(ref.split_system(X, Y, DELETE, reduction="mean"))
    expected = ref.ivp_flow(gradient, wave, THETA0, np.asarray(TS), jumps=[0.5, 2.0])
    check(path, expected)


LABELS = 1.0 * (X[:, 0] > 0)
MODELS = {
    "logistic": (
        Problem(LinearModel(3), LogisticLoss(), Dataset(X, LABELS), DELETE, l2=0.1),
        lambda theta, weights: models.logistic_gradient(theta, X, LABELS, weights, 0.1),
        THETA0,
    ),
    "MLP": (
        Problem(MLP((3, 2, 1)), SquaredLoss(), Dataset(X, Y), DELETE, l2=0.1),
        lambda theta, weights: models.mlp_gradient(theta, X, Y, weights, 2, 0.1),
        0.5 * np.random.default_rng(2).standard_normal(11),
    ),
}


@pytest.mark.parametrize("name", ["logistic", pytest.param("MLP", marks=pytest.mark.slow)])
def test_models_with_a_weight_for_each_point(name):
    problem, gradient, theta0 = MODELS[name]
    first, second = np.array([0.4, 1.0]), np.array([0.9, 0.0])
    schedule = PiecewiseConstant([0.5, 1.2, 2.0], [first, second])

    def eps(t):
        return 1.0 if t <= 0.5 else first if t <= 1.2 else second if t <= 2.0 else 0.0

    def weighted(theta, weight):
        return gradient(theta, ref.data_weights(8, DELETE, weight))

    path = gradient_flow(problem, schedule, theta0, ts=TS)
    expected = ref.ivp_flow(weighted, eps, theta0, np.asarray(TS), jumps=[0.5, 1.2, 2.0])
    assert path.eps.shape == (7, 2)
    check(path, expected)


# --- failure ---


def test_giving_up_is_an_error_that_carries_the_trajectory():
    with pytest.raises(
        ConvergenceError, match=r"the flow stopped before t = 3: The maximum number of solver steps"
    ) as failure:
        gradient_flow(LINEAR, Step(1.0), THETA0, ts=TS, method="diffrax", max_steps=4)
    path = failure.value.result
    assert path.result == RESULTS.max_steps_reached
    np.testing.assert_array_equal(path.thetas[0], THETA0)
    kept = gradient_flow(LINEAR, Step(1.0), THETA0, ts=TS, method="diffrax", max_steps=4, throw=False)
    assert kept.result == RESULTS.max_steps_reached
    np.testing.assert_array_equal(kept.thetas, path.thetas)
    assert not np.isfinite(kept.thetas[-1]).any()  # no number where the flow did not get


def test_a_trajectory_of_one_time_is_the_start():
    path = gradient_flow(LINEAR, LinearDecay(0.0, 1.0), THETA0, ts=jnp.array([0.0]), method="diffrax")
    np.testing.assert_array_equal(path.end, THETA0)
