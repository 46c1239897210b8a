"""Data sets: bundled ones, and what is done to the points before training."""

from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import sklearn.datasets

from epsflow._core import InputError
from epsflow.problem import Dataset, _dataset, load_dataset
from epsflow.problem._bundled import BUNDLED


@pytest.fixture
def data(rng) -> Dataset:
    return Dataset(3.0 + 2.0 * rng.standard_normal((9, 3)), rng.standard_normal(9), "nine", ("a", "b", "c"), "t")


@pytest.mark.parametrize(
    ("name", "shape", "labels"),
    [
        ("diabetes", (442, 10), None),
        ("breast_cancer", (569, 30), 2),
        ("digits", (1797, 64), 10),
        ("wine", (178, 13), 3),
    ],
)
def test_bundled_data(name, shape, labels):
    data = load_dataset(name)
    assert data.x.shape == shape
    assert (data.n, len(data.features), data.name) == (*shape, name)
    # Rounding of a mean of n numbers of order one. Three pixels of the digits are always blank.
    np.testing.assert_allclose(data.x.mean(axis=0), 0.0, rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.delete(data.x.std(axis=0), data.x.std(axis=0) == 0.0), 1.0, rtol=1e-13)
    if labels is None:
        assert data.y.std() == pytest.approx(1.0)
    else:
        np.testing.assert_array_equal(np.unique(data.y), np.arange(labels))


def test_bundled_data_as_they_are():
    data = load_dataset("diabetes", standardise=False)
    assert data.y[:3].tolist() == [151.0, 75.0, 141.0]
    assert data.x[0, 0] == 59.0  # years


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_data_are_those_of_scikit_learn(name):
    options = {"scaled": False} if name == "diabetes" else {}
    theirs, ours = getattr(sklearn.datasets, f"load_{name}")(**options), load_dataset(name, standardise=False)
    np.testing.assert_array_equal(ours.x, theirs.data)
    np.testing.assert_array_equal(ours.y, theirs.target)
    assert ours.features == tuple(theirs.feature_names)


def test_bundled_data_without_scikit_learn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="'wine' comes with scikit-learn, which is missing"):
        load_dataset("wine")


def test_bundled_data_whose_file_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None, origin=str(tmp_path / "init")))
    with pytest.raises(InputError, match=r"without its data set 'wine' .*load_wine\(return_X_y=True\)"):
        load_dataset("wine")


def test_unknown_name():
    with pytest.raises(
        InputError, match="unknown data set 'mnist': choose one of diabetes, breast_cancer, digits, wine"
    ):
        load_dataset("mnist")


def test_standardise(data):
    standard = data.standardise()
    np.testing.assert_allclose(standard.x * data.x.std(axis=0) + data.x.mean(axis=0), data.x, rtol=0, atol=1e-14)
    np.testing.assert_allclose([standard.y.mean(), standard.y.std()], [0.0, 1.0], rtol=0, atol=1e-15)
    np.testing.assert_array_equal(data.standardise(target=False).y, data.y)
    np.testing.assert_allclose(standard.standardise().x, standard.x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8 / 3.0])
def test_a_constant_column_becomes_zero(data, value):
    """Not noise: the mean of equal numbers is not exactly that number."""
    x = data.x.copy()
    x[:, 1] = value
    np.testing.assert_array_equal(Dataset(x, data.y).standardise().x[:, 1], 0.0)


def test_intercept(data):
    longer = data.add_intercept()
    np.testing.assert_array_equal(longer.x, np.column_stack([data.x, np.ones(9)]))
    assert longer.features == ("a", "b", "c", "intercept")
    assert longer.target == "t"


def test_subsample(data):
    few = data.subsample(4, seed=1)
    rows = [int(np.flatnonzero((data.x == row).all(axis=1))[0]) for row in few.x]
    assert rows == sorted(set(rows))
    np.testing.assert_array_equal(few.y, data.y[rows])
    np.testing.assert_array_equal(data.subsample(4, seed=1).x, few.x)
    assert not np.array_equal(data.subsample(4, seed=2).x, few.x)
    np.testing.assert_array_equal(data.subsample(9, seed=0).x, data.x)
    for n in (0, 10):
        with pytest.raises(InputError, match=f"cannot draw {n} points without replacement from nine, which has 9"):
            data.subsample(n, seed=0)


def test_one_output_column_is_a_vector(data):
    assert Dataset(data.x, data.y[:, None]).y.shape == (9,)
    assert Dataset(data.x, np.zeros((9, 2))).y.shape == (9, 2)


@pytest.mark.usefixtures("as_a_user")
def test_whole_numbers_are_exact():
    assert Dataset(np.arange(4).reshape(2, 2), np.array([True, False])).y.tolist() == [1.0, 0.0]


X, Y = np.ones((3, 2)), np.ones(3)


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (X.astype(np.float16), Y, {}, r"x has dtype float16, but float64 is needed .* or float32 for networks"),
        (X, Y.astype(np.float16), {}, "y has dtype float16"),
        (X.astype(str), Y, {}, "x holds <U32 values; numbers are needed"),
        (X[0], Y, {}, r"x has shape \(2,\); a non-empty matrix"),
        (X[:0], Y[:0], {}, r"x has shape \(0, 2\); a non-empty matrix"),
        (X, Y[:2], {}, r"y has shape \(2,\), but x has 3 points; y must be \(3,\) or \(3, outputs\)"),
        (X, np.ones((3, 1, 1)), {}, r"y has shape \(3, 1, 1\)"),
        (X, Y, {"features": ("a",)}, "1 feature names for 2 columns of x"),
        (np.where(np.eye(3, 2) * [[0], [1], [1]], np.nan, X), Y, {}, "point 1 contains NaN or infinity"),
        (X, np.array([1.0, 2.0, np.inf]), {}, r"point 2 contains NaN or infinity \(1 such points\)"),
    ],
)
def test_refused(x, y, options, message):
    with pytest.raises(InputError, match=f"^mine: {message}"):
        Dataset(x, y, "mine", **options)


# --- single precision ---


def test_single_precision_is_kept_and_computed_with_in_double():
    x = np.random.default_rng(3).normal(1e3, 1.0, (500, 3)).astype(np.float32)
    x[:, 2] = 0.1  # its mean in float32 is another number
    data, wide = Dataset(x, x[:, 0], "images"), Dataset(x.astype(float), x[:, 0].astype(float))
    x[:] = 0.0
    assert data.x.dtype == data.y.dtype == np.float32
    assert not data.x.flags.writeable
    np.testing.assert_array_equal(data.x, wide.x)
    for make in (Dataset.standardise, Dataset.add_intercept, lambda data: data.subsample(9, seed=0)):
        mine, theirs = make(data), make(wide)
        assert mine.x.dtype == np.float32
        np.testing.assert_array_equal(mine.x, theirs.x.astype(np.float32))  # rounded once
        np.testing.assert_array_equal(mine.y, theirs.y.astype(np.float32))
    np.testing.assert_array_equal(data.standardise().x[:, 2], 0.0)
    assert Dataset(wide.x[:2], np.array([3.0, 5.0], np.float32)).encode_labels().y.tolist() == [0.0, 1.0]
    _dataset.check_range(Dataset(data.x, np.full(500, 3e38, np.float32)))  # its bound is no number in single precision
    with pytest.raises(InputError, match="images: point 1 contains NaN or infinity"):
        Dataset(np.array([[1.0], [np.nan]], np.float32), [0.0, 1.0], "images")


def test_columns_are_standardised_some_at_a_time(monkeypatch):
    x = np.random.default_rng(4).normal(5.0, 2.0, (40, 7))
    whole = Dataset(x, x[:, :2]).standardise()
    monkeypatch.setattr(_dataset, "STANDARDISED", 80)  # two columns
    parts = Dataset(x, x[:, :2]).standardise()
    np.testing.assert_allclose(parts.x, whole.x, rtol=0, atol=1e-14)  # of size one; sums in another order
    np.testing.assert_allclose(parts.y, whole.y, rtol=0, atol=1e-14)
