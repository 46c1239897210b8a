"""Data as people have them: frames, Arrow tables and Parquet files; labels of any kind; sparse matrices refused."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

import epsflow as ef
from epsflow import InputError
from epsflow.problem import Dataset, from_table, read_parquet

COLUMNS = {
    "age": [3, 5, 8, 9],
    "height": [94.0, 110.0, 128.0, 131.5],
    "walks": [True, False, True, True],
    "colour": ["red", "green", "blue", "red"],
    "sex": ["f", "m", "m", "f"],
    "born": [datetime.date(2020, 1, day) for day in (1, 2, 3, 4)],
    "weight": [14.0, 19.0, 26.0, 30.0],
}
MAKERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
every_library = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def only(*names: str) -> dict[str, list]:
    return {name: COLUMNS[name] for name in names}


@every_library
def test_names_and_numbers_are_kept(make):
    data = from_table(make(only("age", "walks", "weight", "height")), "weight")
    assert (data.features, data.target) == (("age", "walks", "height"), "weight")
    assert data.x.tolist() == [[3.0, 1.0, 94.0], [5.0, 0.0, 110.0], [8.0, 1.0, 128.0], [9.0, 1.0, 131.5]]
    assert data.y.tolist() == [14.0, 19.0, 26.0, 30.0]
    assert data.x.dtype == np.float64


@every_library
def test_a_frame_and_a_column_make_a_data_set(make):
    table = make(only("age", "height"))
    y = make(only("weight"))["weight"]
    data = Dataset(table, y)
    assert data.features == ("age", "height")
    assert data.target == ("y" if make is pa.table else "weight")  # a column of Arrow's has no name
    np.testing.assert_array_equal(data.y, COLUMNS["weight"])


@every_library
def test_words_become_columns_on_request(make):
    table = make(only("age", "colour", "sex", "weight"))
    data = from_table(table, "weight", one_hot=["colour", "sex"])
    assert data.features == ("age", "colour=blue", "colour=green", "colour=red", "sex=m")
    assert data.x[:, 1:].tolist() == [[0, 0, 1, 0], [0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0]]
    assert from_table(table, "weight", one_hot=True).features == data.features


def test_categories_are_words():
    frame = pd.DataFrame(only("age", "colour", "weight")).astype({"colour": "category"})
    with pytest.raises(InputError, match="feature 'colour' holds categories"):
        from_table(frame, "weight")
    assert from_table(frame, "weight", one_hot="colour").features[1:] == ("colour=blue", "colour=green", "colour=red")


@every_library
@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("born", r"feature 'born' holds dates, .* days since the first"),
        ("colour", r"feature 'colour' holds strings, .* one_hot="),
    ],
)
def test_dates_and_strings_are_refused_by_name(make, column, message):
    with pytest.raises(InputError, match=message):
        from_table(make(only("age", column, "weight")), "weight")


@every_library
def test_missing_values_are_refused_by_name(make):
    table = make({"age": [3, None, 8, None], "weight": COLUMNS["weight"]})
    with pytest.raises(InputError, match=r"feature 'age' is missing or infinite at point 1 \(2 such points\)"):
        from_table(table, "weight")


def test_nullable_integers_of_pandas():
    frame = pd.DataFrame({"age": pd.array([3, 5, None, 9], dtype="Int64"), "weight": COLUMNS["weight"]})
    with pytest.raises(InputError, match="'age' is missing or infinite at point 2"):
        from_table(frame, "weight")
    assert from_table(frame.fillna(1), "weight").x.ravel().tolist() == [3.0, 5.0, 1.0, 9.0]


@every_library
def test_single_precision_is_refused(make):
    table = make({"age": np.array([1, 2, 3, 4], np.float32), "weight": COLUMNS["weight"]})
    with pytest.raises(InputError, match="'age' holds numbers in single precision"):
        from_table(table, "weight")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "size"}, "unknown target 'size' in data: its columns are age, weight"),
        ({"target": 2}, "target column 2 is outside data, whose 2 columns are numbered from 0"),
        ({"target": "age", "one_hot": ["hue"]}, "one_hot: 'hue' is no feature of data; they are weight"),
    ],
)
def test_wrong_names(options, message):
    with pytest.raises(InputError, match=message):
        from_table(pd.DataFrame(only("age", "weight")), **options)


def test_arrays_are_no_table():
    with pytest.raises(InputError, match=r"table is an array of shape \(2, 2\)"):
        from_table(np.eye(2), 0)


def test_parquet(tmp_path):
    path = tmp_path / "children.parquet"
    pq.write_table(pa.table(only("age", "sex", "weight")), path)
    data = read_parquet(path, one_hot=True, standardise=False)
    assert (data.name, data.features, data.target) == ("children", ("age", "sex=m"), "weight")
    labelled = read_parquet(path, target="sex", labels=True)
    assert (labelled.classes, labelled.y.tolist()) == (("f", "m"), [0.0, 1.0, 1.0, 0.0])
    assert labelled.x.mean(axis=0) == pytest.approx(0.0, abs=1e-15)  # a mean of four numbers of size one


def test_no_parquet(tmp_path):
    path = tmp_path / "no.parquet"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"no\.parquet is not a Parquet file"):
        read_parquet(path)
    with pytest.raises(InputError, match=r"cannot read .*gone\.parquet: No such file"):
        read_parquet(tmp_path / "gone.parquet")


X = np.arange(8.0).reshape(4, 2)


@pytest.mark.parametrize(
    ("y", "classes", "numbers"),
    [
        (["no", "yes", "yes", "no"], ("no", "yes"), [0, 1, 1, 0]),
        (np.array(["c", "a", "b", "a"]), ("a", "b", "c"), [2, 0, 1, 0]),
        ([True, False, True, True], (False, True), [1, 0, 1, 1]),
        (np.array([False, False, False, False]), (False, True), [0, 0, 0, 0]),
        (np.array([["no"], ["yes"], ["no"], ["no"]]), ("no", "yes"), [0, 1, 0, 0]),
    ],
)
def test_words_and_booleans_are_labels(y, classes, numbers):
    data = Dataset(X, y)
    assert (data.classes, data.y.tolist()) == (classes, numbers)


def test_labels_that_are_numbers_are_encoded_on_request():
    data = Dataset(X, [-1, 1, 1, -1])
    with pytest.raises(InputError, match=r"LogisticLoss needs labels 0 and 1.*encode_labels"):
        ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), data)
    labelled = data.encode_labels()
    assert (labelled.y.tolist(), labelled.classes) == ([0.0, 1.0, 1.0, 0.0], (-1, 1))
    assert ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), labelled).dim == 2


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.5, 1.0, 2.0, 1.0], "contains 0.5, which is no class label"),
        ([1.0, 2.0, 3.0, 4.0], "4 different values among 4 points"),
        ([1.0, 1.0, 1.0, 1.0], "every point has the label 1"),
    ],
)
def test_what_is_no_label(y, message):
    with pytest.raises(InputError, match=message):
        Dataset(X, y).encode_labels()


def test_mixed_labels_are_refused():
    with pytest.raises(InputError, match="holds values of int, str"):
        Dataset(X, ["a", 1, "a", 1])
    with pytest.raises(InputError, match=r"point 2 has no label \(1 such points\)"):
        Dataset(X, ["a", "b", None, "b"])


def test_a_column_of_targets_is_a_vector():
    assert Dataset(X, np.ones((4, 1))).y.shape == (4,)


def test_sparse_matrices_are_refused_with_the_reason():
    sparse = scipy.sparse.csr_array(np.eye(4))
    with pytest.raises(InputError, match=r"x is a sparse matrix \(4×4, 25 % nonzero\).*dense.*\.toarray\(\)"):
        Dataset(sparse, np.ones(4))
    assert Dataset(sparse.toarray(), np.ones(4)).n == 4
