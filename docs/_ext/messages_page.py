"""The page of messages: every refusal of the library as its source words it, under the explanation of its kind."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # the tests read this file where Sphinx is not installed
    from sphinx.application import Sphinx

PAGE = Path(__file__).parents[1] / "messages.md"
SOURCE = Path(__file__).parents[2] / "src" / "epsflow"
ERRORS = ("InputError", "ConvergenceError", "StoreError", "UntranslatableError")


class Topic(NamedTuple):
    """A kind of message.

    Attributes:
        title: its heading.
        explanation: why such a thing is refused, and what to do.
        places: beginnings of the paths, below the package, of the files that raise it; the longest that fits counts.
    """

    title: str
    explanation: str
    places: tuple[str, ...]


TOPICS = (
    Topic(
        "A value of the wrong kind, shape or range",
        "Checked at the door of every function, before anything is computed. The message names the argument, "
        "shows what came and says what to write. Numbers must be finite and in double precision; a vector "
        "must have as many entries as the problem has parameters; points are counted from 0.",
        ("_core/",),
    ),
    Topic(
        "Reading data",
        "A file, a table or an array that is no matrix of finite numbers. Nothing is imputed and no row is "
        "dropped: clean the table first. The line and the column are those that a text editor shows.",
        (
            "problem/_csv",
            "problem/_tables",
            "problem/_parquet",
            "problem/_row_groups",
            "problem/_columns",
            "problem/_dataset",
            "problem/_bundled",
            "problem/_labels",
        ),
    ),
    Topic(
        "Models, losses and problems",
        "What does not fit together: targets that a loss cannot read, a model whose output has another shape,"
        " a deletion that leaves nothing, a penalty below zero, an estimator that has no counterpart here.",
        ("problem/",),
    ),
    Topic(
        "Schedules",
        "ε(t) must be 1 until s, within its bounds until T, and 0 from T on; times ascend. A function of t is"
        " no schedule: derive a class, see [extending](extending.md#a-schedule-family).",
        ("schedules/",),
    ),
    Topic(
        "Flows and minima",
        "An integrator that gave up, a minimum at infinity (separable classes without a penalty, a direction "
        "that the data leave free), an iteration that did not meet its certificate. What was reached is on "
        "the error as `.result`; `throw=False` returns it with its outcome instead.",
        ("flow/",),
    ),
    Topic(
        "Training by an optimiser",
        "A batch beyond the data, a checkpoint of another training (both sides are shown), devices that do "
        "not divide the batch, or NaN, with the step at which it appeared.",
        ("flow/_training", "flow/_minibatches", "flow/_saved_training"),
    ),
    Topic(
        "Influence, retraining and their kin",
        "A curvature that is singular or not definite (add damping, or a penalty), θ that is no minimum where"
        " one is needed, a step size beyond its limit, a functional that is not finite.",
        ("analysis/",),
    ),
    Topic(
        "Optimal schedules",
        "A question that makes no sense (s ≥ T, bounds out of order, a budget that cannot be met), a target "
        "that the data do not determine, a method that does not fit the model, a solver that failed from "
        "every start, or time that ran out: the best schedule so far is on the error as `.result`.",
        ("control/",),
    ),
    Topic(
        "Guarantees of unlearning",
        "Privacy parameters outside their range, a step size above its limit (which is named), a certificate "
        "for convex risks asked of another, gradients without a bound, or a scope that cannot be computed.",
        ("unlearning/",),
    ),
    Topic(
        "Attribution",
        "A functional that is not finite, times off the trajectory, checkpoints that would not fit in memory "
        "(how much is said), chains that have not mixed, enumeration that would take too long (how long is "
        "said).",
        ("attribution/",),
    ),
    Topic(
        "Figures",
        "A result of another kind than the figure shows, Axes that do not fit, a file format that Matplotlib "
        "does not write.",
        ("plots/",),
    ),
    Topic(
        "Claims",
        "An unknown claim or section; the nearest is suggested. Pages of another hand are not overwritten.",
        ("claims/",),
    ),
    Topic(
        "Studies",
        "A specification that contradicts itself, a store of another study (all differences are shown), one "
        "that somebody else writes to, or files that are not a study's to overwrite.",
        ("studies/",),
    ),
    Topic(
        "The command line",
        "Options that contradict each other or name what is not there: one line, exit status 2. A result that"
        " cannot be written is exit status 1, and is printed instead.",
        ("cli/",),
    ),
)

INTRODUCTION = """# Messages

Every message says what was given, why it cannot be used, and what to try. Here they stand by kind, worded as in the
source, `…` for what is filled in. An `InputError` is about what was passed; a `ConvergenceError` about a computation,
and carries what was reached as `.result`; both are an `EpsflowError`. On the command line the former is exit status 2,
the latter 1.
"""


def topic_of(file: str) -> Topic:
    """The topic of a file, given by its path below the package.

    Raises:
        LookupError: none fits.
    """
    fitting = [(place, topic) for topic in TOPICS for place in topic.places if file.startswith(place)]
    if not fitting:
        raise LookupError(f"{file} raises a message that no topic of docs/_ext/messages_page.py explains.")
    return max(fitting, key=lambda each: len(each[0]))[1]


def messages() -> Iterator[tuple[str, str]]:
    """The file, below the package, and the words of every message."""
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERRORS and node.args:
                words = _words(node.args[0])
                if words.strip("… "):
                    yield file.relative_to(SOURCE).as_posix(), words


def _words(node: ast.expr) -> str:
    """A string as its source words it; what is filled in as an ellipsis."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_words(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _words(node.left) + _words(node.right)
    return "…"


def text() -> str:
    """The page as Markdown."""
    found: dict[str, list[str]] = {topic.title: [] for topic in TOPICS}
    for file, words in messages():
        found[topic_of(file).title].append(" ".join(words.split()))
    parts = [INTRODUCTION]
    for topic in TOPICS:
        parts.append(f"\n## {topic.title}\n\n{topic.explanation}\n")
        parts += [
            f"* ``` {words} ```" if "`" in words else f"* `{words}`" for words in dict.fromkeys(found[topic.title])
        ]
    return "\n".join(parts) + "\n"


def write_page(app: "Sphinx") -> None:
    """Writes the page if it differs from what is there."""
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text():
        PAGE.write_text(text(), encoding="utf-8")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Joins the build."""
    app.connect("builder-inited", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
