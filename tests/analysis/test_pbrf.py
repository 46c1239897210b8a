"""The proximal Bregman response: closed forms, an independent minimiser, its linearisation, and what it refuses."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.optimize import minimize

from epsflow._core import RESULTS, ConvergenceError, InputError
from epsflow.analysis._deletions import deletion_sets
from epsflow.analysis._influence import influence
from epsflow.analysis._pbrf import check_objective, pbrf
from epsflow.analysis.curvature import dense
from epsflow.analysis.optima._anchor import anchor_at
from epsflow.analysis.optima._tilted import bregman_response
from epsflow.analysis.optima._trust_region import minimise
from epsflow.problem import (
    MLP,
    Dataset,
    LinearModel,
    LogisticLoss,
    Problem,
    SoftmaxCrossEntropy,
    SquaredLoss,
    linear_regression,
    load_dataset,
)
from reference import leave_out_optimum
from reference_models import leave_one_out, mlp_forward, mlp_gradient, mlp_risk, mlp_size, ols

N, P, WIDTH = 30, 3, 4
DAMPING = 0.05


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(N, P))
    return Dataset(x, np.tanh(x[:, 0]) - 0.5 * x[:, 1] + 0.2 * rng.normal(size=N))


@pytest.fixture(scope="module")
def network(data) -> Problem:
    return Problem(MLP((P, WIDTH, 1)), SquaredLoss(), data, [2, 7], reduction="mean")


@pytest.fixture(scope="module")
def theta_s(network) -> np.ndarray:
    """Anything but an optimum: a random start."""
    return np.asarray(network.model.init(jax.random.key(3)))


@pytest.fixture(scope="module")
def response(network, theta_s):
    return pbrf(network, theta_s, damping=DAMPING)


# --- linear regression, in closed form ---


def test_ordinary_least_squares_without_damping_is_leave_one_out():
    """PBRF(λ_d = 0) = LOO. 1e-12: a condition number of about 20 times rounding, with room."""
    data = load_dataset("diabetes").subsample(60, seed=0)
    response = pbrf(linear_regression(data), ols(data.x, data.y), damping=0.0, points="all")
    np.testing.assert_allclose(response.theta, leave_one_out(data.x, data.y), atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_ridge_regression_at_its_optimum_is_the_leave_out_optimum(data, reduction):
    """The penalty enters by its own Bregman divergence; without that this would fail by O(λ)."""
    problem = linear_regression(data, [2, 7], l2=0.3, reduction=reduction)
    trained = leave_out_optimum(data.x, data.y, [], 0.3, reduction)
    expected = leave_out_optimum(data.x, data.y, [2, 7], 0.3, reduction)
    np.testing.assert_allclose(pbrf(problem, trained, damping=0.0).theta, expected, atol=1e-13)


def test_the_notes_closed_form_for_one_point(data):
    """θ̂ − (XᵀX − xxᵀ + λ_d I)⁻¹ x ê, for each damping of a path."""
    x, y, dampings = data.x, data.y, [0.1, 1.0, 10.0]
    trained, e = ols(x, y), y[4] - x[4] @ ols(x, y)
    path = pbrf(linear_regression(data, 4), trained, damping=dampings)
    for theta, damping in zip(path.theta, dampings, strict=True):
        matrix = x.T @ x - np.outer(x[4], x[4]) + damping * np.eye(P)
        np.testing.assert_allclose(theta, trained - np.linalg.solve(matrix, x[4] * e), atol=1e-14)
    assert (np.diff(np.linalg.norm(path.change, axis=1)) < 0.0).all(), "more damping, less movement"


def test_without_the_deleted_bregman_term_its_point_counts_twice(data):
    """Σ_{i≠j} D_i − ℓ_j has Hessian XᵀX − 2xxᵀ for the squared loss, and its linearisation XᵀX − xxᵀ."""
    x, y = data.x, data.y
    trained = ols(x, y)
    response = pbrf(linear_regression(data, 4), trained, damping=1.0, delete_bregman=False)
    force, square = x[4] * (x[4] @ trained - y[4]), np.outer(x[4], x[4])
    matrix = x.T @ x + np.eye(P)
    np.testing.assert_allclose(response.change, np.linalg.solve(matrix - 2.0 * square, force), atol=1e-14)
    np.testing.assert_allclose(response.linearised, trained + np.linalg.solve(matrix - square, force), atol=1e-14)


def test_in_the_metric_of_the_gauss_newton_diagonal(data):
    """(XᵀX − xxᵀ + λ_d diag XᵀX)Δ = xe, the damping of Marquardt."""
    x, y = data.x, data.y
    trained = ols(x, y)
    response = pbrf(linear_regression(data, 4), trained, damping=[0.1, 1.0], metric="ggn")
    force, gram = x[4] * (x[4] @ trained - y[4]), x.T @ x
    for change, damping in zip(response.change, (0.1, 1.0), strict=True):
        matrix = gram - np.outer(x[4], x[4]) + damping * np.diag(np.diagonal(gram))
        np.testing.assert_allclose(change, np.linalg.solve(matrix, force), atol=1e-14)


# --- linear models under other losses, side by side ---


@pytest.fixture(scope="module")
def classes(data) -> Problem:
    labels = np.digitize(data.y, np.quantile(data.y, [0.3, 0.6])).astype(float)
    return Problem(LinearModel(P, 3), SoftmaxCrossEntropy(), Dataset(data.x, labels), l2=0.05, reduction="mean")


def test_side_by_side_is_the_search_without_a_matrix(data, classes):
    """Two algorithms; both end at ‖∇Q‖ ≤ 1e-9·‖Σg‖, within that over λ + λ_d of the minimum. Groups of two, too."""
    binary = Problem(LinearModel(P), LogisticLoss(), Dataset(data.x, (data.y > 0.0) * 1.0), l2=0.05)
    for problem, theta in ((binary, np.array([0.5, -0.2, 0.1])), (classes, np.linspace(-1.0, 1.0, 3 * P))):
        for points in ([0, 3, 8], [[0, 1], [4, 9]]):
            found = pbrf(problem, theta, damping=0.05, points=points)
            other = pbrf(problem, theta, damping=0.05, points=points, matrix=False)
            room = 10.0 * (found.tolerance + other.tolerance).max()
            np.testing.assert_allclose(found.change, other.change, atol=2.0 * room)
            np.testing.assert_allclose(found.linearised, other.linearised, atol=2.0 * room)
            np.testing.assert_allclose(found.value, other.value, rtol=1e-9)
            assert not found.products.any()
            assert (other.products > 0).all()


def test_what_does_not_contract_is_searched_on(classes):
    """One step is not enough for any of them: the search by trust regions takes over, and its limit is an error."""
    with pytest.raises(ConvergenceError, match="PBRF minimisations failed"):
        pbrf(classes, np.zeros(classes.dim), damping=1e-3, points=[0, 3], max_steps=1)


# --- the objective ---


@pytest.mark.parametrize("delete_bregman", [True, False])
def test_the_objective_is_the_one_in_the_paper(network, theta_s, delete_bregman):
    """For the squared loss D_i(a, b) = ½(a − b)²; Q is compared through the reference's own forward pass."""
    x, y, c, theta = network.data.x, network.data.y, network.scale, theta_s + 0.3
    deleted = np.array([2, 7])
    anchor = anchor_at(network, theta_s)
    objective = bregman_response(anchor, np.asarray(deleted), 0.7, delete_bregman=delete_bregman)
    f, f_s = mlp_forward(theta, x, WIDTH), mlp_forward(theta_s, x, WIDTH)
    bregman = 0.5 * (f - f_s) ** 2
    kept = np.arange(N) if delete_bregman else np.delete(np.arange(N), deleted)
    losses = 0.5 * (f - y) ** 2 - 0.5 * (f_s - y) ** 2
    expected = c * bregman[kept].sum() - c * losses[deleted].sum() + 0.35 * ((theta - theta_s) ** 2).sum()
    # Sums of 30 terms of order one.
    assert objective.value_and_gradient(theta - theta_s)[0] == pytest.approx(expected, abs=1e-14)


def test_it_is_the_minimum_that_an_independent_minimiser_finds(network, theta_s, response):
    """SciPy's trust-exact, with gradients by hand: the PBRF is a fit to f(θ_s), pulled by the deleted points."""
    x, y, c = network.data.x, network.data.y, network.scale
    f_s, one = mlp_forward(theta_s, x, WIDTH), np.zeros(N)
    one[[2, 7]] = c

    def value(theta):
        proximal = 0.5 * DAMPING * ((theta - theta_s) ** 2).sum()
        return mlp_risk(theta, x, f_s, np.full(N, c), WIDTH) - mlp_risk(theta, x, y, one, WIDTH) + proximal

    def gradient(theta):
        fit = mlp_gradient(theta, x, f_s, np.full(N, c), WIDTH)
        return fit - mlp_gradient(theta, x, y, one, WIDTH) + DAMPING * (theta - theta_s)

    found = minimize(value, theta_s, jac=gradient, method="BFGS", options={"gtol": 1e-9, "maxiter": 2_000})
    assert len(theta_s) == mlp_size(WIDTH, P)
    # ‖θ − θ̂‖ ≤ ‖∇‖/λ_min with λ_min near the damping: 1e-9·√d/0.05.
    theta = np.asarray(response.theta)
    np.testing.assert_allclose(theta, found.x, atol=1e-7)
    assert float(response.gradient_norm) == pytest.approx(np.linalg.norm(gradient(theta)), abs=1e-14)
    assert float(response.value) == pytest.approx(value(theta) - value(theta_s), abs=1e-14)


def test_the_certificate_is_met(response):
    assert bool(response.result == RESULTS.successful)
    assert float(response.gradient_norm) <= float(response.tolerance) <= 1e-9
    assert float(response.value) < 0.0


# --- the linearisation ---


@pytest.mark.parametrize("l2", [0.0, 0.2])
def test_its_linearisation_is_the_damped_gauss_newton_influence(data, network, theta_s, l2):
    problem = Problem(network.model, network.loss, data, [2, 7], l2=l2, reduction="mean")
    linear = pbrf(problem, theta_s, damping=DAMPING)
    expected = influence(problem, theta=theta_s, curvature="ggn", damping=DAMPING).change
    # Two factorisations of a matrix with condition number about 1e3.
    np.testing.assert_allclose(linear.linearised - theta_s, expected, rtol=1e-10, atol=1e-13)
    assert float(linear.linearised_residual) < 1e-13


def test_its_linearisation_is_its_derivative_in_the_weight(network, theta_s, response):
    """r(ε) = argmin 𝓛 − ε Σ cℓ_j + prox has r'(0)·1 = linearised − θ_s; D_j − εℓ_j is a loss of weight 1 − ε."""
    anchor = anchor_at(network, theta_s)
    base = bregman_response(anchor, network.delete, DAMPING, delete_bregman=True)
    h = 1e-3

    def shift(eps):
        weights = base.weights.copy()
        weights[network.delete] = 1.0 - eps
        start = np.zeros_like(theta_s)
        return minimise(replace(base, weights=weights), anchor.basis, base.rho, start, tol=1e-12, max_steps=100).shift

    derivative = (shift(h) - shift(-h)) / (2.0 * h)
    # Central difference: O(h²) = 1e-6 times a third derivative of the order of the change.
    np.testing.assert_allclose(derivative, response.linearised - theta_s, atol=1e-6)


@pytest.mark.slow  # another program to compile
# JAX 0.10 deprecates one_hot of float labels, which is how SoftmaxCrossEntropy reads them.
def test_several_outputs(data):
    """Softmax with three classes, where ∇²_fℓ is a singular matrix."""
    labels = np.digitize(data.y, [-0.5, 0.5]).astype(float)
    problem = Problem(MLP((P, 2, 3)), SoftmaxCrossEntropy(), Dataset(data.x, labels), [2, 7])
    theta = problem.model.init(jax.random.key(0))
    response = pbrf(problem, theta, damping=0.5)
    expected = influence(problem, theta=theta, curvature="ggn", damping=0.5, solver="cholesky").change
    np.testing.assert_allclose(response.linearised - theta, expected, rtol=1e-9, atol=1e-12)
    assert float(response.gradient_norm) <= 1e-9


def test_the_dual_and_the_matrix_give_the_same_preconditioner(data, theta_s, network):
    """With fewer outputs than parameters G comes from its dual: (G + ρ)^-½ must be the same operator."""
    few = Problem(network.model, network.loss, Dataset(data.x[:9], data.y[:9]), 0, reduction="mean")
    anchor = anchor_at(few, theta_s)
    assert anchor.basis.vectors.shape == (network.dim, 9)
    values, vectors = np.linalg.eigh(dense(anchor.curvature))
    vector = np.cos(np.arange(network.dim))
    expected = vectors @ ((vectors.T @ vector) / np.sqrt(np.maximum(values, 0.0) + DAMPING))
    # √ halves the digits of eigenvalues that are zero: rounding 1e-16 beside 0.05.
    np.testing.assert_allclose(anchor.basis.power(vector, DAMPING, -0.5), expected, atol=1e-12)


# --- many at once ---


@pytest.mark.slow  # another program to compile
def test_no_matrix_is_needed(network, theta_s, response):
    free = pbrf(network, theta_s, damping=DAMPING, matrix=False)
    np.testing.assert_allclose(free.theta, response.theta, atol=1e-8)
    np.testing.assert_allclose(free.linearised, response.linearised, atol=1e-10)


def test_many_dampings_and_points_in_one_call_are_the_single_calls(network, theta_s):
    points, dampings = [2, 11, 4], [DAMPING, 0.5]
    found = pbrf(network, theta_s, damping=dampings, points=points)
    assert found.theta.shape == (2, 3, network.dim)
    for k, damping in enumerate(dampings):
        for q, point in enumerate(points):
            alone = pbrf(
                Problem(network.model, network.loss, network.data, point, reduction="mean"), theta_s, damping=damping
            )
            np.testing.assert_array_equal(found.theta[k, q], alone.theta)
            np.testing.assert_array_equal(found.linearised[k, q], alone.linearised)
    assert len(found.to_pandas()) == 6


@pytest.fixture(scope="module")
def diabetes_network():
    """10-32-1 on diabetes after twenty steps of gradient descent: far from an optimum."""
    problem = Problem(MLP((10, 32, 1)), SquaredLoss(), load_dataset("diabetes"), reduction="mean")
    theta = problem.model.init(jax.random.key(0))
    for _ in range(20):
        theta = theta - 0.2 * problem.gradient(theta)
    return problem, theta


def test_the_ggn_metric_knows_no_units_of_features(network, theta_s):
    """x·a and W₀/a are the same network. Both end at 1e-9·‖Σg‖ where the curvature is at least 1."""
    a = np.array([1e-6, 1.0, 1e3])
    data = Dataset(network.data.x * a, network.data.y)
    other = Problem(network.model, SquaredLoss(), data, network.delete, reduction="mean")

    def into(theta, factor):
        first = theta[: WIDTH * P].reshape(WIDTH, P) * factor
        return np.append(first.ravel(), theta[WIDTH * P :])

    one = pbrf(network, theta_s, damping=0.1, metric="ggn")
    two = pbrf(other, into(theta_s, 1.0 / a), damping=0.1, metric="ggn")
    np.testing.assert_allclose(into(two.change, a), one.change, atol=1e-8 * np.abs(one.change).max())
    plain = pbrf(other, into(theta_s, 1.0 / a), damping=0.1).change
    assert np.abs(into(plain, a) - one.change).max() > 0.1 * np.abs(one.change).max(), "the other metric knows them"


def test_twenty_points_of_the_diabetes_network(diabetes_network):
    """385 parameters; every response certified to ‖∇Q‖ ≤ 1e-9 in one call."""
    problem, theta = diabetes_network
    response = pbrf(problem, theta, damping=1e-2, points=range(20))
    assert (np.asarray(response.gradient_norm) <= 1e-9).all()
    assert response.theta.shape == (20, 385)
    # The response is nonlinear, but its linearisation points the same way.
    change, line = np.asarray(response.change), np.asarray(response.linearised - theta)
    cosines = (change * line).sum(axis=1) / np.linalg.norm(change, axis=1) / np.linalg.norm(line, axis=1)
    assert cosines.min() > 0.9


def test_a_second_call_compiles_nothing(network, theta_s, response):
    compiled = []

    def listen(event: str, *_: object, **__: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        pbrf(network, theta_s + 0.1, damping=2.0 * DAMPING)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert compiled == []


# --- what it refuses ---


def test_too_few_steps_are_an_error_that_carries_the_result(network, theta_s):
    with pytest.raises(ConvergenceError, match="1 of 1 PBRF minimisations failed") as caught:
        pbrf(network, theta_s, damping=DAMPING, max_steps=1)
    assert float(caught.value.result.gradient_norm) > 1e-9
    kept = pbrf(network, theta_s, damping=DAMPING, max_steps=1, throw=False)
    assert bool(kept.result == RESULTS.not_stationary)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"damping": -0.1}, "λ_d must be ≥ 0"),
        ({"damping": np.nan}, "finite number"),
        ({"damping": 0.0}, "singular at θ_s: the least eigenvalue .* Give a damping > 0"),
        ({"points": [N]}, f"numbered 0 to {N - 1}"),
        ({"points": []}, "needed"),
    ],
)
def test_bad_input(network, theta_s, options, words):
    with pytest.raises(InputError, match=words):
        pbrf(network, theta_s, **{"damping": DAMPING, **options})


def test_a_word_that_is_not_all(network):
    with pytest.raises(InputError, match="points must be 'all'"):
        deletion_sets(network, "some")


def test_bad_parameters(network, theta_s):
    with pytest.raises(InputError, match=r"theta has shape \(3,\)"):
        pbrf(network, np.zeros(3), damping=DAMPING)
    with pytest.raises(InputError, match=r"theta\[0\] is nan"):
        pbrf(network, np.full(network.dim, np.nan), damping=DAMPING)


def test_no_deletion(data, theta_s):
    with pytest.raises(InputError, match="deletes no point"):
        pbrf(Problem(MLP((P, WIDTH, 1)), SquaredLoss(), data), theta_s, damping=DAMPING)


def test_an_objective_without_a_minimum_says_what_damping_would_do(data):
    """Without its Bregman term a high-leverage point makes XᵀX − 2xxᵀ indefinite."""
    outlier = Dataset(np.vstack([data.x, 50.0 * np.ones(P)]), np.append(data.y, 1.0))
    problem = linear_regression(outlier, N)
    with pytest.raises(InputError, match=r"least eigenvalue of its Hessian is -.* Damping above"):
        pbrf(problem, np.zeros(P), damping=1.0, delete_bregman=False)
    assert bool(pbrf(problem, np.zeros(P), damping=1.0).result == RESULTS.successful)


def test_logistic_regression_needs_no_damping(data):
    """Linear in θ with a positive definite Gauss–Newton matrix: λ_d = 0 is allowed."""
    problem = Problem(LinearModel(P), LogisticLoss(), Dataset(data.x, data.y > 0.0), [2, 7], l2=0.1)
    assert check_objective(anchor_at(problem, np.zeros(P)), 0.0) == 0.0


def test_a_gauss_newton_matrix_that_would_not_fit_is_refused(monkeypatch, network, theta_s):
    monkeypatch.setattr("epsflow.analysis.curvature._curvature.DENSE_LIMIT", 10)
    with pytest.raises(InputError, match="matrix=False needs none"):
        pbrf(network, theta_s, damping=DAMPING)
    assert anchor_at(network, theta_s, matrix=False).basis.values.size == 0
