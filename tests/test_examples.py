"""`help()` of every public name begins with an example, and every example is true."""

import contextlib
import doctest
import enum
import importlib
import importlib.util
import inspect
import operator
import tempfile
from pathlib import Path

import jaxtyping
import matplotlib.pyplot as plt
import numpy as np
import pytest

import epsflow as ef
from epsflow._core import Shown

NAMES = [name for name in ef.__all__ if importlib.util.find_spec(f"epsflow.{name}") is None]
"""All but the rooms; told apart without loading them, which every process that only collects would pay for."""
ROOMS = [name for name in ef.__all__ if name not in NAMES]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def examples_of(name: str) -> list[doctest.DocTest]:
    """Those in the docstring of a public name and of its methods, with `ef` and `np` at hand."""
    thing = inspect.unwrap(operator.attrgetter(name)(ef))
    finder = doctest.DocTestFinder(recurse=False)
    parts = [thing]
    if inspect.isclass(thing):
        parts += [value for key, value in vars(thing).items() if inspect.isfunction(value) and not key.startswith("_")]
    names = {"ef": ef, "np": np}
    found = [test for part in parts for test in finder.find(part, name, module=False, globs=names)]
    return [test for test in found if test.examples]


@pytest.fixture
def as_a_user(monkeypatch: pytest.MonkeyPatch):
    """Without the tests' check of annotations, which would answer before the library does."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def in_room(room: str) -> list[str]:
    """Names that a room alone lists; `plots.audit` is another function than `audit`."""
    listed = getattr(ef, room)
    alone = [name for name in listed.__all__ if name not in NAMES or getattr(listed, name) is not getattr(ef, name)]
    return [f"{room}.{name}" for name in alone]


def has_help(name: str) -> bool:
    """Whether a name is a class or a function: `help()` of a tuple, or of the alias of a type, is not ours."""
    thing = operator.attrgetter(name)(ef)
    return inspect.isclass(thing) or inspect.isroutine(thing) or hasattr(thing, "__wrapped__")


@pytest.mark.usefixtures("as_a_user")
@pytest.mark.parametrize("room", ["epsflow", *ROOMS])
def test_help_of_every_public_name_begins_with_an_example_that_is_true(room: str, tmp_path: Path):
    names = NAMES if room == "epsflow" else in_room(room)
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    said: list[str] = []
    for name in filter(has_help, names):
        _, _, rest = (inspect.getdoc(operator.attrgetter(name)(ef)) or "").partition("\n\n")
        assert rest.startswith("Example:"), f"help(ef.{name}) does not begin with an example"
        for test in examples_of(name):
            with contextlib.chdir(tempfile.mkdtemp(dir=tmp_path)):  # some write files
                runner.run(test, out=said.append)
            plt.close("all")
    assert runner.failures == 0, "".join(said)


ASKED = {
    *("CG", "Cholesky", "Dual", "EKFAC", "LiSSA", "Nystrom", "Losses", "Predictions"),
    *("Distance", "PredictionGap", "QuadraticForm", "RetainedLoss", "EndForm", "SearchSpace"),
    *("CNN", "FunctionModel", "LinearModel", "MLP"),
    *("LogisticLoss", "PseudoHuberLoss", "SoftmaxCrossEntropy", "SquaredLoss"),
    *("BangBang", "Constant", "ExponentialDecay", "LinearDecay", "PiecewiseConstant", "PolynomialDecay", "Step"),
    *("RESULTS", "Study", "CoalitionFunction", "ModelUtility"),
}
"""What a user makes rather than gets: it shows itself as it is written."""


def test_results_show_themselves():
    """Every public result has a line of facts, and with it `summary()` and HTML."""
    kinds = [getattr(ef, name) for name in NAMES if inspect.isclass(getattr(ef, name)) and name not in ASKED]
    results = [kind for kind in kinds if not issubclass(kind, Exception | enum.Enum) and not inspect.isabstract(kind)]
    assert len(results) > 20
    assert [kind.__name__ for kind in results if not issubclass(kind, Shown) or kind._facts is Shown._facts] == []


def test_every_result_has_its_figures_or_a_reason(monkeypatch: pytest.MonkeyPatch):
    """On the page of figures, which this file tests because it has all rooms loaded."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs" / "_ext"))
    page = importlib.import_module("figures_page")
    without = [name for names in page.NUMBERS.values() for name in names.split()]
    assert sorted([*page.DRAWN, *without]) == sorted(page.public_results())
    for name, figures in page.DRAWN.items():
        assert f".{name}`" in page.text()
        assert set(figures) <= set(page.FIGURES)
