"""Names from files and headers are text wherever they come out, and numbers stay whole on a narrow terminal."""

import contextlib
import csv
import io
import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import epsflow as ef
from epsflow._core import Summary
from epsflow.cli._console import Column, Row, Table, draw, show
from epsflow.cli._deletion import Deletion
from epsflow.studies._tables import _without_formulas

NAMES = ("[red]a[/red]", "$x_", "=cmd()|' /C calc'!A0", "line\nbreak", "\x1b[31mred", "<b>bold</b>")


def printed(table: Table, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("epsflow.cli._console.PIPED_WIDTH", width)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        draw(table)
    return out.getvalue()


def test_markup_is_printed_and_control_characters_are_spelled_out(monkeypatch: pytest.MonkeyPatch):
    table = Table(" ".join(NAMES[:1]), [Column("name"), Column("n", number=True)], [Row((name, "1")) for name in NAMES])
    out = printed(table, 132, monkeypatch)
    for name in ("[red]a[/red]", "$x_", "=cmd()|' /C calc'!A0", "line\\nbreak", "\\x1b[31mred", "<b>bold</b>"):
        assert f" {name} " in out
    assert "\x1b" not in out


@pytest.mark.parametrize("width", [80, 60, 40])
def test_numbers_are_never_cut(width: int, monkeypatch: pytest.MonkeyPatch):
    numbers = ("3.51e-13", "4.452877e-03", "0.07509")
    columns = [Column("family"), Column("parameter"), *(Column(f"number {k}", number=True) for k in range(3))]
    rows = [Row(("ExponentialDecay", "t₁ = 199.158, power = 0.125", *numbers)) for _ in range(2)]
    out = printed(Table("title", columns, rows), width, monkeypatch)
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    for number in numbers:
        assert out.count(number) == 2


def test_where_nothing_fits_every_digit_is_still_there(monkeypatch: pytest.MonkeyPatch):
    out = printed(
        Table("t", [Column("a", number=True), Column("b", number=True)], [Row(("1234567890", "0987654321"))]),
        14,
        monkeypatch,
    )
    assert sorted(filter(str.isdigit, out)) == sorted("12345678900987654321")


def test_the_finding_is_not_markup():
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        show(Table("", []), "ε in [0, 1] [bold]", [Path("[red]/x.json")], quiet=False)
    assert "ε in [0, 1] [bold]\n" in out.getvalue()
    assert "Written to [red]: x.json" in out.getvalue()


@pytest.fixture(scope="module")
def strange() -> ef.Problem:
    """Two features and a data set whose names are all of the above."""
    x = np.random.default_rng(0).standard_normal((8, 2))
    data = ef.Dataset(x, x @ [1.0, -0.5] + 0.1 * x[:, 0] ** 2, "".join(NAMES), ("".join(NAMES), "$\\frac{"), "=1+1")
    return ef.linear_regression(data, [3])


def test_a_title_is_one_line(strange: ef.Problem):
    title = Deletion(strange, "named").title
    assert title.isprintable()
    assert title.startswith("[red]a[/red]$x_=cmd()|")


def test_figures_show_names_as_they_are(strange: ef.Problem, tmp_path: Path):
    """Half a formula would stop Matplotlib's mathtext when the figure is drawn."""
    flow = ef.gradient_flow(strange, ef.Step(1.0), np.zeros(2), ts=np.linspace(0.0, 2.0, 5))
    (axes,) = ef.plots.panels()
    ef.plots.phase_portrait(strange, {"flow": flow}, plane=(0, 1), ax=axes)
    label = axes.get_xlabel()
    assert "coefficient of [red]a[/red]\\$x_=cmd()" in label.replace("\n", " ")
    assert label.endswith("$\\theta$)")  # the mathtext beside the name stays whole where the label is broken
    ef.plots.save(axes, tmp_path / "plane.svg", tmp_path / "plane.png")
    assert "<b>bold" not in (tmp_path / "plane.svg").read_text(encoding="utf-8")


def test_html_has_no_tags_of_a_name():
    page = Summary("".join(NAMES), {}, [{"name": name} for name in NAMES])._repr_html_()
    assert "<b>bold" not in page
    assert page.count("&lt;b&gt;bold") == 2


def test_csv_of_a_study_has_no_formulas():
    table = pd.DataFrame({"=name": [*NAMES, "+1", "-1", "@sum", "plain"], "number": -1.0})
    text = _without_formulas(table).to_csv(index=False)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["'=name"] for row in rows][-5:] == ["<b>bold</b>", "'+1", "'-1", "'@sum", "plain"]
    assert rows[2]["'=name"] == "'" + NAMES[2]
    assert rows[0]["number"] == "-1.0"


def test_json_keeps_names(command, tmp_path: Path):
    file = tmp_path / "[red]$x=1.csv"
    header, rows = ["=cmd()", "$a", "[b]y"], [["1", "2", "3"], ["2", "1", "0"], ["0", "1", "1"], ["1", "1", "2.5"]]
    with file.open("w", newline="") as target:
        csv.writer(target).writerows(itertools.chain([header], rows))
    ran = command("compare", "--csv", file, "--delete", "1", "--s", "0.1", "-T", "1", "--json", "--out", tmp_path / "o")
    assert (ran.status, ran.err) == (0, "")
    assert ran.json["problem"]["features"] == ["=cmd()", "$a"]
    assert (ran.json["problem"]["target"], ran.json["problem"]["data"]) == ("[b]y", "[red]$x=1")
    assert json.loads((tmp_path / "o" / "result.json").read_text(encoding="utf-8"))["problem"]["target"] == "[b]y"
