"""CasADi's answer beside the certified optimum."""

import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow import InputError
from epsflow.control import _mesh

WINDOW = {"s": 0.3, "T": 2.0}


@pytest.fixture(scope="module")
def problem() -> ef.Problem:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((12, 3))
    return ef.linear_regression(ef.Dataset(x, x @ [1.0, -0.5, 0.2] + rng.standard_normal(12)), [4], reduction="mean")


@pytest.fixture(scope="module")
def compared(problem) -> ef.Comparison:
    return ef.compare_schedules(problem, np.zeros(3), **WINDOW, check=True, intervals=40)


def test_it_lies_between_the_bound_and_the_baseline(compared):
    check, optimum = compared.check, compared.optimum
    assert (check.status, check.success) == ("Solve_Succeeded", True)
    assert check.lower_bound == optimum.lower_bound
    # Forty levels contain the baseline, and no schedule costs less than the bound.
    assert optimum.lower_bound * (1.0 - 1e-9) <= check.cost <= compared.baseline.cost * (1.0 + 1e-9)
    # A switch inside an interval is an average there: second order in h, where the cost is stationary.
    assert check.cost <= optimum.cost * (1.0 + 40.0**-2) + 1e-12


def test_its_cost_is_that_of_diffrax(problem, compared):
    flow = ef.gradient_flow(
        problem, compared.check.schedule, np.zeros(3), ts=np.array([WINDOW["T"]]), method="diffrax", rtol=1e-11
    )
    miss = np.asarray(flow.end) - np.asarray(compared.task.target)
    assert compared.check.cost == pytest.approx(0.5 * miss @ miss, rel=1e-8)  # rtol 1e-11 in θ, ‖θ‖/‖miss‖ below 100


def test_it_is_the_last_row(compared):
    *_, optimum, check = compared.rows()
    assert (optimum["family"], check["family"]) == ("optimum", "CasADi, IPOPT")
    assert check["parameters"] == {"intervals": 40}
    assert check["status"].startswith("Solve_Succeeded, ")
    assert "% above the bound, " in check["status"]


def test_without_being_asked_it_is_not_there(problem):
    plain = ef.compare_schedules(problem, np.zeros(3), **WINDOW, optimum=False, families=())
    assert plain.check is None
    alone = ef.compare_schedules(problem, np.zeros(3), **WINDOW, optimum=False, families=(), check=True)
    assert np.isnan(alone.check.lower_bound)
    assert "above" not in alone.rows()[-1]["status"]


def test_a_budget_and_weights_of_their_own(problem):
    both = ef.linear_regression(problem.data, [4, 7], reduction="mean")
    found = ef.compare_schedules(
        both, np.zeros(3), **WINDOW, families=(), optimum=False, check=True, per_point=True, budget=0.5, intervals=20
    )
    assert np.asarray(found.check.schedule(np.array([1.0]))).shape == (1, 2)
    assert found.check.effort <= 0.5 * (1.0 + 1e-9)


def test_a_model_too_large_for_a_program(problem, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_mesh, "PROGRAM_LIMIT", 0)
    labels = ef.Dataset(problem.data.x, problem.data.y > 0.0)
    logistic = ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), labels, [4], l2=0.1, reduction="mean")
    with pytest.raises(InputError, match="a model of 3 parameters is too large for a program in CasADi"):
        ef.compare_schedules(logistic, jnp.zeros(3), **WINDOW, families=(), optimum=False, check=True)
