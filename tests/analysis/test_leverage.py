"""Leverage diagnostics: against refitting, against statsmodels, and their identities."""

import numpy as np
import pytest

import epsflow.analysis.optima._leverage as module
import reference_models as reference
from epsflow._core import InputError
from epsflow.analysis import leverage
from epsflow.problem import Dataset, LinearModel, LogisticLoss, Problem, linear_regression, load_dataset

# Twelve points and three features of order one: everything below is O(1) and loses a few bits only.
EXACT = {"rtol": 1e-12, "atol": 1e-12}


@pytest.fixture
def data(rng) -> Dataset:
    x = rng.normal(size=(12, 3))
    return Dataset(x, x @ np.array([1.0, -2.0, 0.5]) + rng.normal(size=12))


def ridge(x: np.ndarray, y: np.ndarray, kappa: float) -> np.ndarray:
    """Minimiser of |X theta - y|^2 + kappa |theta|^2, as least squares with extra rows."""
    rows = np.vstack([x, np.sqrt(kappa) * np.eye(x.shape[1])])
    return np.linalg.lstsq(rows, np.append(y, np.zeros(x.shape[1])), rcond=None)[0]


def test_ols_diagnostics_are_their_definitions_by_refitting(data):
    found = leverage(linear_regression(data))
    x, y = data.x, data.y
    internal, external = reference.studentised_residuals(x, y)
    np.testing.assert_allclose(found.theta, reference.ols(x, y), **EXACT)
    np.testing.assert_allclose(found.leverages, reference.leverage(x), **EXACT)
    np.testing.assert_allclose(found.change, reference.leave_one_out(x, y) - reference.ols(x, y), **EXACT)
    np.testing.assert_allclose(found.cooks_distance, reference.cooks_distance(x, y), **EXACT)
    np.testing.assert_allclose(found.studentised_residuals, internal, **EXACT)
    np.testing.assert_allclose(found.external_residuals, external, **EXACT)
    np.testing.assert_allclose(found.dffits, reference.dffits(x, y), **EXACT)
    assert found.determined.all()


def test_identities_of_the_projection(data):
    found = leverage(linear_regression(data))
    assert found.leverages.sum() == pytest.approx(3.0, rel=1e-14)
    assert found.degrees_of_freedom == 3.0
    np.testing.assert_allclose(data.x.T @ found.residuals, 0.0, atol=1e-13)
    # DFFITS is the change of the point's own prediction, DFBETAS that of each coefficient, in units of s_(i).
    own = np.einsum("id,id->i", data.x, -found.change)
    np.testing.assert_allclose(found.dffits, own / np.sqrt(found.variances * found.leverages), **EXACT)
    scale = np.sqrt(np.diagonal(np.linalg.inv(data.x.T @ data.x)))
    np.testing.assert_allclose(found.dfbetas, -found.change / np.sqrt(found.variances)[:, None] / scale, **EXACT)


@pytest.mark.parametrize(("l2", "reduction"), [(0.7, "sum"), (0.05, "mean")])
def test_ridge_diagnostics_are_what_refitting_gives(data, l2, reduction):
    found = leverage(linear_regression(data, l2=l2, reduction=reduction))
    x, y, n, kappa = data.x, data.y, data.n, l2 * (data.n if reduction == "mean" else 1)
    theta, dof = ridge(x, y, kappa), np.trace(x @ np.linalg.solve(x.T @ x + kappa * np.eye(3), x.T))
    assert found.degrees_of_freedom == pytest.approx(dof, rel=1e-13)
    s2 = ((y - x @ theta) ** 2).sum() / (n - dof)
    for i in range(n):
        keep = np.arange(n) != i
        left = ridge(x[keep], y[keep], kappa)
        left_dof = np.trace(x[keep] @ np.linalg.solve(x[keep].T @ x[keep] + kappa * np.eye(3), x[keep].T))
        variance = ((y[keep] - x[keep] @ left) ** 2).sum() / (n - 1 - left_dof)
        np.testing.assert_allclose(found.change[i], left - theta, **EXACT)
        np.testing.assert_allclose(found.variances[i], variance, **EXACT)
        np.testing.assert_allclose(found.cooks_distance[i], ((x @ (left - theta)) ** 2).sum() / (dof * s2), **EXACT)


@pytest.mark.parametrize(("l2", "reduction"), [(0.0, "sum"), (0.05, "mean")])
def test_a_group_is_left_out_by_the_block_formula(data, l2, reduction):
    found = leverage(linear_regression(data, [1, 4, 7], l2=l2, reduction=reduction))
    kappa, keep = l2 * (data.n if reduction == "mean" else 1), np.delete(np.arange(data.n), [1, 4, 7])
    change = ridge(data.x[keep], data.y[keep], kappa) - ridge(data.x, data.y, kappa)
    np.testing.assert_allclose(found.joint_change, change, **EXACT)
    # Naming deleted points changes nothing but `delta`; naming none makes it zero.
    alone = leverage(linear_regression(data, l2=l2, reduction=reduction))
    np.testing.assert_allclose(found.change, alone.change, **EXACT)
    np.testing.assert_array_equal(alone.joint_change, 0.0)


def test_statsmodels_agrees_on_diabetes():
    api = pytest.importorskip("statsmodels.api")
    data = load_dataset("diabetes")
    found = leverage(linear_regression(data))
    theirs = api.OLS(data.y, data.x).fit().get_influence()
    # The condition of diabetes' X is 22: ten digits leave room for either side's rounding.
    np.testing.assert_allclose(found.leverages, theirs.hat_matrix_diag, rtol=1e-10)
    np.testing.assert_allclose(found.studentised_residuals, theirs.resid_studentized_internal, rtol=1e-10)
    np.testing.assert_allclose(found.external_residuals, theirs.resid_studentized_external, rtol=1e-10)
    np.testing.assert_allclose(found.cooks_distance, theirs.cooks_distance[0], rtol=1e-10)
    np.testing.assert_allclose(found.dffits, theirs.dffits[0], rtol=1e-10)
    np.testing.assert_allclose(found.dfbetas, theirs.dfbetas, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.change, -theirs.dfbeta, rtol=1e-10, atol=1e-12)
    assert found.cooks_distance.argmax() == 382


def test_chunks_do_not_change_the_answer(data, monkeypatch):
    whole = leverage(linear_regression(data, [2], l2=0.1))
    monkeypatch.setattr(module, "CHUNK_NUMBERS", 5 * 3)
    parts = leverage(linear_regression(data, [2], l2=0.1))
    assert parts.caution == whole.caution == ""
    for name in vars(whole).keys() - {"caution"}:
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), **EXACT)


@pytest.mark.filterwarnings("ignore:.*nearly collinear:epsflow.EpsflowWarning")
def test_collinear_columns_cost_no_more_digits_than_a_qr_decomposition(rng):
    x = rng.normal(size=(40, 4))
    x[:, 3] = x[:, 2] + 1e-6 * x[:, 3]  # condition 1e6, squared 1e12
    x[:, 0] *= 1e9  # a unit, not a condition
    q = np.linalg.qr(x)[0]
    found = leverage(linear_regression(Dataset(x, rng.normal(size=40))))
    np.testing.assert_allclose(found.leverages, (q**2).sum(axis=1), rtol=1e-9)  # 1e6 condition × 1e-16 × n


def test_a_point_that_alone_determines_a_direction_is_marked(data):
    x = np.hstack([data.x, np.zeros((12, 1))])
    x[5, 3] = 2.0
    found = leverage(linear_regression(Dataset(x, data.y), l2=0.0))
    assert np.flatnonzero(~found.determined).tolist() == [5]
    assert np.isnan(found.change[5]).all()
    assert np.isnan(found.cooks_distance[5])
    others = np.delete(np.arange(12), 5)
    assert np.isfinite(found.dfbetas[others]).all()
    with pytest.raises(InputError, match=r"without the deleted points the optimum is not unique \(along .*x3"):
        leverage(linear_regression(Dataset(x, data.y), 5))


def test_a_perfect_fit_moves_nothing(data):
    found = leverage(linear_regression(Dataset(data.x, data.x @ np.ones(3))))
    np.testing.assert_allclose(found.change, 0.0, atol=1e-14)


def test_bad_input_is_refused(data):
    with pytest.raises(InputError, match="leverage is defined for linear regression"):
        leverage(Problem(LinearModel(3), LogisticLoss(), Dataset(data.x, data.y > 0.0), l2=1.0))
    twice = Dataset(np.hstack([data.x, data.x[:, :1]]), data.y)
    with pytest.raises(InputError, match=r"rank below 4 .*along .*x0.*x3"):
        leverage(linear_regression(twice))
    leverage(linear_regression(twice, l2=0.1))  # the penalty decides
    with pytest.raises(InputError, match="leave no degree of freedom"):
        leverage(linear_regression(Dataset(data.x[:4], data.y[:4])))
    with pytest.raises(InputError, match="numbered 0 to 11"):
        leverage(linear_regression(data, 12))
