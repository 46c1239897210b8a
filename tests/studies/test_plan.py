"""Plans and problems: every combination once, and random numbers that depend on the place of a row only."""

from pathlib import Path

import numpy as np
import pytest

from epsflow import InputError, Study
from epsflow.studies._plan import plan
from epsflow.studies._problems import question
from epsflow.studies._specify import specify


def test_every_combination_once(small):
    rows = plan(small)
    assert [row.place for row in rows] == list(range(24))
    assert len({row.key for row in rows}) == 24
    assert len({tuple(row.inputs.values()) for row in rows}) == 24


def test_windows_that_are_none_are_left_out():
    study = Study(problems=[{"kind": "random", "draws": 1}], s=[0.0, 2.0, 9.0], T=[1.0, 4.0])
    assert [(row.inputs["s"], row.inputs["T"]) for row in study.plan()] == [(0.0, 1.0), (0.0, 4.0), (2.0, 4.0)]


def test_rows_that_differ_in_the_window_only_share_the_problem():
    study = Study(problems=[{"kind": "random", "draws": 3}], s=[0.5, 1.0], theta0=["zero", "random"])
    first, *others = (question(study.specification, row) for row in study.plan() if row.draw == 1)
    assert all(np.array_equal(first.x, other.x) and np.array_equal(first.y, other.y) for other in others)
    assert not np.array_equal(first.x, question(study.specification, study.plan()[0]).x)


def test_a_row_does_not_know_what_else_is_in_the_study(small):
    """More draws, or another order of work, leave a row's problem as it is."""
    longer = specify({**small.model_dump(), "problems": [{**small.model_dump()["problems"][0], "draws": 9}]})
    mine, theirs = (next(row for row in plan(one) if row.draw == 5) for one in (small, longer))
    assert np.array_equal(question(small, mine).y, question(longer, theirs).y)


def test_the_outlier_is_at_point_zero_and_nowhere_else():
    """Draws share their random numbers over the outlier's strength, so that strengths are compared in pairs."""
    study = Study(problems=[{"kind": "random", "outlier": [0.0, 4.0], "draws": 1}])
    clean, spoilt = (question(study.specification, row) for row in study.plan())
    assert np.array_equal(clean.x, spoilt.x)
    assert np.flatnonzero(clean.y != spoilt.y).tolist() == [0]


def test_the_spectrum_is_what_was_asked():
    study = Study(problems=[{"kind": "random", "n": 20_000, "d": 3, "condition": 100.0, "draws": 1}])
    x = question(study.specification, study.plan()[0]).x
    # 20,000 points give a variance to 1 % (√(2/n)); five of these.
    assert np.var(x, axis=0) == pytest.approx([1.0, 0.1, 0.01], rel=0.05)


@pytest.mark.parametrize(
    ("delete", "sets"),
    [
        ({"by": "index", "points": [3, [1, 2]]}, [[3], [1, 2]]),
        ({"by": "groups", "count": 4, "column": "a"}, [[5, 4], [3, 2], [1], [0]]),
        ({"by": "groups", "count": 2, "column": 1}, [[0, 1, 2], [3, 4, 5]]),
        ({"by": "groups", "count": 2}, [[0, 2, 4], [1, 5, 3]]),
    ],
)
def test_deleted_points(delete: dict, sets: list[list[int]], tmp_path: Path):
    path = tmp_path / "six.csv"
    path.write_text("a,b,y\n6,1,0\n5,2,1\n4,3,0.1\n3,4,9\n2,5,0.2\n1,6.5,1.2\n")
    study = Study(problems=[{"kind": "data", "csv": str(path), "delete": delete}])
    assert [question(study.specification, row).delete.tolist() for row in study.plan()] == sets


def test_most_and_least_influential_are_the_ends_of_one_order():
    def points(by: str) -> list[int]:
        study = Study(problems=[{"kind": "data", "data": "diabetes", "delete": {"by": by, "count": 3, "size": 2}}])
        return [int(j) for row in study.plan() for j in question(study.specification, row).delete]

    most, least = points("most influential"), points("least influential")
    assert len({*most, *least}) == 12
    assert 382 in most[:2]  # the largest Cook's distance of this data set


def test_random_points_are_distinct_and_differ_between_sets():
    study = Study(problems=[{"kind": "data", "data": "wine", "delete": {"by": "random", "size": 5, "count": 4}}])
    drawn = [question(study.specification, row).delete for row in study.plan()]
    assert all(len(set(points.tolist())) == 5 for points in drawn)
    assert len({tuple(points.tolist()) for points in drawn}) == 4


@pytest.mark.parametrize(
    ("delete", "reason"),
    [
        ({"by": "groups", "column": "c", "count": 3}, "choose 'target' or one of a, y2"),
        ({"by": "most influential", "size": 9}, "cannot delete 9 point"),
        ({"by": "random", "size": 9}, "cannot delete 9 point"),
    ],
)
def test_points_that_are_not_there(delete: dict, reason: str, tmp_path: Path):
    path = tmp_path / "three.csv"
    path.write_text("a,y2,y\n1,2,0\n0,2.5,1\n3,1,1\n")
    study = Study(problems=[{"kind": "data", "csv": str(path), "delete": delete}])
    with pytest.raises(InputError, match=reason):
        question(study.specification, study.plan()[0])
