from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epsflow.studies import Specification, Study, ready_made

SMALL: dict[str, Any] = {
    "name": "small",
    "problems": [{"kind": "random", "d": [2, 3], "n": [12], "outlier": [0.0, 3.0], "draws": 6}],
    "s": [1.0],
    "T": [6.0],
    "branching": 20,
}
"""24 rows of two sizes, which take a second."""


@pytest.fixture(scope="session")
def small() -> Specification:
    return Study(**SMALL).specification


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Study]:
    """A study in a folder of its own: `make(seed=1)` changes a field of the small one."""

    def build(store: str = "study.sqlite", **changes: Any) -> Study:
        return Study(**{**SMALL, **changes}, store=tmp_path / store)

    return build


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study, run once; tests only read it."""
    study = Study(**SMALL, store=tmp_path_factory.mktemp("studies") / "small.sqlite")
    study.run()
    return study


@pytest.fixture(scope="session")
def rewinds(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A ready-made study with curves, cut to forty rows of random problems."""
    problems = [{"kind": "random", "d": 2, "n": 12, "draws": 40}]
    store = tmp_path_factory.mktemp("studies") / "rewind.sqlite"
    study = Study(ready_made("rewind-depth", problems=problems), store=store)
    study.run()
    return study
