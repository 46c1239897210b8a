"""Results say in one line what they hold, and print as a table; arrays are never written out."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow import InputError
from epsflow._core import RESULTS, Shown, Tabular, decide, install_command, message, pick, stack, succeeded


@dataclass(frozen=True, eq=False, repr=False)
class Fit(Tabular):
    theta: np.ndarray
    gradient_norm: float
    result: RESULTS

    def _facts(self) -> dict[str, object]:
        return {"theta": self.theta, "gradient_norm": self.gradient_norm, "result": self.result}

    def _rows(self) -> list[dict[str, object]]:
        return [{"name": f"x<{k}>", "value": jnp.asarray(value)} for k, value in enumerate(self.theta)]


class Answer(Shown, eqx.Module):
    theta: jax.Array

    def _facts(self) -> dict[str, object]:
        return {"theta": self.theta}


@pytest.fixture
def fit() -> Fit:
    return Fit(np.arange(50.0) / 3.0, 1.23456e-14, RESULTS.successful)


def test_a_result_is_one_line_without_arrays(fit):
    assert repr(fit) == "Fit(theta=array(50,), gradient_norm=1.235e-14, result=successful)"


def test_an_equinox_module_shows_itself_the_same_way():
    assert repr(Answer(jnp.array([1.0, 2.0]))) == "Answer(theta=[1, 2])"


def test_a_failure_is_named_in_a_few_words(fit):
    failed = Fit(fit.theta, 1.0, RESULTS.not_a_minimum)
    assert repr(failed).endswith("result=The point found is stationary but its Hessian has a negative eigenvalue)")


def test_the_summary_has_facts_a_heading_and_the_first_and_last_rows(fit):
    lines = str(fit.summary()).splitlines()
    assert lines[0] == "Fit"
    assert lines[2] == "theta          array(50,)"
    assert lines[6].split() == ["name", "value"]
    assert lines[8].split() == ["x<0>", "0"]
    assert lines[-2].split() == ["x<49>", "16.33"]
    assert any("30 more" in line for line in lines)
    assert repr(fit.summary()) == str(fit.summary())


def test_columns_are_aligned(fit):
    table = str(fit.summary()).splitlines()[6:]
    assert len({len(line) for line in table if "x<" in line}) == 1


def test_the_html_escapes_what_is_in_the_data(fit):
    assert "x&lt;0&gt;" in fit._repr_html_()
    assert "x<0>" not in fit._repr_html_()


def test_a_table_goes_to_pandas_at_full_precision(fit):
    table = fit.to_pandas()
    assert list(table.columns) == ["name", "value"]
    assert table["value"].tolist() == fit.theta.tolist()


def test_without_pandas_the_extra_is_named(fit, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(InputError, match=r"pip install .*\[studies\]'"):
        fit.to_pandas()


def test_an_extra_is_installed_from_the_checkout_that_is_in_use(monkeypatch, tmp_path):
    """From a clone, the name of the project alone would be looked for elsewhere."""
    monkeypatch.setattr("epsflow._core._extras.__file__", str(tmp_path / "src" / "epsflow" / "_core" / "_extras.py"))
    assert install_command("train") == "pip install 'epsflow[train]'"
    (tmp_path / "pyproject.toml").touch()
    assert install_command("train") == f"pip install -e '{tmp_path}[train]'"


def test_outcomes_are_decided_row_by_row_by_the_first_case_that_holds():
    result = decide(
        (np.array([True, False, False]), RESULTS.not_stationary), (np.array([True, True, False]), RESULTS.not_a_minimum)
    )
    assert message(pick(result, 0)) == message(RESULTS.not_stationary)
    assert message(pick(result, 1)) == message(RESULTS.not_a_minimum)
    assert succeeded(result).tolist() == [False, False, True]
    assert succeeded(stack([RESULTS.successful, RESULTS.singular])).tolist() == [True, False]
