"""What a newcomer reads: examples first, words explained once, what it runs on, a page to show."""

import html.parser
import importlib.metadata
from pathlib import Path

import pytest

COMMANDS = [
    *(("optimise",), ("compare",), ("influence",), ("unlearn",), ("attribute",), ("verify",), ("doctor",), ("study",)),
    *(("study", name) for name in ("list", "show", "run", "resume", "export", "report")),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_help_begins_with_two_examples(arguments: tuple[str, ...], command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.strip() for line in command(*arguments, "--help").out.splitlines() if line.strip()]
    assert lines[0].startswith("Usage: epsflow")
    assert lines[1] == "Examples:"
    asked = "epsflow " + " ".join(arguments)
    for line in lines[2:4]:
        assert line.startswith(asked)
        assert len(line) <= 80  # on one line, to be copied
    assert not lines[4].startswith("epsflow")


def test_the_list_of_commands_says_what_each_does(command):
    out = command("--help").out
    assert "Examples:" not in out
    assert "Print what epsflow runs on" in out


def test_doctor(command):
    ran = command("doctor")
    assert ran.status == 0, ran.out
    assert importlib.metadata.version("jax") in ran.out
    assert "float64" in ran.out
    assert "ipopt" in ran.out
    assert "Everything that epsflow needs is there." in ran.out
    assert command("doctor", "--json").json["found"]["devices"].startswith("cpu")


def test_doctor_names_what_is_too_old(command, monkeypatch: pytest.MonkeyPatch):
    version = importlib.metadata.version
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1" if name == "jax" else version(name))
    ran = command("doctor", "--quiet")
    assert ran.status == 1
    assert "Not well: jax: older than" in ran.out


def test_a_search_says_first_what_it_is_about_to_do(question, command):
    out = command("compare", *question).out
    first, *_, last = out.strip().splitlines()
    assert first.startswith("Searching the best step and decay ε(t) for point 4 of six: its weight in training is 1")
    assert "arrives at s = 0.05, and 0 from T = 0.5 on" in first
    assert last.startswith("local: ")
    assert out.count("certified: ") == 1
    assert command("compare", *question, "--quiet").out.count("\n") == 1


class Checker(html.parser.HTMLParser):
    """Whether a page is well nested, and what it loads."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        self.loads += [value for name, value in attrs if name in ("src", "href") and not str(value).startswith("#")]
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", ["compare", "influence"])
def test_a_page_that_needs_nothing_else(name: str, table_csv: Path, command, tmp_path: Path):
    asked = "--csv", table_csv, "--target", "weight", "--delete", "4"
    short = ("--s", "0.05", "-T", "0.5") if name == "compare" else ()
    ran = command(name, *asked, *short, "--report", tmp_path / "page")
    assert ran.status == 0, ran.err
    assert f"Written to {tmp_path / 'page'}: report.html" in ran.out
    text = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.loads == []
    assert "<svg" in text
    assert "six (6×2), deleting 4 (named)" in text
    assert (
        command(name, *asked, *short, "--report", tmp_path / "page", "--quiet").status == 0
    )  # its own page is replaced
    other = {"compare": "influence", "influence": "compare"}[name]
    ran = command(other, *asked, "--report", tmp_path / "page")
    assert (ran.status, ran.out) == (2, "")
    assert f"report.html that epsflow {other} did not write" in ran.err
