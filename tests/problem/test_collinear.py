"""Columns that are nearly collinear are warned of where the problem is made, and named by every answer about it."""

import warnings

import numpy as np
import pytest

import epsflow as ef


def twins(gap: float) -> ef.Dataset:
    """Column `twin` is column `a` in other units, up to a relative gap."""
    rng = np.random.default_rng(5)
    a, b, noise = rng.standard_normal((3, 40))
    return ef.Dataset(
        np.column_stack([a, b, 1e3 * (a + gap * noise)]), a + b, name="twins", features=("a", "b", "twin")
    )


NAMED = r"twins: columns are nearly collinear along \+1·a -0\.00?1·twin .*condition \d\.\de\+0[67]\).*give l2 > 0"


def test_the_warning_names_the_direction_and_points_at_the_callers_line():
    with pytest.warns(ef.EpsflowWarning, match=NAMED) as told:
        ef.linear_regression(twins(1e-6), [3])
    assert [warning.filename for warning in told] == [__file__]


@pytest.mark.parametrize(("loss", "outputs"), [(ef.LogisticLoss(), None), (ef.SoftmaxCrossEntropy(), 2)])
def test_classification_is_told_by_the_same_words(loss, outputs):
    data = twins(1e-6)
    labels = (data.y > 0.0).astype(float)
    raw, scaled = (
        ef.Dataset(rows, labels, name="twins", features=data.features) for rows in (data.x, data.standardise().x)
    )
    with pytest.warns(ef.EpsflowWarning, match=NAMED):
        problem = ef.Problem(ef.LinearModel(3, outputs), loss, raw, [3])
    assert "nearly collinear along +1·a" in repr(problem)
    # The penalty is in the units of each parameter, as above.
    assert not ef.Problem(ef.LinearModel(3, outputs), loss, scaled, [3], l2=0.1).caution


@pytest.mark.filterwarnings("ignore::epsflow.EpsflowWarning")
def test_answers_say_it_too():
    problem = ef.linear_regression(twins(1e-6), [3])
    answers = [
        problem,
        ef.influence(problem),
        ef.leverage(problem),
        ef.newton_step(problem),
        ef.retrain(problem),
    ]
    assert all("nearly collinear along +1·a" in repr(answer) for answer in answers)
    table = ef.certify(problem, ef.Step(1.0), np.zeros(3), s=1.0, T=2.0).summary()
    assert "nearly collinear along +1·a" in str(table)


@pytest.mark.parametrize(("gap", "l2"), [(1e-3, 0.0), (1e-6, 1e-2)])
def test_good_data_and_penalised_fits_are_not_warned_of(gap: float, l2: float):
    data = twins(gap)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The penalty is in the units of each parameter: b and twin then have columns of one size.
        problem = ef.linear_regression(data.standardise() if l2 else data, [3], l2=l2)
    assert problem.caution == ""
    assert "caution" not in repr(ef.retrain(problem))
