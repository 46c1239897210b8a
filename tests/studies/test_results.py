"""Tables, intervals, comparisons, and the page."""

import html.parser
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import epsflow as ef
from epsflow.studies import Interval, Share, Study, Summary, ready_made
from epsflow.studies._json import from_text, to_text
from epsflow.studies._statistics import PValue, bootstrap, compare, share


def test_pandas(finished: Study):
    frame = finished.to_pandas()
    assert list(frame.index) == list(range(24))
    assert (frame["status"] == "done").all()
    assert set(frame["d"]) == {2, 3}
    assert (frame["cost_Step"] <= frame["cost_baseline"] * (1.0 + 1e-12)).all()  # 1_[0,s] is one of the steps
    assert (frame["lower_bound"] <= frame["cost_optimum"]).all()


def test_xarray_has_the_curves_and_where_they_come_from(rewinds: Study):
    data = rewinds.to_xarray()
    assert data.sizes == {"run": 40, "point": 12}
    assert np.array_equal(data["depth"][0], rewinds.specification.depths)
    assert json.loads(data.attrs["specification"])["name"] == "rewind-depth"
    assert data["rewound"].dims == ("run", "point")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_hold_the_table(ending: str, finished: Study, tmp_path: Path):
    import pandas as pd

    (path,) = finished.export(tmp_path / f"table.{ending}")
    read = pd.read_csv(path, index_col="place") if ending == "csv" else pd.read_parquet(path)
    assert read["cost_optimum"].tolist() == finished.to_pandas()["cost_optimum"].tolist()
    assert [entry.name for entry in tmp_path.iterdir()] == [f"table.{ending}"]


def test_netcdf_holds_the_curves(rewinds: Study, tmp_path: Path):
    import xarray as xr

    (path,) = rewinds.export(tmp_path / "curves.nc")
    with xr.open_dataset(path, engine="scipy") as data:
        assert np.array_equal(data["rewound"], rewinds.to_xarray()["rewound"])


@pytest.mark.parametrize(("name", "reason"), [("a.xlsx", "must end in .csv"), ("no/a.csv", "cannot write")])
def test_files_that_cannot_be_written(name: str, reason: str, finished: Study, tmp_path: Path):
    with pytest.raises(ef.InputError, match=reason):
        finished.export(tmp_path / name)


def test_files_of_others_are_not_overwritten_without_being_told(finished: Study, tmp_path: Path):
    path = tmp_path / "mine.csv"
    path.write_text("mine")
    with pytest.raises(ef.InputError, match=r"mine\.csv exists; name another file, or overwrite it"):
        finished.export(tmp_path / "new.csv", path)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["mine"]  # and nothing else is written
    finished.export(path, overwrite=True)
    assert path.read_text().startswith("place,")


def test_a_report_replaces_its_own_files_and_no_others(rewinds: Study, make, tmp_path: Path):
    figure = tmp_path / "rewind-depth.png"
    figure.write_text("mine")
    with pytest.raises(ef.InputError, match=r"rewind-depth\.png exist\(s\), and not from an earlier report"):
        rewinds.report(tmp_path)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["mine"]
    page, *_ = rewinds.report(tmp_path, overwrite=True)
    rewinds.report(tmp_path)
    # A report on another study is not one on this.
    page.write_text(page.read_text(encoding="utf-8").replace(rewinds.specification.digest, "0" * 64), encoding="utf-8")
    with pytest.raises(ef.InputError, match=r"report\.html, .*rewind-depth\.pdf, .*rewind-depth\.png exist"):
        rewinds.report(tmp_path)


@pytest.mark.parametrize("which", ["finished", "rewinds"])
def test_a_summary_survives_json(which: str, request: pytest.FixtureRequest):
    summary = request.getfixturevalue(which).summary()
    again = Summary.from_json(summary.to_json())
    assert str(again) == str(summary)
    assert repr(again.tables) == repr(summary.tables)  # NaN is not itself
    assert repr([vars(drawing) for drawing in again.drawings]) == repr(
        [{**vars(d), "arguments": from_text(to_text(d.arguments))} for d in summary.drawings]
    )
    for words in ("{", "[1]", "{}", '{"done": 1}'):
        with pytest.raises(ef.InputError, match="not the JSON of a study's summary"):
            Summary.from_json(words)


@pytest.mark.parametrize(
    "value",
    [
        [1.5, float("nan"), -float("inf"), 3, True, "θ", None],
        {"array": np.array([[1.0, np.nan], [0.1 + 0.2, 0.0]]), "float": 2.0},
        [Interval(0.5, float("nan"), float("nan")), Share(0.1, 0.0, 1.0), PValue(1e-320)],
    ],
)
def test_values_survive_json(value):
    assert repr(from_text(to_text(value))) == repr(value)


def test_results_show_themselves_in_a_line_a_table_and_html(finished: Study, make):
    assert repr(finished).startswith("Study('small', 24 rows: 24 done, 0 failed, store='")
    assert repr(make()).startswith("Study('small', 24 rows: not begun, store='")
    foreign = make()
    foreign.store.write_text("mine")
    assert "its store cannot be read" in repr(foreign)
    summary = finished.summary()
    assert summary.answer[0] in str(summary)
    assert "Best Step against best LinearDecay" in repr(summary)
    for shown in (finished._repr_html_(), summary._repr_html_()):
        assert html.escape(summary.answer[0]) in shown
        assert shown.count("<table>") == len(summary.tables)
    table = summary.tables[0]
    frame = table.to_pandas()
    assert list(frame.columns[:5]) == ["problems", "runs", "Step cheaper", "Step cheaper, low", "Step cheaper, high"]
    assert frame["Step cheaper"].tolist() == [row[2].estimate for row in table.rows]
    assert max(map(len, str(table).splitlines()[:-1])) == len(str(table).splitlines()[1])


def test_an_interval_covers_as_often_as_it_says():
    """200 samples of 50 normal numbers: 95 % intervals cover the mean in 88 to 99 % (percentiles are short)."""
    rng = np.random.default_rng(0)
    found = [bootstrap(rng.standard_normal(50), np.nanmean) for _ in range(200)]
    assert 0.88 <= np.mean([interval.low <= 0.0 <= interval.high for interval in found]) <= 0.99


def test_units_are_resampled_whole():
    """Each number ten times is no more information than each number once."""
    values = np.random.default_rng(0).standard_normal(40)
    units = np.repeat(np.arange(40), 10)
    once, tenfold = bootstrap(values, np.nanmean), bootstrap(np.repeat(values, 10), np.nanmean, units.tolist())
    assert tenfold == pytest.approx(once, rel=1e-12)
    assert bootstrap(np.repeat(values, 10), np.nanmean).high < tenfold.high


def test_one_value_has_no_bootstrap_interval_and_none_has_no_estimate():
    one, none = bootstrap(np.ones(1), np.nanmean), bootstrap(np.ones(0), np.nanmean)
    assert (str(one), str(none)) == ("1", "–")
    assert str(share(np.ones(0, dtype=bool))) == "–"


@pytest.mark.parametrize("n", [1, 10, 137])
def test_the_interval_of_a_share_is_that_of_scipy(n: int):
    """SciPy inverts the binomial test by root finding; here it is a quantile of a beta distribution."""
    for k in {0, 1, n // 3, n}:
        found = share(np.arange(n) < k)
        theirs = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
        assert found.estimate == k / n
        # Root finding stops at 1e-12 of the range.
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-11)


def test_all_of_ten_is_not_certainty():
    """10 of 10: p ≥ 0.025^{1/10}. 0 of 10: p ≤ 1 − that."""
    least = 0.025**0.1
    assert share(np.ones(10, dtype=bool)) == pytest.approx((1.0, least, 1.0), rel=1e-12)
    assert share(np.zeros(10, dtype=bool)) == pytest.approx((0.0, 0.0, 1.0 - least), rel=1e-12)
    assert str(share(np.ones(10, dtype=bool))) == "100.0 [69.2, 100.0] %"
    assert str(Share(-1e-17, -1e-17, 0.5)) == "0.0 [0.0, 50.0] %"


@pytest.mark.parametrize("n", [5, 10, 40])
def test_an_interval_of_a_share_covers_it_at_least_as_often_as_it_says(n: int):
    """By enumeration: the probability of the outcomes whose interval has p in it, for every p."""
    intervals = [share(np.arange(n) < k) for k in range(n + 1)]
    for p in np.linspace(0.0, 1.0, 401):
        held = [k for k, found in enumerate(intervals) if found.low <= p <= found.high]
        assert stats.binom.pmf(held, n, p).sum() >= 0.95 - 1e-12


def test_rows_of_one_problem_count_once_for_a_share():
    """Ten copies of every row say no more than one; independent rows of one unit say as much as they are."""
    rng = np.random.default_rng(0)
    mask, units = rng.random(40) < 0.3, np.repeat(np.arange(40), 10)
    assert share(np.repeat(mask, 10), units.tolist()) == pytest.approx(share(mask), rel=1e-12)
    assert share(np.ones(400, dtype=bool), units.tolist()) == pytest.approx(share(np.ones(40, dtype=bool)), rel=1e-12)
    apart = rng.random(4000) < 0.3
    grouped = share(apart, np.repeat(np.arange(400), 10).tolist())
    # The effective number is itself estimated, here from 400 units: to about 1/√200 of its square root.
    assert grouped.high - grouped.low == pytest.approx(share(apart).high - share(apart).low, rel=0.15)


def test_correlated_rows_are_covered_too():
    """Sixty problems of three rows that agree in half of the cases; true share 0.2. 400 seeded repetitions.

    Of 400 intervals that cover in 95 %, at least 365 do but for a chance of 1e-3.
    """
    rng = np.random.default_rng(0)
    units, covered = np.repeat(np.arange(60), 3).tolist(), 0
    for _ in range(400):
        own, common = rng.random((60, 3)) < 0.2, rng.random((60, 1)) < 0.2
        found = share(np.where(rng.random((60, 1)) < 0.5, common, own).ravel(), units)
        covered += found.low <= 0.2 <= found.high
    assert covered >= 365


def test_comparisons_in_pairs():
    first, second = np.array([1.0, 1.0, 3.0, 0.0]), np.array([2.0, 1.0 + 1e-12, 1.0, 1.0])
    found = compare(first, second, np.zeros(4), range(4))
    assert (found.better.estimate, found.equal.estimate, found.worse.estimate) == (0.5, 0.25, 0.25)
    assert found.ratio.estimate == pytest.approx(1.0)  # of 2, 1 and ⅓; a first of zero has no ratio
    assert found.p_value == 1.0  # two against one
    # An error that covers the difference makes a tie of it.
    assert compare(first[:1], second[:1], np.ones(1), [0]).equal.estimate == 1.0
    # Ten rows of one problem are one problem for the sign test.
    one = compare(np.repeat(first[:1], 10), np.repeat(second[:1], 10), np.zeros(10), [0] * 10)
    assert (one.p_value, one.runs) == (1.0, 10)


def test_the_summary_counts_what_the_table_says(finished: Study):
    frame, summary = finished.to_pandas(), finished.summary()
    cheaper = (frame["cost_Step"] < frame["cost_LinearDecay"] * (1.0 - 1e-9)).mean()
    (row,) = [row for row in summary.tables[0].rows if row[0] == "all"]
    assert row[2].estimate == pytest.approx(cheaper, rel=1e-12)
    assert (summary.done, summary.failed, len(summary.answer)) == (24, 0, 2)
    savings, against = summary.tables[1:3]
    assert [row[0] for row in against.rows][-1] == "all"
    saved = 100.0 * (1.0 - frame["cost_Step"] / frame["cost_baseline"])
    assert savings.words()[-1][1].startswith(f"{saved.median():.1f} [")
    assert savings.words()[-1][2] == f"{saved.quantile(0.9):.1f} %"


class Page(html.parser.HTMLParser):
    """Balanced tags, and everything that a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "path", "use", "rect", "line"):
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()


@pytest.mark.parametrize("which", ["finished", "rewinds"])
def test_the_report_needs_nothing_else(which: str, request: pytest.FixtureRequest, tmp_path: Path):
    study: Study = request.getfixturevalue(which)
    page, *figures = study.report(tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    parser = Page()
    parser.feed(text)
    assert all(link.startswith("#") for link in parser.fetched)
    assert parser.open == []
    assert text.count("<svg") == len(study.summary().drawings) == len(figures) / 2
    assert study.specification.digest in text
    assert {path.suffix for path in figures} == {".pdf", ".png"}
    for sentence in study.summary().answer:
        assert html.escape(sentence) in text


@pytest.mark.parametrize("name", ["influence-vs-retraining", "exact-unlearning"])
def test_the_other_tasks(name: str, tmp_path: Path):
    problems = [{"kind": "random", "d": 2, "n": 12, "outlier": [3.0], "draws": 4}]
    study = Study(ready_made(name, problems=problems, s=[0.5]), store=tmp_path / "a.sqlite")
    assert study.run().failed == 0
    frame, summary = study.to_pandas(), study.summary()
    assert len(summary.answer) == len(summary.drawings) == 1
    if name == "influence-vs-retraining":
        # For least squares a Newton step is retraining; influence is short of it by the leverage.
        assert frame["error_newton"].max() < 1e-9
        assert (frame["error_influence"] > 1e-6).all()
    else:
        reached = frame[frame["reached"]]
        assert (reached["time"] >= reached["not_before"] * (1.0 - 1e-9)).all()
        assert np.isinf(frame[~frame["reached"]]["time"]).all()


def test_certificates_lie_above_every_distance(tmp_path: Path):
    problems = [{"kind": "random", "d": 2, "n": 12, "outlier": [3.0], "draws": 4}]
    study = Study(
        ready_made("certificates", problems=problems, steps=30, unlearning_steps=5), store=tmp_path / "a.sqlite"
    )
    assert study.run().failed == 0
    frame, summary = study.to_pandas(), study.summary()
    assert "20 certificates, all certified" in summary.answer[0]
    for name in ("D2D", "R2D", "ascent", "Newton", "Langevin"):
        assert (frame[f"distance_{name}"] <= frame[f"bound_{name}"] * (1.0 + 1e-9) + 1e-12).all()


def test_the_density_knows_how_long_training_was(tmp_path: Path):
    problems = [{"kind": "random", "d": 2, "n": 12, "draws": 4}]
    study = Study(ready_made("attribution", problems=problems, T=[0.1, 4000.0]), store=tmp_path / "a.sqlite")
    assert study.run().failed == 0
    frame, summary = study.to_pandas(), study.summary()
    assert len(summary.answer) == len(summary.drawings) == 1
    brief, long = frame[frame["T"] == 0.1], frame[frame["T"] == 4000.0]
    assert (brief["error_density"] < brief["error_converged"]).all()
    # When training has converged, both are the influence function, to what is left of the start.
    assert np.abs(long["error_density"] - long["error_converged"]).max() < 1e-9


def test_nothing_to_summarise(make):
    study = make()
    with pytest.raises(ef.InputError, match="cannot read"):
        study.summary()
    failing = make(store="b.sqlite", problems=[{"kind": "random", "d": 3, "n": 2, "draws": 1}])
    failing.run()
    with pytest.raises(ef.InputError, match="no row of the study is done yet"):
        failing.summary()
