"""Bad values are refused where they enter, with one message; good ones pass unchanged."""

import jax
import numpy as np
import pytest

import epsflow as ef
from epsflow._core import InputError, as_deleted, as_index_array, as_matrix, as_scalar, as_vector, brief, require_x64


def test_errors_are_caught_by_their_ordinary_kind():
    with pytest.raises(ValueError, match="finite"):
        as_scalar(np.inf, "s")


def test_single_precision_mode_is_refused():
    with jax.enable_x64(False), pytest.raises(InputError, match=r"32-bit mode.*jax_enable_x64"):
        require_x64()
    require_x64()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.float32(1.0), r"s has dtype float32, but float64 is needed.*astype\('float64'\)"),
        ("2", "s holds <U1 values; numbers are needed"),
        (1j, "s holds complex128 values"),
        ([1.0, 2.0], r"s must be one number; got an array of shape \(2,\)"),
        ([[1.0], [2.0, 3.0]], "s is not an array of numbers"),
        (np.nan, "s is nan; a finite number"),
        (-np.inf, "s is -inf; a finite number"),
    ],
)
def test_scalar_refused(value, message):
    with pytest.raises(InputError, match=message):
        as_scalar(value, "s")


@pytest.mark.parametrize("value", [2, 2.0, np.int32(2), np.float64(2.0), np.array(2)])
def test_scalar_is_a_float(value):
    assert as_scalar(value, "s") == 2.0
    assert type(as_scalar(value, "s")) is float


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, 2.0], r"theta0 has shape \(2,\); this problem needs a vector of length 3"),
        (np.ones((3, 1)), r"theta0 has shape \(3, 1\)"),
        (np.ones(3, np.float32), "theta0 has dtype float32"),
        ([1.0, np.nan, np.inf], r"theta0\[1\] is nan; every entry must be finite"),
    ],
)
def test_vector_refused(value, message):
    with pytest.raises(InputError, match=message):
        as_vector(value, "theta0", 3)


def test_vector_of_integers_is_exact():
    assert as_vector([1, 2, 3], "theta0", 3).dtype == np.float64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(2), r"K has shape \(2,\); a matrix with 2 columns"),
        (np.ones((2, 3)), r"K has shape \(2, 3\); a matrix with 2 columns"),
        ([[1.0, 2.0], [np.inf, 0.0]], r"K\[1, 0\] is inf"),
    ],
)
def test_matrix_refused(value, message):
    with pytest.raises(InputError, match=message):
        as_matrix(value, "K", 2)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "delete is empty: name at least one of the 4 points"),
        (4, "delete contains 4, but the data has 4 points, numbered 0 to 3"),
        ([1, -1], "delete contains -1"),
        ([2, 0, 2], "delete lists point 2 twice"),
        ([3, 1, 0, 2], "delete lists all 4 points: nothing would be left"),
        ([0.0], "one integer or a list of integers"),
        ([True, False], "one integer or a list of integers"),
        ([[0, 1]], "one integer or a list of integers"),
    ],
)
def test_indices_refused(value, message):
    with pytest.raises(InputError, match=message):
        as_index_array(value, "delete", 4)


def test_indices_keep_their_order():
    assert as_index_array([2, 0], "delete", 4).tolist() == [2, 0]
    assert as_index_array(np.uint8(3), "delete", 4).tolist() == [3]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-1, [3]), ([0, -1], [0, 3]), ([False, True, False, True], [1, 3]), (np.array([True, False, False, False]), [0])],
)
def test_deleted_points_as_numpy_reads_indices(value, expected):
    assert as_deleted(value, "delete", 4).tolist() == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3, -1], "delete lists point 3 twice"),
        (-5, r"delete contains -5, .*numbered 0 to 3 \(or -4 to -1 from the end\)"),
        (4, "delete contains 4"),
        ([True, False], r"a mask of shape \(2,\); one boolean for each of the 4 points"),
        ([False] * 4, "delete is empty"),
        ([True] * 4, "delete lists all 4 points"),
        ([0.0], "integers"),
    ],
)
def test_deleted_points_refused(value, message):
    with pytest.raises(InputError, match=message):
        as_deleted(value, "delete", 4)


def test_a_callable_object_is_named_as_it_is_written():
    assert brief(ef.Step(2.0)) == "Step(tau=2)"
    assert brief(len) == "the function len"
