"""What the help says: two examples first, then what a command does, and below it the words that are not everyday's."""

import re
from typing import TypedDict

EPSILON = "ε(t) is the weight of the deleted points in training: 1 trains with them, 0 without."
BASELINE = "1_[0,s], the baseline: trained with them until the request at time s, and without them from then on."
COST = "𝓔 = ½‖θ(T) − θ*‖²: how far training ends from the model that never saw them."
CERTIFIED = "certified: a lower bound was computed, and no schedule at all costs less than it."
LOCAL = "local: small changes of the schedule do not help; unverified: nothing was shown."
SCHEDULE_WORDS = (EPSILON, BASELINE, COST, CERTIFIED, LOCAL)

INFLUENCE_WORDS = (
    "deleted points: those whose removal is asked about.",
    "retraining: the model trained without them, which everything else estimates.",
    "influence: the first-order answer, from the curvature at the trained model. PBRF: proximal Bregman response.",
    "D2D, R2D: gradient descent without the points that goes on from the trained model, or from an earlier one.",
    "gradients, Hv: what it cost, in gradients of the whole risk and Hessian-vector products.",
)


IN_OPTIONS = (
    (r"Give l2 > 0, or the target that you want, or a cost that .*", "Leave a column out, or add --l2."),
    (r"Add l2 > 0; or pass the theta that you mean, .*", "Leave a column out, or add --l2."),
    (r", add l2 > 0, or pass theta0 to pick one", ", or add --l2"),
    (r"[;.]? throw=False [^.;]*", ""),
    (r"\b(give|add|Add|Give) l2 > 0", r"\1 --l2"),
    (r"\bmatrix=False needs none", "--no-matrix needs none"),
    (r"\bmax_bytes is\b", "--max-bytes is"),
)
"""What the library advises in Python, as patterns, and the same on the command line."""


def in_options(advice: str) -> str:
    """A message of the library, for who has options and no Python at hand."""
    for pattern, words in IN_OPTIONS:
        advice = re.sub(pattern, words, advice)
    return advice


class Described(TypedDict):
    """The words of a command, by the names that typer gives them."""

    short_help: str
    help: str


def about(examples: tuple[str, str], short: str, *paragraphs: str) -> Described:
    """How a command is described: its line in the list of commands, and its help, which begins with two examples.

    Line breaks within a paragraph are kept on screen.
    """
    return {
        "short_help": short,
        "help": "\n\n".join(["\b\n" + "\n".join(["Examples:", *examples]), short, *paragraphs]),
    }


OPTIMISE = (
    ("epsflow optimise", "epsflow optimise --data digits --model mlp --optimiser adam --batch 64"),
    "Find the schedule ε(t) that unlearns the points best, and show it beside the best step and decays.",
    "Without options: linear regression on the diabetes data, without its most influential point. Writes result.json, "
    "schedule.csv, schedule.pdf and schedule.png.",
    "Linear regression moves by gradient flow, on standardised columns, and the optimum is certified. Class labels are "
    "answered by logistic or softmax regression. These, networks (mlp, cnn) and models of yours (module:function) are "
    "trained by the steps of an optimiser: s and T count steps, the goal is the model retrained from the same start "
    "without the points, and the optimum is local. Without --delete the point is the one with the largest Cook's "
    "distance or self-influence.",
)
COMPARE = (
    ("epsflow compare", "epsflow compare --csv wear.csv --delete 10:20 --json"),
    "Find the best step, linear, polynomial and exponential decay, and print them beside the baseline 1_[0,s].",
    "The models, and what moves them, are those of epsflow optimise.",
)
INFLUENCE = (
    ("epsflow influence", "epsflow influence --data breast_cancer --delete 297"),
    "Compare the answers to a deletion: retraining, influence functions, a Newton step, proximal Bregman responses, "
    "and gradient descent that goes on (D2D) or rewinds (R2D).",
    "Without options: linear regression on the diabetes data, without its most influential point.",
    "Class labels (breast_cancer, digits, wine, iris, or a CSV file with --labels) are answered by logistic or "
    "softmax regression. --model mlp, cnn or module:function is trained by gradient descent from a seeded start, and "
    "then to the minimum nearby unless --stop early. Without --delete, the point whose removal should raise its own "
    "loss most is taken: the largest Cook's distance for linear regression, the largest self-influence with the "
    "Gauss-Newton matrix otherwise.",
)
UNLEARN = (
    ("epsflow unlearn", "epsflow unlearn --data breast_cancer --epsilon-dp 2"),
    "Certify unlearning algorithms: how far each ends from retraining, the bound on that, the noise σ that makes it "
    "(ε_dp, δ_dp)-indistinguishable, and what the noise costs.",
    "Without options: linear regression on the diabetes data, without its most influential point, for every point of "
    "the data set. Class labels are answered by logistic or softmax regression, --model mlp or cnn by a small network. "
    "Algorithms whose noise enters in each step are certified in the worst case.",
)
ATTRIBUTE = (
    ("epsflow attribute", "epsflow attribute --data breast_cancer --out scores"),
    "Score every point by what its removal should do to the mean loss at held-out points, and lay each method beside "
    "exact retraining.",
    "Without options: linear regression on the diabetes data. Class labels are answered by logistic or softmax "
    "regression, --model mlp or cnn by a small network. Methods along training (density, tracin, source, "
    "early-stopped, converged) follow gradient flow for the time that --steps of gradient descent cover; of a network "
    "the density is that of these steps, exactly.",
)
VERIFY = (
    ("epsflow verify", "epsflow verify --only bang-bang --report ledger"),
    "Put every statement of the notes to the test, and print the ledger of verdicts.",
    "The quick form takes a minute or two. Exit status 1 if a verdict differs from the expected one.",
)
DOCTOR = (
    ("epsflow doctor", "epsflow doctor --json"),
    "Print what epsflow runs on: versions, precision, devices, and the solvers that CasADi brings.",
    "Exit status 1 if something is missing or older than what epsflow was tested with.",
)
STUDY = (
    ("epsflow study run step-vs-linear --limit 500", "epsflow study report step-vs-linear.sqlite"),
    "Run a question over thousands of problems, and see what holds.",
    "A study is ready-made (see epsflow study list) or a TOML file. Its rows are kept in a SQLite file as they come: "
    "interrupted at any moment, the same command goes on where it was.",
)
STUDY_LIST = (("epsflow study list", "epsflow study list --json"), "The studies that ship with epsflow.")
STUDY_SHOW = (
    ("epsflow study show step-vs-linear", "epsflow study show step-vs-linear.sqlite"),
    "What a study asks, or how far a store is and what it found.",
)
STUDY_RUN = (
    ("epsflow study run rewind-depth", "epsflow study run mine.toml --runner processes --workers 4"),
    "Run a study: a ready-made one, or a TOML file. Goes on where an earlier run was interrupted.",
)
STUDY_RESUME = (
    ("epsflow study resume rewind-depth.sqlite", "epsflow study resume rewind-depth.sqlite --retry-failed"),
    "Go on with the study that a store holds.",
)
STUDY_EXPORT = (
    ("epsflow study export rewind-depth.sqlite table.csv", "epsflow study export mine.sqlite table.parquet table.nc"),
    "Write a store's table as .csv, .parquet or .nc (netCDF), by the files' endings.",
)
STUDY_REPORT = (
    ("epsflow study report rewind-depth.sqlite", "epsflow study report mine.sqlite --out page --overwrite"),
    "Write a page of HTML that needs nothing else, and its figures as PDF and PNG.",
)
