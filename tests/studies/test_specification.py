"""Specifications: what is refused, by which words, and what survives a trip through text."""

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from epsflow import InputError, Study, load_dataset
from epsflow.studies import READY, DataProblems, Specification, read_specification, ready_made
from epsflow.studies._plan import plan
from epsflow.studies._specification import POINTS, ROW_BYTES
from epsflow.studies._specify import specify

RANDOM = {"kind": "random"}

WRONG = {
    "no problems": ({"problems": []}, "problems: Value should have at least 1 item"),
    "unknown kind": ({"problems": [{"kind": "real"}]}, "problems.0: Input tag 'real'"),
    "no points": (
        {"problems": [{**RANDOM, "n": 0}]},
        "problems.0.n.0: Input should be greater than or equal to 1 (given: 0)",
    ),
    "words for numbers": ({"s": "soon"}, "s.0: Input should be a valid number (given: 'soon')"),
    "a number in quotes": ({"problems": [{**RANDOM, "d": "3"}]}, "problems.0.d.0: Input should be a valid integer"),
    "an unknown field": ({"window": 3}, "window: Extra inputs are not permitted (given: 3)"),
    "not finite": ({"T": [float("inf")]}, "T.0"),
    "T before s": ({"s": [3.0], "T": [2.0]}, "no T in [2.0] comes after an s in [3.0]"),
    "reversed bounds": ({"bounds": [1.0, 0.0]}, "bounds are [1.0, 0.0]; the lower one must lie below"),
    "an unknown task": (
        {"task": "guess"},
        "task: 'guess' is none of schedules, rewind, influence, exact, certificates, attribution, networks; yours is "
        "'module:",
    ),
    "an unknown family": ({"families": ["Ramp"]}, "'Ramp' is none of Step, LinearDecay"),
    "two sources": ({"problems": [{"kind": "data", "data": "wine", "csv": "a.csv"}]}, "name one source"),
    "no source": ({"problems": [{"kind": "data"}]}, "name one source"),
    "rewound too far": ({"task": "rewind", "depths": [9.0], "T": [8.0]}, "depths must ascend and not exceed"),
    "labels": (
        {"problems": [{"kind": "data", "data": "wine", "model": "logistic"}]},
        'is for task = "influence" or "certificates" or "networks"',
    ),
    "a start twice": ({"s": [1.0, 2.0, 1]}, "s: 1.0 stands twice; name every value once"),
    "a family twice": ({"families": ["Step", "Step"]}, "families: 'Step' stands twice"),
    "points twice": ({"problems": [{**RANDOM, "delete": {"points": [3, [1, 2], 3]}}]}, "points: 3 stands twice"),
    "a point that is not there": (
        {"problems": [{**RANDOM, "n": 5, "delete": {"points": [7]}}]},
        "problems.0: delete: deleted points [7] of 5 points numbered 0 to 4",
    ),
    "every point": ({"problems": [{**RANDOM, "n": 2, "delete": {"points": [[0, 1]]}}]}, "outside, twice, or all"),
    "more points than there are": (
        {"problems": [{"kind": "data", "data": "diabetes", "delete": {"by": "most influential", "count": 10**6}}]},
        "problems.0: delete: cannot delete 1 point(s) 1000000 times from 442",
    ),
    "more groups than points": (
        {"problems": [{"kind": "data", "data": "wine", "delete": {"by": "groups", "count": 179}}]},
        "cannot cut 178 points into 179 group(s)",
    ),
    "more sets than there are": (
        {"problems": [{"kind": "data", "data": "diabetes", "delete": {"by": "random", "count": 10**6}}]},
        "there are 442 sets of 1 point(s) out of 442, not 1000000",
    ),
    "more rows than memory": (
        {"problems": [{**RANDOM, "draws": 99_999_999_999}]},
        "the plan of 99,999,999,999 rows would take 139,698 GiB of memory, and 8 are the most",
    ),
    "more points than memory": (
        {"problems": [{**RANDOM, "n": 10**9}]},
        "problems.0: a problem with n = 1000000000 and d = 2 would take 67 GiB of memory",
    ),
    "more parameters than memory": ({"problems": [{**RANDOM, "d": 10**5}]}, "and d = 100000 would take 894 GiB"),
    "a negative seed": ({"seed": -1}, "seed: Input should be greater than or equal to 0 (given: -1)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named(case: str):
    fields, reason = WRONG[case]
    with pytest.raises(InputError) as refusal:
        Study(**{"problems": [RANDOM], **fields})
    assert reason in str(refusal.value)


def test_every_wrong_field_is_named_at_once():
    with pytest.raises(InputError, match=r"seed.*problems\.0\.d"):
        Study(problems=[{**RANDOM, "d": 0}], seed=-1)


@pytest.mark.parametrize("name", READY)
def test_ready_made_studies_are_specifications_with_rows(name: str):
    found = ready_made(name)
    assert found.name == name
    assert len(plan(found)) >= 20


def test_an_unknown_study_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no study is called 'step'; there are step-vs-linear"):
        Study("step")


def test_toml(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(
        's = [0.5, 1.0]\nT = 4\n[[problems]]\nkind = "random"\nd = [2, 3]\n[problems.delete]\npoints = [0, [1, 2]]\n'
    )
    found = read_specification(path)
    assert (found.name, found.s, found.T) == ("mine", (0.5, 1.0), (4.0,))
    assert found.problems[0].delete.points == (0, (1, 2))
    assert Study.from_toml(path).store == tmp_path / "mine.sqlite"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"s = = 1", "is not a TOML file"), (b"\xff\xfe", "is not a TOML file"), (b"s = 1", "problems: Field required")],
)
def test_toml_that_is_none(content: bytes, reason: str, tmp_path: Path):
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        read_specification(tmp_path / "bad.toml")
    with pytest.raises(InputError, match="cannot read"):
        read_specification(tmp_path / "absent.toml")


sizes = st.lists(st.integers(11, 50), min_size=1, max_size=2, unique=True)
numbers = st.lists(st.floats(0.0, 100.0), min_size=1, max_size=2, unique=True)
deletions = st.one_of(
    st.fixed_dictionaries(
        {"by": st.just("index"), "points": st.lists(st.integers(0, 9), min_size=1, max_size=3, unique=True)}
    ),
    st.fixed_dictionaries({"by": st.sampled_from(["random", "groups"]), "count": st.integers(2, 5)}),
)
sources = st.one_of(
    st.fixed_dictionaries(
        {
            "kind": st.just("random"),
            "draws": st.just(2),
            "n": sizes,
            "d": sizes,
            "outlier": numbers,
            "delete": deletions,
        }
    ),
    st.fixed_dictionaries(
        {"kind": st.just("data"), "data": st.sampled_from(["diabetes", "wine"]), "delete": deletions}
    ),
)
specifications = st.fixed_dictionaries(
    {
        "name": st.text(min_size=1, max_size=20),
        "seed": st.integers(0, 2**63),
        "problems": st.lists(sources, min_size=1, max_size=3),
        "theta0": st.lists(st.sampled_from(["zero", "random", "trained"]), min_size=1, max_size=3, unique=True),
        "s": numbers,
        "T": st.just([101.0]),
        "l2": st.floats(0.0, 1.0),
    }
)


@given(specifications)
def test_a_specification_survives_json(fields: dict):
    found = specify(fields)
    again = specify(json.loads(found.to_json()))
    assert again == found
    assert again.digest == found.digest
    assert found.differences(again) == []
    assert specify(found.model_dump()) == found


@given(specifications, st.integers(0, 2**63))
def test_another_seed_is_another_study(fields: dict, seed: int):
    one, two = specify(fields), specify({**fields, "seed": seed})
    assert (one.digest == two.digest) == (one.seed == two.seed)
    assert [row.key for row in plan(one)[:3]] != [row.key for row in plan(two)[:3]] or one.seed == two.seed


def test_numpy_numbers_are_numbers():
    import numpy as np

    assert Study(problems=[RANDOM], s=np.linspace(0.0, 1.0, 3), T=np.float64(4.0)).specification.s == (0.0, 0.5, 1.0)
    with pytest.raises(InputError, match="cannot stand in a specification"):
        Study(problems=[RANDOM], s=object())


def test_a_study_of_one_s_own_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    study = Study("mine", problems=[RANDOM])
    assert (study.specification.name, study.store.name) == ("mine", "mine.sqlite")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r'say what its problems are: ef\.Study\("mine", problems=\[.*from_toml'):
        Study("mine")


def test_nothing_is_written_for_a_file_that_is_refused(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text('s = [1.0, 1.0]\n[[problems]]\nkind = "random"\n')
    with pytest.raises(InputError, match=r"mine\.toml: s: 1\.0 stands twice; name every value once\.$"):
        Study.from_toml(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["mine.toml"]


def test_a_csv_file_without_the_points_is_refused_before_anything_is_written(tmp_path: Path):
    path = tmp_path / "three.csv"
    path.write_text("a,y\n1,0\n0,1\n3,1\n")
    delete = {"by": "least influential", "count": 3}
    study = Study(problems=[{"kind": "data", "csv": str(path), "delete": delete}], store=tmp_path / "a.sqlite")
    with pytest.raises(InputError, match=r"problems\.0: cannot delete 1 point\(s\) 3 times from 3"):
        study.run()
    assert not study.store.exists()


@pytest.mark.parametrize("name", POINTS)
def test_the_bundled_data_sets_have_as_many_points(name: str):
    assert load_dataset(name).n == POINTS[name]


def test_a_row_of_a_plan_takes_no_more_memory_than_is_reckoned_with():
    study = Study(problems=[{**RANDOM, "draws": 2_000}])
    tracemalloc.start()
    rows = study.plan()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == study.specification.rows == 2_000
    assert 0.3 * ROW_BYTES < size / len(rows) < ROW_BYTES


def test_a_whole_specification_takes_no_more_fields(small: Specification):
    with pytest.raises(InputError, match="exclude each other"):
        Study(small, seed=3)


def test_a_part_with_wrong_fields_is_refused_in_one_line_that_names_them():
    with pytest.raises(InputError, match=r"^DataProblems: kind: Field required; dataset: .*\(given: 'iris'\)\.$"):
        DataProblems(dataset="iris")  # pyright: ignore[reportCallIssue]
