"""Networks too large for a matrix: chunks within a budget of memory, single precision, several devices."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import epsflow as ef

BUDGET = 400_000
"""Bytes: a few right-hand sides of 1,870 parameters, and some of the points, at a time."""


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((90, 20))
    labels = np.argmax(x[:, :10] + 0.5 * rng.standard_normal((90, 10)), axis=1)
    data = ef.Dataset(x, labels.astype(float))
    model = ef.MLP((20, 60, 10))
    return ef.Problem(model, ef.SoftmaxCrossEntropy(), data, delete=[3, 4], l2=1e-3, reduction="mean")


@pytest.fixture(scope="module")
def theta(network):
    return np.asarray(network.model.init(jax.random.key(0)))


def losses(problem, count=7):
    return ef.Losses(problem.model, problem.loss, problem.data.x[:count], problem.data.y[:count])


def ask(problem, theta, solver, **options):
    given = {"points": list(range(20)), "functional": losses(problem), "curvature": "ggn", "damping": 0.1}
    return ef.influence(problem, theta, solver=solver, **(given | options))


@pytest.fixture(scope="module")
def exact(network, theta):
    """By Woodbury's identity, with the Jacobian of all outputs."""
    return ask(network, theta, "dual").change


def test_conjugate_gradients_in_chunks_give_the_exact_answer(network, theta, exact):
    found = ask(network, theta, ef.CG(), max_bytes=BUDGET)
    assert found.chunks.solves < 7  # the values of φ do not fit at once
    assert found.chunks.points < 90
    # Residuals of 1e-10, and a matrix whose condition is about 20.
    np.testing.assert_allclose(found.change, exact, rtol=0, atol=1e-8 * np.abs(exact).max())


@pytest.mark.slow
def test_few_points_are_solved_for_instead_of_many_values(network, theta, exact):
    found = ask(network, theta, ef.CG(), points=[0, 1, 2], functional=losses(network, 7), max_bytes=BUDGET)
    assert found.solved_for == "points"
    np.testing.assert_allclose(found.change, exact[:3], rtol=0, atol=1e-8 * np.abs(exact).max())


def test_groups_and_functions_of_ones_own_are_summed_in_chunks(network, theta, exact):
    groups, own = [[0, 1, 2], [5, 7], [9], [11, 12]], losses(network)
    found = ask(network, theta, ef.CG(), points=groups, functional=lambda t: own(t), max_bytes=BUDGET)
    expected = np.stack([exact[group].sum(axis=0) for group in groups])
    np.testing.assert_allclose(found.change, expected, rtol=0, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("solver", [ef.EKFAC(), pytest.param(ef.Nystrom(rank=5), marks=pytest.mark.slow)])
def test_approximations_do_not_depend_on_the_chunks(network, theta, solver):
    whole, parts = (ask(network, theta, solver, max_bytes=budget) for budget in (2**30, BUDGET))
    assert whole.chunks.solves >= 20 > parts.chunks.solves
    # Sums in another order; eigenvectors of close eigenvalues magnify that.
    np.testing.assert_allclose(parts.change, whole.change, rtol=0, atol=1e-9 * np.abs(whole.change).max())
    np.testing.assert_allclose(parts.residual, whole.residual, rtol=1e-7)


def test_self_influence_in_chunks(network, theta):
    options = {"points": [0, 1, 2, 3], "curvature": "ggn", "damping": 0.1, "solver": ef.EKFAC()}
    whole, parts = (ef.self_influence(network, theta, max_bytes=budget, **options) for budget in (2**30, BUDGET))
    np.testing.assert_allclose(parts.values, whole.values, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_self_influence_in_a_narrow_precision_says_how_far_off_it_is(network, theta, dtype, most):
    options = {"points": [0, 1, 2, 3], "curvature": "ggn", "damping": 0.1, "solver": ef.EKFAC()}
    wide = ef.self_influence(network, theta.astype(np.float32).astype(float), **options)
    narrow = ef.self_influence(network.with_dtype(dtype), theta, estimate_error=True, **options)
    assert narrow.dtype == dtype
    assert np.abs(narrow.values - wide.values).max() <= 1.0001 * narrow.error  # both in float64, rounded differently
    # Roundings of 6e-8, or of operands by 2⁻⁹, through two layers forward and back, twice.
    assert 0.0 < narrow.error < most * np.abs(wide.values).max()


def test_a_budget_that_no_chunk_meets_is_refused_with_the_least_that_one_does(network, theta):
    with pytest.raises(ef.InputError, match=r"max_bytes is 1,000, which no chunk meets: .* need [\d,]+ bytes") as no:
        ask(network, theta, ef.EKFAC(), max_bytes=1_000)
    least = int(str(no.value).rsplit("need ", 1)[1].split(" ")[0].replace(",", ""))
    assert ef.analysis.chunks_of(network, least).solves == 1
    with pytest.raises(ef.InputError, match=rf"{least:,} bytes"):
        ef.analysis.chunks_of(network, least - 16)
    with pytest.raises(ef.InputError, match=r"rank=6 fits, or give max_bytes="):
        ask(network, theta, ef.Nystrom(rank=50), max_bytes=BUDGET)


@pytest.mark.parametrize(
    ("solver", "dtype"),
    [
        (ef.CG(), "bfloat16"),
        pytest.param(ef.EKFAC(), "float32", marks=pytest.mark.slow),
        pytest.param(ef.CG(), "float32", marks=pytest.mark.slow),
        pytest.param(ef.EKFAC(), "bfloat16", marks=pytest.mark.slow),
        pytest.param(ef.LiSSA(), "float32", marks=pytest.mark.slow),
        pytest.param(ef.LiSSA(), "bfloat16", marks=pytest.mark.slow),
    ],
)
def test_a_narrow_precision_names_itself_and_its_error_holds(network, theta, solver, dtype):
    options = {"curvature": "empirical_fisher"} if isinstance(solver, ef.EKFAC) else {}
    wide = ask(network, theta.astype(np.float32).astype(float), solver, **options)
    with jax.enable_x64(False):
        narrow = ask(network.with_dtype(dtype), theta, solver, estimate_error=True, **options)
    assert (narrow.dtype, str(narrow.change.dtype), f"dtype={dtype}" in repr(narrow)) == (dtype, "float32", True)
    assert np.abs(narrow.change - wide.change).max() <= 1.0001 * narrow.error  # both in float64, rounded differently
    # Residuals of 1e-4 of solves by products; roundings of 6e-8 through three layers and two solves of EK-FAC. With
    # operands in bfloat16 residuals of 5 %, and gradients that are off by some 2⁻⁹ in every layer.
    assert 0.0 < narrow.error < (1e-3 if dtype == "float32" else 0.2) * np.abs(wide.change).max()


@pytest.mark.parametrize("solver", [ef.CG, pytest.param(ef.LiSSA, marks=pytest.mark.slow)])
def test_a_tolerance_that_rounding_does_not_admit_ends_and_says_so(network, theta, solver):
    with (
        jax.enable_x64(False),
        pytest.raises(ef.ConvergenceError, match=r"float32 rounds products .* looser rtol") as no,
    ):
        ask(network.with_dtype("float32"), theta, solver(rtol=1e-12))
    assert no.value.result.steps.max() < 1_000 < 10 * network.dim


@pytest.mark.slow
def test_pbrf_without_a_matrix_and_in_chunks_is_that_with_one(network, theta):
    whole, parts = (
        ef.pbrf(network, theta, damping=0.1, matrix=matrix, max_bytes=budget)
        for matrix, budget in ((True, 2**30), (False, BUDGET))
    )
    # ‖∇Q‖ ≤ 1e-9 of the pull, and a Hessian above λ + λ_d = 0.1 where both end.
    np.testing.assert_allclose(parts.theta, whole.theta, rtol=0, atol=1e-7 * np.abs(whole.change).max())
    np.testing.assert_allclose(parts.linearised, whole.linearised, rtol=0, atol=1e-7 * np.abs(whole.change).max())


@pytest.fixture(scope="module")
def small():
    """Well determined: its Hessian at θ_s is positive definite, and retraining has one answer."""
    x = np.random.default_rng(6).standard_normal((40, 3))
    data = ef.Dataset(x, np.sin(x[:, 0]))
    problem = ef.Problem(ef.MLP((3, 4, 1)), ef.SquaredLoss(), data, delete=[1, 5], l2=1.0, reduction="mean")
    return problem, 0.3 * np.asarray(problem.model.init(jax.random.key(1)))


def in_single(ask, problem, theta, **options):
    """The answer in float32 while JAX knows nothing wider."""
    narrow = problem.with_dtype("float32")
    with jax.enable_x64(False):
        found = ask(narrow, theta.astype(np.float32), **options)
    assert found.dtype == "float32"
    assert "dtype=float32" in repr(found)
    return found


def in_double(ask, problem, theta, **options):
    """The same question at the very same θ."""
    return ask(problem, theta.astype(np.float32).astype(float), **options)


def test_pbrf_in_single_precision_is_certified_in_double(network, theta):
    options = {"damping": 0.1, "matrix": False, "max_bytes": BUDGET}
    wide, narrow = (call(ef.pbrf, network, theta, **options) for call in (in_double, in_single))
    assert narrow.gradient_norm <= narrow.tolerance < 1e-8
    assert narrow.linearised_residual < 1e-8
    assert narrow.products > 0
    # Both have gradients below 1e-9 of the pull, and Hessians above λ + λ_d = 0.1.
    np.testing.assert_allclose(narrow.theta, wide.theta, rtol=0, atol=1e-7 * np.abs(wide.change).max())
    np.testing.assert_allclose(narrow.linearised, wide.linearised, rtol=0, atol=1e-7 * np.abs(wide.change).max())


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"matrix": False}, {"matrix": True}, {"matrix": False, "delete_bregman": False}])
def test_pbrf_in_single_precision_in_units_of_the_curvature(small, options):
    wide, narrow = (call(ef.pbrf, *small, damping=1.0, metric="ggn", **options) for call in (in_double, in_single))
    np.testing.assert_allclose(narrow.theta, wide.theta, rtol=0, atol=1e-7 * np.abs(wide.change).max())
    np.testing.assert_allclose(narrow.linearised, wide.linearised, rtol=0, atol=1e-7 * np.abs(wide.change).max())


@pytest.mark.slow
@pytest.mark.parametrize("matrix", [True, False])
def test_decompositions_and_endpoints_in_single_precision_are_those_in_double(small, matrix):
    options = {"damping": 0.1, "theta0": np.zeros(small[0].dim), "matrix": matrix}
    wide, narrow = (call(ef.decompose, *small, solver=ef.CG(), **options) for call in (in_double, in_single))
    assert narrow.converged.all()
    scale = np.abs(wide.thetas[1] - wide.theta).max()
    # The first five as in the test before; the last one has residuals of 1e-4, and says so of float64.
    np.testing.assert_allclose(narrow.thetas[:5], wide.thetas[:5], rtol=0, atol=1e-7 * scale)
    np.testing.assert_allclose(narrow.thetas[5], wide.thetas[5], rtol=0, atol=1e-3 * scale)
    assert (narrow.certificate[5] < 1e-4).all()
    wide, narrow = (call(ef.endpoints, *small, steps=20, K=5, **options) for call in (in_double, in_single))
    assert narrow.converged.all()
    np.testing.assert_allclose(narrow.thetas, wide.thetas, rtol=0, atol=1e-7 * scale)


def test_products_are_in_double_where_a_matrix_spreads_curvatures_beyond_single_precision():
    x = np.random.default_rng(6).standard_normal((20, 2))
    line = ef.FunctionModel(lambda params, point: params @ point + 1e-3 * (params**2).sum(), np.zeros(2))
    problem = ef.Problem(line, ef.SquaredLoss(), ef.Dataset(x, np.sin(x[:, 0])), delete=[1], reduction="mean")
    # G is about I: its rounding in float32, 1e-7, is all of one λ_d and nothing of the other.
    near, far = (
        [ask(ef.pbrf, problem, np.zeros(2), damping=damping) for ask in (in_double, in_single)]
        for damping in (1e-7, 1e-2)
    )
    np.testing.assert_array_equal(near[1].theta, near[0].theta)
    assert (far[1].theta != far[0].theta).any()
    np.testing.assert_allclose(far[1].theta, far[0].theta, rtol=1e-7)  # both to 1e-9 of the pull


@pytest.mark.slow
def test_a_network_without_much_penalty_is_retrained_in_single_precision_as_in_double():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3))
    y = np.tanh(x @ [1.0, -1.0, 0.5]) + 0.1 * rng.standard_normal(40)
    model = ef.MLP((3, 4, 1))
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, y), delete=[3], l2=1e-6, reduction="mean")
    start = np.asarray(model.init(jax.random.key(0)))
    found = in_single(ef.endpoints, problem, start, theta0=start, steps=10, K=5)
    assert found.converged[:2].all()


def test_bfloat16_is_refused_where_damping_would_be_lost(small):
    problem, theta = small
    with pytest.raises(ef.InputError, match=r"products in float32 or float64: .*with_dtype\('float32'\)"):
        ef.pbrf(problem.with_dtype("bfloat16"), theta, damping=0.1)


DEVICES = """
import jax; jax.config.update("jax_enable_x64", True)
import numpy as np, epsflow as ef
x = np.random.default_rng(0).normal(size=(48, 4))
model = ef.MLP((4, 5, 2))
data = ef.Dataset(x, (x[:, 0] > 0).astype(float))
problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), data, delete=[3], l2=0.1, reduction="mean")
theta, eight = np.asarray(model.init(jax.random.key(0))), jax.devices()
assert len(eight) == 8

def same(ask):
    one, several = (np.asarray(ask(devices)) for devices in ((), eight))
    np.testing.assert_allclose(one, several, rtol=1e-9, atol=1e-12)  # sums in another order

given = {"points": [0, 1, 2], "curvature": "ggn", "damping": 0.1}
same(lambda d: ef.influence(problem, theta, solver=ef.EKFAC(), devices=d, **given).change)
same(lambda d: ef.influence(problem, theta, solver=ef.CG(), devices=d, **given).change)
same(lambda d: ef.pbrf(problem, theta, damping=0.1, matrix=False, devices=d).theta)
same(lambda d: problem.point_gradients(theta, np.arange(16), devices=d))
try:
    ef.influence(problem, theta, devices=eight[:5], **given)
except ef.InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_eight_devices_give_the_numbers_of_one():
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run([sys.executable, "-c", DEVICES], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "48 points cannot be spread over 5 devices" in done.stdout
