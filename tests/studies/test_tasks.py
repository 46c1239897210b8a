"""A fifth task is one new file; what is wrong with one is said by name."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import epsflow as ef
from epsflow.studies import TASKS, Study
from epsflow.studies._problems import problem_of, question
from study_tables import table

SMALL = [{"kind": "random", "d": [2, 3], "n": 12, "draws": 4}]


@pytest.fixture
def norms(tmp_path: Path) -> Callable[..., Study]:
    """A study of norms in a folder of its own: `norms(seed=1)` changes a field."""

    def build(store: str = "study.sqlite", **changes: Any) -> Study:
        fields = {"task": "toy_task:Norm", "scale": 2.0, "problems": SMALL, **changes}
        return Study(**fields, store=tmp_path / store)

    return build


def test_a_task_from_outside_runs_resumes_and_reports(norms, tmp_path: Path):
    study = norms()
    assert study.run(limit=3).left == 5
    study = Study.open(study.store)
    state = study.run()
    assert (state.kept, state.done, state.failed) == (3, 5, 0)
    summary = study.summary()
    frame = study.to_pandas()
    assert summary.answer == (f"The mean norm of 8 runs is {frame['norm'].mean():.4g}.",)
    assert [name for name, _ in summary.tables[0].rows] == ["random, d = 2", "random, d = 3", "all"]
    page, *figures = study.report(tmp_path / "report")
    assert summary.answer[0] in page.read_text(encoding="utf-8")
    assert [path.name for path in figures] == ["norms.pdf", "norms.png"]
    # The stack and the public functions agree to the rounding of two exact flows; one row was always done alone.
    assert set(frame["method"]) == {"stack", "one by one"}
    other = norms("alone.sqlite")
    other.run(method="one by one")
    assert frame["norm"].tolist() == pytest.approx(other.to_pandas()["norm"].tolist(), rel=1e-12)
    assert [row[:4] for row in table(study)] == [row[:4] for row in table(other)]


def test_a_study_that_cannot_be_stacked_is_done_one_by_one(norms):
    study = norms(theta0="random")
    study.run(limit=2)
    assert set(study.to_pandas()["method"]) == {"one by one"}


def test_fields_belong_to_their_task(norms, make):
    """A study has the fields of its own task, and no others; what differs is told by name."""
    assert norms().specification.fields()["scale"] == 2.0
    with pytest.raises(ef.InputError, match=r"scale: Extra inputs are not permitted \(given: 2\.0\)"):
        make(scale=2.0)
    with pytest.raises(ef.InputError, match="branching: Extra inputs are not permitted"):
        norms(branching=3)
    with pytest.raises(ef.InputError, match=r"scale: Input should be greater than 0 \(given: -1\.0\)"):
        norms(scale=-1.0)
    norms().run(limit=1)
    with pytest.raises(ef.InputError, match=r"scale: 2\.0 in the store, 3\.0 now"):
        norms(scale=3.0).run()


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("norm", f"task: 'norm' is none of {', '.join(TASKS)}; yours is 'module:Class'"),
        ("no_such_module:Norm", "task: cannot import 'no_such_module'"),
        ("toy_task:NormSpecification", "is not a subclass of `epsflow.studies.AbstractTask`"),
        (3, r"task: a name is wanted \(given: 3\)"),
    ],
)
def test_a_task_that_is_none(task, reason: str):
    with pytest.raises(ef.InputError, match=reason):
        Study(task=task, problems=[{"kind": "random"}])


def test_a_task_refuses_what_contradicts_itself():
    with pytest.raises(ef.InputError, match=r"the specification: scale is 101\.0; it is at most 100"):
        Study(task="toy_task:Norm", scale=101.0, problems=[{"kind": "random"}])


@pytest.mark.parametrize("name", TASKS)
def test_every_task_takes_its_own_defaults(name: str):
    specification = Study(task=name, problems=[{"kind": "random", "draws": 1}]).specification
    assert type(specification) is TASKS[name].specification
    assert specification.rows == 1


def test_the_task_of_the_documentation_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class MyTask" in block]
    (tmp_path / "my_module.py").write_text(f"import epsflow as ef\n{code}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    study = Study("mine", task="my_module:MyTask", power=3.0, problems=SMALL, store=tmp_path / "mine.sqlite")
    assert study.run(limit=2).failed == 0
    problem, _ = problem_of(study.specification, study.plan()[0], question(study.specification, study.plan()[0]))
    # The same call: to the last bit.
    assert study.to_pandas()["size"][0] == float(abs(ef.retrain(problem).theta).max() ** 3.0)
    assert study.summary().answer[0].startswith("The mean size is ")
