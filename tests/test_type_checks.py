"""Annotations are checked once for each kind of call: what that leaves out would have passed."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import beartype
import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError

import epsflow as ef
import type_checks

checked = type_checks.once_per_kind(typechecker=beartype.beartype)
ROW, TABLE = np.zeros(2), np.zeros((3, 2))


@checked
def product(x: Float[np.ndarray, "n d"], theta: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
    return x @ theta


@checked
def shown(how: Literal["flat", "deep"], rows: list[Float[np.ndarray, " d"]]) -> str:
    return how


@checked
def passed_on(value: Any) -> Float[np.ndarray, " n"]:
    return value.pop()


@checked
@dataclass(frozen=True)
class Point:
    x: Float[np.ndarray, " d"]


def scaled(by: object) -> Callable:
    @checked
    def scale(x: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
        return x * by

    return scale


@pytest.mark.parametrize(
    ("call", "right", "wrong"),
    [
        (product, (TABLE, ROW), (TABLE, np.zeros(3))),
        (product, (TABLE, ROW), (TABLE, np.zeros(2, int))),
        (product, (TABLE, ROW), (TABLE, [0.0, 0.0])),
        (shown, ("flat", [ROW]), ("wide", [ROW])),
        (shown, ("flat", [ROW]), ("flat", [TABLE])),
        (shown, ("flat", [ROW, ROW]), ("flat", (ROW, ROW))),
        (Point, (ROW,), (TABLE,)),
    ],
)
def test_a_wrong_call_is_refused_before_and_after_right_ones(call, right, wrong):
    for _ in range(2):
        with pytest.raises(TypeCheckError, match="parameters of"):
            call(*wrong)
        call(*right)
        call(*right)


def test_what_goes_out_is_checked_whenever_it_is_of_another_kind():
    passed_on([ROW])
    passed_on([ROW])
    with pytest.raises(TypeCheckError, match="return value"):
        passed_on([TABLE])


def test_one_definition_has_one_check_and_each_function_its_own_values():
    np.testing.assert_array_equal(scaled(2.0)(np.ones(2)), [2.0, 2.0])
    np.testing.assert_array_equal(scaled(3.0)(np.ones(2)), [3.0, 3.0])
    with pytest.raises(TypeCheckError, match="return value"):
        scaled(np.ones((2, 1)))(np.ones(2))


def test_public_functions_are_checked():
    functions = [value for name in ef.__all__ if inspect.isfunction(value := getattr(ef, name))]
    assert len(functions) > 40
    assert all(fn.__globals__ is vars(type_checks) for fn in functions)
