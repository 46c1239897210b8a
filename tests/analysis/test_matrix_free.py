"""Without a matrix the doors give the numbers that they give with one, and no array of the size d × d or n × d."""

import re

import jax
import numpy as np
import pytest

import epsflow as ef
from epsflow.analysis import _endpoint_rows
from epsflow.analysis._hessian_products import by_products
from epsflow.analysis.curvature import _base, _cholesky, _dual
from epsflow.analysis.optima import _anchor
from epsflow.analysis.optima._units import ggn_diagonal

N, WIDTHS, D = 43, (7, 13, 3), 146

BUDGET = 60_000
"""Bytes: a few of the points, and two or three right-hand sides, at a time."""


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((N, WIDTHS[0]))
    labels = np.argmax(x[:, :3] + 0.5 * rng.standard_normal((N, 3)), axis=1)
    data = ef.Dataset(x, labels.astype(float))
    return ef.Problem(ef.MLP(WIDTHS), ef.SoftmaxCrossEntropy(), data, delete=[3, 4], l2=0.2, reduction="mean")


@pytest.fixture(scope="module")
def theta(network):
    """Near a minimum, where the Hessian is positive definite."""
    start = network.model.init(jax.random.key(0))
    return ef.gradient_descent(network, ef.Constant(1.0), start, steps=3_000, step_size=0.5).thetas[-1]


def refuse(*_, **__):
    raise AssertionError("a dense array was asked for")


@pytest.fixture
def without_matrices(monkeypatch, tmp_path):
    """Nothing dense can be asked of NumPy, and what is compiled is written down; its shapes come out."""
    dense = ((_base, "_matrix"), (_base, "_factor"), (_anchor, "_linearised"), (_cholesky, "dense"), (_dual, "factor"))
    for room, name in (
        *dense,
        (_anchor, "jacobians"),
        (_endpoint_rows, "newton_step"),
        (_endpoint_rows, "derivatives"),
    ):
        monkeypatch.setattr(room, name, refuse)
    jax.config.update("jax_dump_ir_to", str(tmp_path))

    def shapes() -> set[tuple[int, ...]]:
        text = " ".join(path.read_text() for path in tmp_path.glob("*.mlir"))
        return {tuple(map(int, found.split("x")[:-1])) for found in re.findall(r"tensor<((?:\d+x)+)f64", text)}

    yield shapes
    jax.config.update("jax_dump_ir_to", "")


def largest(shapes):
    return max(int(np.prod(shape)) for shape in shapes)


def test_influence_and_newton_step_by_products_are_those_of_dense_algebra(network, theta, without_matrices):
    found = by_products(network, theta, 1e-9, 300, BUDGET, "float64")
    assert largest(without_matrices()) < N * D  # and d² is larger still
    pull = network.point_gradients(theta, network.delete).sum(axis=0)
    for name, eps in (("influence", 1.0), ("Newton step", 0.0)):
        dense = np.linalg.solve(network.hessian(theta, eps), pull)
        # Residuals of 1e-9, and condition numbers below 100.
        np.testing.assert_allclose(found[name].change, dense, rtol=0, atol=1e-7 * np.abs(dense).max())
        assert found[name].good


@pytest.mark.slow  # compiles the whole table
def test_the_endpoints_form_no_matrix_where_none_is_wanted(network, theta, without_matrices):
    options = {"theta0": theta, "damping": 0.1, "steps": 5, "K": 2, "step_size": 0.5, "solver": "ekfac"}
    found = ef.endpoints(network, theta, matrix=False, max_bytes=BUDGET, **options)
    assert largest(without_matrices()) < N * D
    assert found.chunks.points < N
    assert found.converged.all()
    changes = dict(zip(found.methods, found.change, strict=True))
    # Of θ(0) = θ(1) − θ̇ + ½θ̈ − …: the second order errs by the third term where the first errs by the second.
    ends = [np.linalg.norm(changes[name] - found.change[0]) for name in ("influence", "second order")]
    assert ends[1] < 0.5 * ends[0]


@pytest.mark.slow
def test_every_row_of_the_table_without_a_matrix_is_that_with_one(network, theta):
    options = {"theta0": theta, "damping": 0.1, "steps": 5, "K": 2, "step_size": 0.5}
    parts = ef.endpoints(network, theta, matrix=False, max_bytes=BUDGET, **options)
    whole = ef.endpoints(network, theta, **options)
    assert parts.methods == whole.methods
    # Gradient norms and residuals of 1e-9, and curvatures above 0.01 of a largest of about 1.
    np.testing.assert_allclose(parts.change, whole.change, rtol=0, atol=1e-7 * np.abs(whole.change).max())


def test_the_decomposition_without_a_matrix_is_that_with_one(network, theta, without_matrices):
    options = {"theta0": theta, "damping": 0.1, "points": [[1], [2], [3], [4], [5]], "solver": ef.CG()}
    parts = ef.decompose(network, theta, matrix=False, max_bytes=BUDGET, **options)
    assert largest(without_matrices()) < N * D
    assert 1 <= parts.chunks.solves < 5  # the solves of the last stage do not fit at once
    assert parts.chunks == ef.analysis.chunks_of(network, BUDGET)
    assert "right-hand sides at a time within" in str(parts.summary())


@pytest.mark.slow
def test_every_stage_without_a_matrix_is_that_with_one(network, theta):
    options = {"theta0": theta, "damping": 0.1, "points": [[1], [2], [3], [4], [5]], "solver": ef.CG()}
    parts = ef.decompose(network, theta, matrix=False, max_bytes=BUDGET, **options)
    whole = ef.decompose(network, theta, **options)
    # Gradient norms of 1e-9 of the pull, and curvatures above 0.01.
    sizes = np.abs(whole.thetas - theta).max()
    np.testing.assert_allclose(parts.thetas, whole.thetas, rtol=0, atol=1e-7 * sizes)


@pytest.mark.slow
def test_a_response_that_keeps_its_points_needs_no_jacobian(network, theta, without_matrices):
    """Without the deleted points' own Bregman terms their share of G is taken off the products."""
    options = {"damping": 0.3, "points": [[1, 2, 3]], "delete_bregman": False}
    found = ef.pbrf(network, theta, matrix=False, max_bytes=BUDGET, **options)
    assert largest(without_matrices()) < N * D
    assert found.chunks == ef.analysis.chunks_of(network, BUDGET)
    kept = network.with_delete([1, 2, 3])
    force = kept.point_gradients(theta, kept.delete).sum(axis=0)
    line = found.linearised[0] - theta
    product = np.asarray(kept.ggn_product(theta, line, 0.0)) + 0.3 * line
    np.testing.assert_allclose(product, force, rtol=0, atol=1e-9 * np.linalg.norm(force))


@pytest.mark.slow
@pytest.mark.parametrize("model", [ef.MLP(WIDTHS), "a function"])
def test_the_proximal_term_of_the_diagonal_needs_no_jacobian_of_all_points(network, theta, model):
    if model == "a function":
        whole = ef.MLP(WIDTHS)
        model = ef.FunctionModel(lambda t, x: whole(t, x), theta)
    asked = ef.Problem(model, network.loss, network.data, [3, 4], 0.2, "mean")
    found = ggn_diagonal(asked, theta, matrix=False, max_bytes=BUDGET)
    # G is the Gauss–Newton product without its penalty; sums of a hundred terms.
    exact = np.array([row @ network.ggn_product(theta, row) for row in np.eye(D)])
    np.testing.assert_allclose(found, exact - 0.2, rtol=0, atol=1e-12 * exact.max())


def test_what_holds_a_matrix_is_refused_beyond_the_budget_and_not_chosen(network, theta):
    asked = {"points": 0, "curvature": "ggn", "damping": 0.1, "max_bytes": BUDGET}
    with pytest.raises(ef.InputError, match=r"the dual's factor does not meet: 129 × 146 .* need 150,672 bytes"):
        ef.influence(network, theta, solver="dual", **asked)
    with pytest.raises(ef.InputError, match=r"the dense ggn matrix does not meet: 146 × 146 .* need 170,528 bytes"):
        ef.influence(network, theta, solver="cholesky", **asked)
    assert ef.influence(network, theta, **asked).solver == "cg"


ASK = {
    "influence": lambda p, t, **more: ef.influence(p, t, curvature="ggn", damping=0.1, **more),
    "self_influence": lambda p, t, **more: ef.self_influence(p, t, curvature="ggn", damping=0.1, **more),
    "pbrf": lambda p, t, **more: ef.pbrf(p, t, damping=0.1, matrix=False, **more),
    "decompose": lambda p, t, **more: ef.decompose(p, t, damping=0.1, theta0=t, matrix=False, **more),
    "endpoints": lambda p, t, **more: ef.endpoints(p, t, damping=0.1, theta0=t, matrix=False, **more),
}


@pytest.mark.parametrize("door", ASK)
def test_a_budget_that_no_chunk_meets_is_refused_in_one_line(network, theta, door):
    with pytest.raises(ef.InputError, match=r"max_bytes is 1,000, which no chunk meets: .* need [\d,]+ bytes") as no:
        ASK[door](network, theta, max_bytes=1_000)
    assert "\n" not in str(no.value)
