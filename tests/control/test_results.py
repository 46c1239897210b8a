"""What results of `control` show of themselves, and what is left of them after JSON."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef


class Halved(ef.AbstractPiecewiseConstant):
    """A schedule class of the user's: 1, then a half, then 0."""

    s: float
    T: float

    @property
    def start(self):
        return jnp.asarray(self.s)

    @property
    def end(self):
        return jnp.asarray(self.T)

    @property
    def jump_ts(self):
        return jnp.array([self.s, self.T])

    def inner(self, t):
        return 0.5 * jnp.ones_like(t)

    def levels(self):
        return np.array([1.0, 0.5, 0.0])


@pytest.fixture(scope="module")
def table(row_one, zero):
    return ef.compare_schedules(row_one, zero, s=0.2, T=2.0, families=(ef.Step,))


def test_one_line_each(table):
    best = table.optimum
    assert repr(table) == f"Comparison(schedules=3, best=optimum, cost={best.cost:.4g})"
    assert repr(best).startswith("ScheduleSolution(cost=")
    assert repr(best).endswith("status=bang-bang, scope=global (certified), arcs=2)")
    assert repr(table.families[0]).startswith("FamilyResult(family=Step, τ=")
    assert repr(table.task) == "ControlTask(data=data, points=[2], s=0.2, T=2, bounds=[0, 1], cost=Distance)"
    for result in (table, best, best.extremal, table.baseline, table.task):
        assert "\n" not in repr(result)
        assert "array(" not in str(result.summary())
        assert result._repr_html_().count("<table>") >= 1


def test_a_summary_says_what_a_paper_would(table):
    text = str(table.optimum.summary())
    for words in ("cost", "±", "lower bound", "bang-bang", "global (certified)", "PMP gap", "high", "low"):
        assert words in text
    assert str(table.summary()).count("\n") > 6


def test_the_comparison_is_a_table_of_pandas(table):
    pytest.importorskip("pandas")
    frame = table.to_pandas()
    assert frame["family"].tolist() == ["1_[0,s]", "Step", "optimum"]
    assert frame["cost"].tolist() == [row["cost"] for row in table.rows()]


def test_json_holds_every_figure_to_the_last_bit(table, row_one):
    text = table.to_json()
    again = ef.Comparison.from_json(text, row_one)
    assert str(again.summary()) == str(table.summary())
    assert str(again.optimum.summary()) == str(table.optimum.summary())
    assert json.loads(again.to_json())["fields"] == json.loads(text)["fields"]
    ts = np.linspace(0.2, 2.0, 7)
    np.testing.assert_array_equal(again.optimum.switching(ts), table.optimum.switching(ts))
    assert again.optimum.task.linear is not None
    assert "epsflow" in json.loads(text)["provenance"]


def test_json_is_for_the_same_problem_only(table, two_rows):
    with pytest.raises(ef.InputError, match=r"another problem: parameters 2 \(here 1\)"):
        ef.ScheduleSolution.from_json(table.optimum.to_json(), two_rows)


def test_another_document_is_refused(table, row_one):
    with pytest.raises(ef.InputError, match=r"holds a FamilyResult .* a ScheduleSolution"):
        ef.ScheduleSolution.from_json(table.baseline.to_json(), row_one)
    for text in ("", "[]", "{}", "3"):
        with pytest.raises(ef.InputError, match=r"no document that FamilyResult\.to_json\(\) wrote"):
            ef.FamilyResult.from_json(text)


def test_an_extremal_keeps_its_figures_and_says_what_it_lost(table):
    again = ef.Extremal.from_json(table.optimum.extremal.to_json())
    assert again.pmp_gap == table.optimum.extremal.pmp_gap
    np.testing.assert_array_equal(again.zeros[0], table.optimum.extremal.zeros[0])
    with pytest.raises(ef.InputError, match="not stored"):
        again.switching(1.0)


def test_a_schedule_and_a_cost_of_ones_own_come_back(row_one, zero):
    cost = ef.QuadraticForm(np.diag([1.0, 4.0]))
    found = ef.certify(row_one, Halved(0.5, 2.0), zero, s=0.5, T=2.0, cost=cost, price=0.1)
    again = ef.ScheduleSolution.from_json(found.to_json(), row_one)
    assert type(again.schedule) is Halved
    assert str(again.summary()) == str(found.summary())
    unknown = found.to_json().replace(":Halved", ":Forgotten")
    with pytest.raises(ef.InputError, match="Forgotten, which is not known here"):
        ef.ScheduleSolution.from_json(unknown, row_one)


def test_infinity_nan_and_nothing_survive(two_rows):
    never = ef.exact_unlearning_time(two_rows, [2.0], s=0.0)
    again = ef.ExactUnlearning.from_json(never.to_json())
    assert (again.time, again.schedule, again.arrival) == (never.time, None, never.arrival)
    assert np.isnan(again.distance)
    reached = ef.exact_unlearning_time(two_rows, [0.0], s=0.0)
    assert ef.ExactUnlearning.from_json(reached.to_json()).reason == reached.reason
    assert reached.reason == f"reached at {0.5 * np.log(3.0):.12g} with 1 arcs"


def test_exact_starts_are_stored(row_one):
    starts = ef.exact_starts(row_one, longest=1.0, grid=3)
    again = ef.ExactStarts.from_json(starts.to_json())
    np.testing.assert_array_equal(again.starts, starts.starts)
    assert repr(again) == repr(starts)


def test_thresholds_are_where_the_best_level_changes(row_one, zero):
    plain, priced = (
        ef.certify(row_one, ef.Step(0.5), zero, s=0.5, T=2.0, bounds=(-1.0, 1.0), price=price) for price in (0.0, 0.2)
    )
    assert (plain.thresholds, priced.thresholds) == ((0.0,), (-0.2, 0.2))
