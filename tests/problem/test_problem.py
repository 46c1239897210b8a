"""`Problem`: what it refuses, and that the exact form of linear regression is the same risk."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
import reference as ref
from epsflow._core import InputError
from epsflow.control._task import fingerprint
from epsflow.problem import (
    MLP,
    AbstractRisk,
    Dataset,
    EmpiricalRisk,
    FunctionModel,
    LinearModel,
    LogisticLoss,
    Problem,
    PseudoHuberLoss,
    Quadratic,
    SoftmaxCrossEntropy,
    SquaredLoss,
    linear_regression,
    load_dataset,
)

N, D = 9, 3
RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((N, D)), RNG.standard_normal(N)
DATA = Dataset(X, Y)
THETA, VECTOR = jnp.asarray(RNG.standard_normal(D)), jnp.asarray(RNG.standard_normal(D))

REDUCTION = pytest.mark.parametrize("reduction", ["sum", "mean"])


# A function that runs once need not be optimised.
@partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True})
def answers(risk: AbstractRisk, eps: jax.Array) -> tuple[jax.Array, ...]:
    return (
        risk.value(THETA, eps),
        risk.gradient(THETA, eps),
        risk.hvp(THETA, VECTOR, eps),
        risk.hessian(THETA, eps),
        risk.deleted_gradients(THETA),
    )


@REDUCTION
@pytest.mark.parametrize("eps", [0.4, np.array([0.3, 0.0])], ids=["one weight", "a weight each"])
def test_quadratic_is_the_same_risk(eps, reduction):
    problem = linear_regression(DATA, [6, 2], l2=0.1, reduction=reduction)
    sums, exact, weights = problem.empirical(), problem.risk, jnp.asarray(eps)
    assert isinstance(exact, Quadratic)
    assert isinstance(sums, EmpiricalRisk)
    assert (exact.dim, exact.num_deleted) == (sums.dim, sums.num_deleted) == (D, 2)
    for computed, expected in zip(answers(exact, weights), answers(sums, weights), strict=True):
        np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-14)  # nine terms in another order
    product = problem.ggn_product(THETA, VECTOR, weights)
    np.testing.assert_allclose(product, exact.hessian(THETA, weights) @ VECTOR, rtol=1e-12)


@REDUCTION
def test_statistics(reduction):
    problem = linear_regression(DATA, [6, 2], l2=0.1, reduction=reduction)
    system = ref.split_system(X, Y, [6, 2], 0.1, reduction)
    np.testing.assert_allclose(problem.risk.h_retained, system.H, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(problem.risk.b_retained, system.b, rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(problem.risk.x_deleted, X[[6, 2]])
    np.testing.assert_array_equal(problem.delete, [6, 2])
    assert problem.scale == (1.0 if reduction == "sum" else 1.0 / N)


def test_a_huge_deleted_point_leaves_no_trace():
    """Summing all and subtracting afterwards would lose 1e8²·u = 1."""
    x, y = X.copy(), Y.copy()
    x[4], y[4] = 1e8, 1e8
    without = linear_regression(Dataset(np.delete(x, 4, axis=0), np.delete(y, 4)), [0])
    np.testing.assert_array_equal(linear_regression(Dataset(x, y), [0, 4]).risk.h_retained, without.risk.h_retained)


def test_no_deletion():
    problem = linear_regression(DATA)
    assert problem.risk.num_deleted == 0
    H, b = ref.weighted_system(X, Y, [], 1.0)
    np.testing.assert_allclose(problem.gradient(THETA), H @ THETA - b, rtol=1e-13)
    assert problem.point_gradients(THETA).shape == (0, D)


def test_gradients_of_named_points():
    problem = linear_regression(DATA, 5, reduction="mean")
    expected = X * (X @ np.asarray(THETA) - Y)[:, None] / N
    np.testing.assert_allclose(problem.point_gradients(THETA, [0, 8]), expected[[0, 8]], rtol=1e-13)
    np.testing.assert_allclose(problem.point_gradients(THETA), expected[[5]], rtol=1e-13)
    with pytest.raises(InputError, match="points must lie between 0 and 8; got 3 to 9"):
        problem.point_gradients(THETA, [3, 9])
    for points in ([0.7], ["3"], [[0], [1]]):
        with pytest.raises(InputError, match="points must be whole numbers in a list"):
            problem.point_gradients(THETA, points)


def test_which_risks_are_convex():
    labels = Dataset(X, 1.0 * (Y > 0))
    assert linear_regression(DATA, 0).convex
    assert Problem(LinearModel(D), LogisticLoss(), labels, 0).convex
    assert not Problem(MLP((D, 2, 1)), SquaredLoss(), DATA, 0).convex


def test_undetermined_direction_is_named():
    x = np.column_stack([X, X[:, 0] - X[:, 1]])
    words = linear_regression(Dataset(x, Y, features=("age", "bmi", "bp", "gap")), 0).undetermined_direction()
    # The kernel is (1, −1, 0, −1)/√3, up to its sign.
    assert words is not None
    assert sorted(word[1:] for word in words.split()) == ["0.577·age", "0.577·bmi", "0.577·gap"]
    assert linear_regression(DATA, 0).undetermined_direction() is None
    assert linear_regression(Dataset(x, Y), 0, l2=1e-6).undetermined_direction() is None


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
@pytest.mark.parametrize("n", [12, 3000])
def test_dependent_columns_are_seen_through_rounding(scale, n):
    """XᵀX of dependent columns is singular only up to rounding, whatever n and the units are."""
    rng = np.random.default_rng(n)
    x = scale * rng.standard_normal((n, 4)) @ rng.standard_normal((4, 6))
    problem = linear_regression(Dataset(x, rng.standard_normal(n)), 0)
    assert int(problem.risk.retained.kernel.sum()) == 2


# --- memory-mapped data ---


@pytest.fixture(scope="module")
def mapped(tmp_path_factory) -> np.memmap:
    """Two columns and a bit more than one chunk of 65,536 rows."""
    x = np.memmap(tmp_path_factory.mktemp("mapped") / "x.bin", np.float64, "w+", shape=(65_600, 2))
    x[:] = np.random.default_rng(3).standard_normal(x.shape)
    return x


def test_a_memory_map_is_the_same_as_an_array(mapped):
    y = mapped[:, 0] - 0.5
    delete = [65_536, 0, 65_535, 65_599]  # both sides of the chunks' border, first and last
    disk, memory = (
        linear_regression(Dataset(mapped, y), delete),
        linear_regression(Dataset(np.array(mapped), y), delete),
    )
    assert isinstance(disk.data.x, np.memmap)
    for left, right in zip(jax.tree.leaves(disk.risk), jax.tree.leaves(memory.risk), strict=True):
        np.testing.assert_array_equal(left, right)
    kept = np.delete(np.array(mapped), delete, axis=0)
    # Pairwise or blocked sums of 65,596 terms; their rounding is far below √n·u = 6e-14.
    np.testing.assert_allclose(disk.risk.h_retained, kept.T @ kept, rtol=1e-12, atol=1e-9)


def test_nan_in_a_memory_map_is_found_when_it_is_read(tmp_path):
    x = np.memmap(tmp_path / "x.bin", np.float64, "w+", shape=(65_600, 2))
    x[:] = 1.0
    x[65_570, 1] = np.nan
    data = Dataset(x, np.zeros(65_600), "big")
    with pytest.raises(InputError, match=r"big: point 65570 contains NaN or infinity \(1 such points\)"):
        linear_regression(data, 0)


def test_a_memory_map_in_single_precision_is_for_networks(tmp_path):
    x = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(3, 2))
    x[:] = np.arange(6.0).reshape(3, 2) / 3.0
    data = Dataset(x, np.zeros(3))
    assert data.x is x
    with pytest.raises(InputError, match=r"x is a memory map in float32, and linear models .*open_memmap"):
        linear_regression(data)
    own = Dataset(np.asarray(x, np.float64), np.zeros(3))
    for dtype in ("float64", "float32"):
        here, there = (Problem(MLP((2, 1)), SquaredLoss(), part, dtype=dtype) for part in (own, data))
        np.testing.assert_array_equal(here.gradient(np.ones(3)), there.gradient(np.ones(3)))
    assert data.subsample(2, seed=0).standardise().x.dtype == np.float32
    with pytest.raises(InputError, match="x has dtype float16"):
        Dataset(np.memmap(tmp_path / "half.bin", np.float16, "w+", shape=(3, 2)), np.zeros(3))


def test_arrays_in_single_precision_are_for_networks():
    data = Dataset(X.astype(np.float32), Y.astype(np.float32), "images")
    own = Dataset(data.x.astype(float), data.y.astype(float))
    for dtype in ("float64", "float32"):
        here, there = (Problem(MLP((D, 1)), SquaredLoss(), part, 0, dtype=dtype) for part in (own, data))
        np.testing.assert_array_equal(here.gradient(np.ones(here.dim)), there.gradient(np.ones(here.dim)))
        assert fingerprint(here) == fingerprint(there)  # the same numbers, the same problem
        assert there.with_delete(1).with_chunk_rows(2).with_dtype("float64").data is data
    for options in ({}, {"sample_weight": np.ones(N)}):
        with pytest.raises(InputError, match=r"images: x is in float32, and linear .*rounding.* x\.astype\(float\)"):
            linear_regression(data, 0, **options)
    with pytest.raises(InputError, match=r"y is in float32, .* pass y\.astype\(float\)"):
        Problem(LinearModel(D), SquaredLoss(), Dataset(X, data.y))


def test_models_that_mix_no_types_meet_data_in_single_precision():
    """`lax.mul` refuses what `*` widens, as convolutions do."""
    model = FunctionModel(lambda params, x: jnp.sum(jax.lax.mul(params, x)), np.zeros(D))
    narrow = Dataset(X.astype(np.float32), Y.astype(np.float32))
    own = Dataset(narrow.x.astype(float), narrow.y.astype(float))
    theta, goal = np.asarray(THETA), np.asarray(VECTOR)

    def answers_from(data: Dataset) -> list:
        problem = Problem(model, SquaredLoss(), data, 0)
        gap = ef.PredictionGap(data.x[:2])
        return [
            ef.analysis.outputs_of(model, theta, data.x),
            ef.unlearning.score_models(problem, theta[None], test=data).metrics,
            gap.value(problem.risk, theta, goal),
            gap.value(problem.risk, theta.astype(np.float32).astype(float), goal),
        ]

    ours, theirs = answers_from(narrow), answers_from(own)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    # A training in float32 is judged in double, at the θ that it reached.
    single = ef.PredictionGap(narrow.x[:2]).value(
        Problem(model, SquaredLoss(), narrow, 0).risk, theta.astype(np.float32), goal
    )
    assert single == ours[-1]


# --- refusals ---

USERS = FunctionModel(lambda params, x: params @ x, jnp.ones(D))


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: linear_regression(DATA, 9), "delete contains 9, but the data has 9 points, numbered 0 to 8"),
        (lambda: linear_regression(DATA, [1, 1]), "delete lists point 1 twice"),
        (lambda: linear_regression(DATA, range(9)), "delete lists all 9 points"),
        (lambda: linear_regression(DATA, []), "delete is empty"),
        (lambda: linear_regression(DATA, 0.5), "one integer or a list of integers; got 0.5"),
        (lambda: linear_regression(DATA, 0, l2=-1.0), "l2 is -1; a negative penalty"),
        (lambda: linear_regression(DATA, 0, l2=np.inf), "l2 is inf"),
        (lambda: linear_regression(DATA, 0, reduction="average"), "reduction is 'average'; choose 'sum' or 'mean'"),
        (lambda: Problem(LinearModel(D), SquaredLoss(), DATA, 0, chunk_rows=0), "chunk_rows is 0; at least one row"),
        (lambda: Problem(LinearModel(4), SquaredLoss(), DATA, 0), "the model cannot read a point with 3 features"),
        (lambda: Problem(MLP((2, 1)), SquaredLoss(), DATA, 0), "the model cannot read a point with 3 features"),
        (lambda: MLP((3,)), r"MLP widths \(3,\): give \(features, hidden…, outputs\), all positive"),
        (lambda: MLP((3, 0, 1)), r"MLP widths \(3, 0, 1\)"),
        (lambda: MLP((3, 1), "step"), "unknown activation 'step': choose one of tanh, relu"),
        (lambda: FunctionModel(lambda p, x: x, {}), "`params` has no arrays"),
        (lambda: FunctionModel(lambda p, x: x, [np.ones(2, np.float32), np.ones(2)]), "dtype float32, float64; all of"),
        (
            lambda: Problem(FunctionModel(lambda p, x: p @ x, np.ones(2, np.float32)), SquaredLoss(), DATA),
            r"parameters of dtype float32, and the problem computes in float64. Write Problem\(..., dtype=\"float32\"",
        ),
        (lambda: Problem(LinearModel(2), SquaredLoss(), DATA, dtype="float32"), "linear models .* in float64"),
        (
            lambda: Problem(MLP((2, 1)), SquaredLoss(), DATA, dtype="float16"),
            "choose 'float64', 'float32' or 'bfloat16'",
        ),
        (lambda: PseudoHuberLoss(0.0), "delta is 0; the width must be positive"),
        (
            lambda: Problem(LinearModel(D, 2), SquaredLoss(), DATA, 0),
            r"the model returns shape \(2,\) for a point, but its target has shape \(\); SquaredLoss compares",
        ),
        (
            lambda: Problem(USERS, LogisticLoss(), Dataset(X, np.arange(N) % 3.0), 0),
            "LogisticLoss needs labels 0 and 1; the targets also contain 2",
        ),
        (
            lambda: Problem(LinearModel(D, 2), SoftmaxCrossEntropy(), Dataset(X, np.arange(N) % 3.0), 0),
            "SoftmaxCrossEntropy with 2 logits needs labels 0 to 1; the targets contain 2",
        ),
        (lambda: Problem(LinearModel(D), SoftmaxCrossEntropy(), DATA, 0), "needs one logit per class"),
    ],
)
def test_problems_that_are_none(make, message):
    with pytest.raises(InputError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(2), 1.0), r"theta has shape \(2,\); this problem needs a vector of length 3"),
        ((np.ones(3, np.float32), 1.0), "theta has dtype float32"),
        ((np.array([0.0, np.nan, 0.0]), 1.0), r"theta\[1\] is nan"),
        ((np.ones(3), np.nan), "eps must be one finite number or 2 of them"),
        ((np.ones(3), np.ones(3)), "eps must be one finite number or 2 of them"),
        ((np.ones(3), "much"), "eps holds .* values; numbers are needed"),
    ],
)
def test_bad_points_and_weights(arguments, message):
    with pytest.raises(InputError, match=message):
        linear_regression(DATA, [0, 1]).gradient(*arguments)


def test_single_precision_mode_is_refused():
    with jax.enable_x64(False), pytest.raises(InputError, match="32-bit mode"):
        linear_regression(DATA, 0)


def test_dense_hessians_have_a_limit():
    data = load_dataset("digits").subsample(3, seed=0)
    problem = Problem(MLP((64, 130, 1)), SquaredLoss(), data, 0)
    assert problem.dim > 8_000
    with pytest.raises(InputError, match="dense"):
        problem.hessian(jnp.zeros(problem.dim))


def test_the_direction_named_is_one_that_the_points_with_a_weight_leave_free():
    """Point 3 alone sees b: without it a direction of b is free as well, with it only c, which no point sees."""
    x = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    problem = ef.linear_regression(ef.Dataset(x, np.arange(4.0), features=("a", "b", "c")), [3])
    assert problem.undetermined_direction() in ("+1·b and 1 more direction", "+1·c and 1 more direction")
    assert problem.undetermined_direction(1.0) == problem.undetermined_direction(np.array([0.5])) == "+1·c"
    with pytest.raises(ef.InputError, match=r"θ\(1\.0\) is not unique: the points leave \+1·c free\. Add l2 > 0"):
        ef.influence(problem)
    assert ef.linear_regression(ef.Dataset(x[:, :2], np.arange(4.0)), [3]).undetermined_direction(1.0) is None
