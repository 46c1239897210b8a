"""The four curvatures against formulas by hand; every solver against NumPy; what a solver must refuse."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from epsflow import _core
from epsflow.analysis.curvature import (
    CG,
    EKFAC,
    Cholesky,
    Curvature,
    Dual,
    LiSSA,
    Nystrom,
    curvature_at,
    products,
    solve,
)
from epsflow.problem import (
    MLP,
    AbstractLoss,
    Dataset,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
    linear_regression,
)
from reference_models import logistic_hessian, sigmoid

KINDS = ("hessian", "ggn", "fisher", "empirical_fisher")
# Compiled: operation by operation they take longer.
compiled = eqx.filter_jit(lambda curvature: curvature.matrix())


def dense(curvature) -> np.ndarray:
    """The matrix as the class itself forms it."""
    return np.asarray(compiled(curvature) if isinstance(curvature, Curvature) else curvature.matrix())


def product(curvature, vector) -> np.ndarray:
    return products(curvature, np.asarray(vector)[None])[0]


SOLVERS = {
    "cholesky": Cholesky(),
    "cg": CG(),
    "dual": Dual(),
    "lissa": LiSSA(scale=10.0),
    "nystrom": Nystrom(rank=4, key=jax.random.key(3)),
    "ekfac": EKFAC(),
}


def logistic_problem(**options) -> Problem:
    rng = np.random.default_rng(1)
    data = Dataset(rng.normal(size=(25, 6)), (rng.random(25) < 0.5).astype(float))
    return Problem(LinearModel(6), LogisticLoss(), data, delete=[2, 7], l2=0.3, **options)


def network_problem(n: int = 9, **options) -> Problem:
    """26 parameters, and 2 outputs for each of 9 points: fewer outputs than parameters."""
    rng = np.random.default_rng(2)
    data = Dataset(rng.normal(size=(n, 3)), rng.integers(0, 2, size=n))
    return Problem(MLP((3, 4, 2)), SoftmaxCrossEntropy(), data, delete=[4], l2=0.05, **options)


@pytest.fixture(scope="module")
def network() -> Curvature:
    """The damped Fisher matrix of the network at random parameters."""
    problem = network_problem()
    return curvature_at(problem, problem.model.init(jax.random.key(0)), "fisher", damping=0.25)


@pytest.fixture(scope="module")
def rhs() -> jax.Array:
    """31 right-hand sides for 26 parameters; one of them is zero."""
    vectors = np.random.default_rng(3).normal(size=(31, 26))
    vectors[5] = 0.0
    return jnp.asarray(vectors)


# --- the matrices ---


@pytest.mark.parametrize("kind", KINDS)
def test_logistic_curvatures_by_hand(kind):
    problem = logistic_problem(reduction="mean")
    x, y, theta = problem.data.x, problem.data.y, np.linspace(-1.0, 1.0, 6)
    p, weights = sigmoid(x @ theta), np.full(25, 1 / 25)
    weights[[2, 7]] *= 0.5
    if kind == "empirical_fisher":
        expected = (x.T * (weights * (p - y) ** 2)) @ x + 0.3 * np.eye(6)
    else:  # linear in θ and canonical: these three coincide
        expected = logistic_hessian(theta, x, weights, 0.3)
    matrix = curvature_at(problem, theta, kind, damping=0.7, eps=0.5)
    # Sums of 25 products of order one: rounding only.
    np.testing.assert_allclose(dense(matrix), expected + 0.7 * np.eye(6), rtol=1e-13)
    np.testing.assert_allclose(products(matrix, np.eye(6)), dense(matrix), atol=1e-14)


@pytest.mark.parametrize("kind", ["hessian", "ggn", "empirical_fisher"])
def test_network_curvatures_do_not_depend_on_the_chunk_size(kind):
    vector = jnp.linspace(-1.0, 1.0, 26)
    theta = network_problem().model.init(jax.random.key(0))
    whole, chunked = (curvature_at(network_problem(chunk_rows=rows), theta, kind) for rows in (9, 4))
    # The order of nine summands changes: rounding only.
    np.testing.assert_allclose(product(chunked, vector), product(whole, vector), atol=1e-14)
    np.testing.assert_allclose(dense(chunked) @ vector, product(whole, vector), atol=1e-13)


def test_fisher_is_the_explicit_average_over_labels():
    problem = network_problem()
    theta = problem.model.init(jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda t, x, y: problem.loss(problem.model(t, x), y)))
    expected = problem.l2 * np.eye(26)
    for point in jnp.asarray(problem.data.x):
        p = np.asarray(jax.nn.softmax(problem.model(theta, point)))
        for label in (0, 1):
            g = np.asarray(gradient(theta, point, jnp.asarray(float(label))))
            expected += p[label] * np.outer(g, g)
    for kind in ("fisher", "ggn"):
        np.testing.assert_allclose(dense(curvature_at(problem, theta, kind)), expected, atol=1e-13)
    vector = jnp.linspace(0.0, 1.0, 26)
    np.testing.assert_allclose(problem.ggn_product(theta, vector), expected @ vector, atol=1e-13)


def test_pseudo_huber_fisher_is_a_constant_and_not_the_gauss_newton_matrix():
    rng = np.random.default_rng(0)
    data = Dataset(rng.normal(size=(8, 2)), 3.0 * rng.normal(size=8))
    problem = Problem(LinearModel(2), PseudoHuberLoss(0.6), data)

    def rho(r):
        return 0.36 * (np.sqrt(1 + (r / 0.6) ** 2) - 1)

    def slope(r):
        return r / np.sqrt(1 + (r / 0.6) ** 2)

    # E[ρ'(r)²] under the density ∝ e^{−ρ(r)}: by quadrature of the definition, where the code integrates E[ρ''].
    mass = quad(lambda r: np.exp(-rho(r)), -np.inf, np.inf, epsabs=1e-13)[0]
    information = quad(lambda r: slope(r) ** 2 * np.exp(-rho(r)), -np.inf, np.inf, epsabs=1e-13)[0] / mass
    fisher = dense(curvature_at(problem, np.ones(2), "fisher"))
    np.testing.assert_allclose(fisher, information * data.x.T @ data.x, rtol=1e-9)  # the quadrature's own accuracy
    residual = data.x.sum(axis=1) - data.y
    ggn = (data.x.T * (1 + (residual / 0.6) ** 2) ** -1.5) @ data.x
    np.testing.assert_allclose(dense(curvature_at(problem, np.ones(2), "ggn")), ggn, rtol=1e-13)


def test_linear_regression_uses_its_sufficient_statistics_for_the_same_matrix(rng):
    data = Dataset(rng.normal(size=(12, 3)), rng.normal(size=12))
    problem = linear_regression(data, delete=[1], l2=0.2)
    for kind in KINDS:
        exact = dense(curvature_at(problem, np.ones(3), kind, eps=0.0))
        summed = dense(curvature_at(problem, np.ones(3), kind, eps=0.0))
        np.testing.assert_allclose(exact, summed, rtol=1e-13)
    without = dense(curvature_at(problem, np.ones(3), "ggn", penalty=False, eps=0.0))
    kept = np.delete(data.x, 1, axis=0)
    np.testing.assert_allclose(without, kept.T @ kept, rtol=1e-12)


# --- the solvers ---


@pytest.mark.parametrize("name", SOLVERS)
def test_the_residual_reported_is_the_true_one(name, network, rhs):
    answer = solve(network, rhs, SOLVERS[name])
    matrix = np.asarray(dense(network))
    gaps = np.linalg.norm(answer.solution @ matrix - rhs, axis=1)
    sizes = np.where(np.linalg.norm(rhs, axis=1) > 0.0, np.linalg.norm(rhs, axis=1), 1.0)
    assert answer.solver == name
    np.testing.assert_allclose(answer.residual, gaps / sizes, rtol=1e-6, atol=1e-14)
    assert np.isfinite(answer.solution).all()
    np.testing.assert_array_equal(answer.solution[5], 0.0)


@pytest.mark.parametrize(("name", "tolerance"), [("cholesky", 1e-12), ("dual", 1e-12), ("cg", 1e-9), ("lissa", 1e-7)])
def test_exact_solvers_agree_with_numpy_for_more_right_hand_sides_than_parameters(name, tolerance, network, rhs):
    # Errors are at most (condition number ≈ 10) × residual: rounding, rtol = 1e-10, rtol = 1e-8.
    answer = solve(network, rhs, SOLVERS[name])
    expected = np.linalg.solve(np.asarray(dense(network)), np.asarray(rhs).T).T
    np.testing.assert_allclose(answer.solution, expected, atol=tolerance * np.abs(expected).max())
    assert answer.converged


def test_each_column_of_cg_stops_by_itself_and_stays_where_it_stopped(network, rhs):
    values, vectors = np.linalg.eigh(np.asarray(dense(network)))
    easy = jnp.asarray(vectors[:, -1])  # an eigenvector: exact after one step, where α = 0/0 in the next
    answer = solve(network, rhs.at[0].set(easy), CG())
    assert answer.steps[0] <= 2
    assert answer.steps[1] > 5
    np.testing.assert_allclose(answer.solution[0], easy / values[-1], rtol=1e-9, atol=1e-12)
    assert np.isfinite(answer.solution).all()
    np.testing.assert_array_equal(answer.solution[1:], solve(network, rhs, CG()).solution[1:])


def test_cg_does_not_depend_on_the_unit_of_the_loss():
    tiny = Problem(LinearModel(2), SquaredLoss(), Dataset(1e-8 * np.eye(2), np.ones(2)))  # C = 1e-16 I
    answer = solve(curvature_at(tiny, np.zeros(2)), jnp.array([[1.0, 2.0]]), CG())
    np.testing.assert_allclose(answer.solution, [[1e16, 2e16]], rtol=1e-10)


def test_unconverged_cg_is_an_error_unless_asked_for(network, rhs):
    with pytest.raises(
        _core.ConvergenceError, match=r"cg: 30 of 31 right-hand sides did not converge.*at most 2 steps"
    ) as error:
        solve(network, rhs, CG(max_steps=2))
    kept = solve(network, rhs, CG(max_steps=2), throw=False)
    np.testing.assert_array_equal(kept.solution, error.value.result.solution)
    assert not kept.converged
    assert np.flatnonzero(kept.result == _core.RESULTS.successful).tolist() == [5]  # the zero right-hand side


def test_cholesky_names_the_least_eigenvalue_and_a_damping_that_works():
    problem = network_problem()
    theta = 3.0 * problem.model.init(jax.random.key(1))
    hessian = curvature_at(problem, theta, "hessian")
    least = np.linalg.eigvalsh(dense(hessian))[0]
    assert least < 0.0
    with pytest.raises(_core.InputError, match=f"indefinite: its least eigenvalue is {least:.3g}".replace("+", r"\+")):
        solve(hessian, jnp.ones((1, 26)), "cholesky")
    damped = curvature_at(problem, theta, "hessian", damping=-1.1 * least)  # what the message proposes
    assert solve(damped, jnp.ones((1, 26)), "cholesky").converged


def test_singular_curvature_is_refused(rng):
    x = rng.normal(size=(12, 2))
    problem = linear_regression(Dataset(np.hstack([x, x[:, :1]]), rng.normal(size=12)))
    with pytest.raises(_core.InputError, match=r"singular: its least eigenvalue is .*damping=.* limits the condition"):
        solve(curvature_at(problem, np.zeros(3)), jnp.ones((1, 3)))


def test_cg_sees_an_indefinite_matrix_along_a_direction():
    saddle = FunctionModel(lambda w, x: x[0] * (w[0] ** 2 - w[1] ** 2), jnp.zeros(2))
    problem = Problem(saddle, SquaredLoss(), Dataset(np.ones((1, 1)), -np.ones(1)))
    with pytest.raises(_core.InputError, match="indefinite: along a direction of the search its curvature is -2"):
        solve(curvature_at(problem, np.zeros(2)), jnp.array([[0.0, 1.0]]), "cg")


def test_the_dual_needs_a_factor_and_a_ridge():
    problem = logistic_problem()
    with pytest.raises(_core.InputError, match="which a Hessian does not have"):
        solve(curvature_at(problem, np.zeros(6)), jnp.ones((1, 6)), "dual")
    bare = curvature_at(problem, np.zeros(6), "ggn", penalty=False)
    with pytest.raises(_core.InputError, match="divides by λ \\+ λ_d"):
        solve(bare, jnp.ones((1, 6)), "dual")


def test_the_dual_keeps_its_digits_when_the_ridge_is_small(network, rhs):
    problem = network_problem()
    faint = curvature_at(problem, network.theta, "fisher", penalty=False, damping=1e-8)
    # v − Bᵀ(...) cancels eight of sixteen digits; refinement leaves residuals near rounding × condition number.
    assert float(solve(faint, rhs, "dual").residual.max()) < 1e-7


def test_auto_chooses_by_size(network, rhs):
    assert solve(network, rhs).solver == "dual"  # 18 outputs, 26 parameters
    assert solve(curvature_at(logistic_problem(), np.zeros(6), "ggn"), jnp.ones((1, 6))).solver == "cholesky"


# --- LiSSA ---


def test_lissa_damps_inside_the_recursion(network, rhs):
    data_part = np.asarray(dense(network)) - 0.25 * np.eye(26)
    right = np.linalg.solve(data_part + 0.25 * np.eye(26), np.asarray(rhs).T).T
    elsewhere = np.linalg.solve(data_part + 10.0 * 0.25 * np.eye(26), np.asarray(rhs).T).T  # damping × scale
    found = np.asarray(solve(network, rhs, LiSSA(scale=10.0)).solution)
    assert np.abs(found - right).max() < 1e-6 * np.abs(right).max()  # rtol 1e-8 × condition number
    assert np.abs(found - elsewhere).max() > 0.1 * np.abs(right).max()


def test_lissa_stops_early_when_it_diverges_and_names_a_scale_that_works(network, rhs):
    largest = np.linalg.eigvalsh(np.asarray(dense(network)))[-1]
    with pytest.raises(_core.ConvergenceError, match=f"use scale={1.1 * largest:.3g}") as error:
        solve(network, rhs, LiSSA(scale=0.2 * largest))
    assert int(error.value.result.steps.max()) < 20  # of 10,000
    assert solve(network, rhs, LiSSA(scale=1.1 * largest)).converged


def test_lissa_says_when_no_scale_can_work():
    problem = network_problem()
    hessian = curvature_at(problem, 3.0 * problem.model.init(jax.random.key(1)), "hessian")
    with pytest.raises(_core.ConvergenceError, match="diverges, and at every scale"):
        solve(hessian, jnp.ones((1, 26)), LiSSA())


def test_lissa_in_batches_is_seeded_and_keeps_only_sampling_error(network, rhs):
    sampled = LiSSA(batch=6, key=jax.random.key(0), steps=2000, rtol=0.1)
    first, again = solve(network, rhs, sampled), solve(network, rhs, sampled)
    np.testing.assert_array_equal(first.solution, again.solution)
    # The mean of 1,000 iterates, each with a relative noise of order one over a correlation time of about ten steps.
    assert 1e-6 < float(first.residual.max()) < 0.1


# --- low rank ---


def test_nystrom_is_exact_at_full_rank_and_at_the_rank_of_the_data(network, rhs):
    for rank in (26, 9):  # d, and (classes − 1) × points, the rank of the data part
        answer = solve(network, rhs, Nystrom(rank=rank))
        # The shift that keeps its Cholesky factor is √d·u·‖C‖.
        assert float(answer.residual.max()) < 1e-12
    assert 1e-3 < float(solve(network, rhs, SOLVERS["nystrom"]).residual.max()) < 1.0


def test_nystrom_works_without_a_ridge_at_full_rank():
    bare = curvature_at(logistic_problem(), np.zeros(6), "ggn", penalty=False)
    assert float(solve(bare, jnp.eye(6), Nystrom(rank=6)).residual.max()) < 1e-12
    with pytest.raises(_core.InputError, match="divides by λ"):
        solve(bare, jnp.eye(6), Nystrom(rank=5))
    with pytest.raises(_core.InputError, match="exceeds the number of parameters, 6"):
        solve(bare, jnp.eye(6), Nystrom(rank=7))


def test_an_approximation_fails_only_by_its_own_criterion(network, rhs):
    assert solve(network, rhs, SOLVERS["nystrom"]).converged
    with pytest.raises(_core.ConvergenceError, match=r"nystrom: .* rank 4 of 26"):
        solve(network, rhs, Nystrom(rank=4, key=jax.random.key(3), rtol=1e-3))


# --- bad input ---


class SineLoss(AbstractLoss):
    """A loss that is not convex and not a likelihood."""

    convex = False

    def __call__(self, output, target):
        return jnp.sum(jnp.sin(output - target) ** 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "jacobian"}, "unknown curvature 'jacobian'"),
        ({"damping": -1.0}, "damping is -1"),
        ({"theta": np.full(6, np.nan)}, r"theta\[0\] is nan"),
        ({"theta": np.zeros(5)}, r"shape \(6,\)"),
    ],
)
def test_curvature_refuses(options, words):
    with pytest.raises(_core.InputError, match=words):
        curvature_at(logistic_problem(), **{"theta": np.zeros(6), **options})


def test_curvatures_refuse_losses_for_which_they_are_not_defined():
    problem = Problem(LinearModel(2), SineLoss(), Dataset(np.eye(2), np.zeros(2)))
    with pytest.raises(_core.InputError, match="not convex in the model's output"):
        curvature_at(problem, np.zeros(2), "ggn")
    with pytest.raises(_core.InputError, match="does not say from which distribution"):
        curvature_at(problem, np.zeros(2), "fisher")


def test_a_dense_matrix_that_would_not_fit_is_refused():
    wide = Problem(LinearModel(9000), LogisticLoss(), Dataset(np.ones((2, 9000)), np.array([0.0, 1.0])), l2=1.0)
    matrix = curvature_at(wide, np.zeros(9000))
    with pytest.raises(_core.InputError, match=r"9,000 × 9,000, 0.6 GB.*solver=\"cg\""):
        solve(matrix, jnp.ones((1, 9000)), "cholesky")
    assert solve(matrix, jnp.ones((1, 9000))).solver == "cg"


def test_solvers_refuse_bad_options_and_right_hand_sides(network):
    with pytest.raises(_core.InputError, match="unknown solver 'lu'"):
        solve(network, jnp.ones((1, 26)), "lu")
    with pytest.raises(_core.InputError, match="right-hand side 1 of the solve contains NaN"):
        solve(network, jnp.ones((2, 26)).at[1, 0].set(jnp.nan), "cholesky")
    for make in (
        lambda: CG(rtol=0.0),
        lambda: CG(max_steps=0),
        lambda: LiSSA(scale=-1.0),
        lambda: LiSSA(steps=0),
        lambda: LiSSA(batch=3),
        lambda: Nystrom(rank=0),
        lambda: EKFAC(samples=2),
        lambda: EKFAC(rtol=-1.0),
    ):
        with pytest.raises(_core.InputError):
            make()
