"""The options: their types and words, and how a dataclass of them becomes the options of a command.

Nothing here, or in the modules that hold the commands, loads JAX: help and refusals answer at once.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

Start = Literal["zero", "random", "trained"]
Reduction = Literal["sum", "mean"]
Kind = Literal["linear", "logistic", "softmax", "mlp", "cnn", "own"]
Motion = Literal["flow", "sgd", "momentum", "adam"]
Stop = Literal["minimum", "early"]

KINDS = ("linear", "logistic", "softmax", "mlp", "cnn")
"""The models that have a name; any other is one of the user's, as module:function."""


def _model(name: str) -> str:
    """A model's name.

    Raises:
        typer.BadParameter: no model, and no function of a module.
    """
    module, colon, function = name.partition(":")
    if name in KINDS or (colon and function.isidentifier() and all(map(str.isidentifier, module.split(".")))):
        return name
    raise typer.BadParameter(
        f"{name!r} is none of {', '.join(KINDS)}. A model of yours is module:function, a function that returns it."
    )


def _image(text: str) -> str:
    """The sizes of an image, as they were typed.

    Raises:
        typer.BadParameter: anything else.
    """
    sizes = text.lower().split("x")
    if len(sizes) not in (2, 3) or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise typer.BadParameter(f"{text!r} is no image; write 8x8, or 3x8x8 for three channels.")
    return text.lower()


# ---- what is trained ----

Target = Annotated[
    str | None,
    typer.Option("--target", metavar="COLUMN", help="Its target column, by name or number. Default: the last."),
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header", help="Whether its first line holds names. Default: if none of its cells is a number."
    ),
]
Separator = Annotated[
    str | None,
    typer.Option(
        "--separator",
        metavar="MARK",
        help="Between its cells: comma, semicolon, tab, or a character. Default: what its first two lines share.",
    ),
]
Intercept = Annotated[
    bool, typer.Option("--intercept", help="Add a column of ones. --l2 penalises it like the others.")
]
Reduce = Annotated[Reduction, typer.Option("--reduction", help="Risk as sum or mean over the points.")]
Data = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME", help="A bundled data set: diabetes (the default), breast_cancer, digits, wine, iris."
    ),
]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv", metavar="FILE", help="A file of numbers: .csv, .tsv, also .gz, or .parquet; - is what is piped in."
    ),
]
Delete = Annotated[
    list[str] | None,
    typer.Option(
        "--delete",
        metavar="INDEX",
        help="Points to delete: 17, or -1 for the last, or a range 10:60 without its end; repeatable. "
        "Default: see above.",
    ),
]
Penalty = Annotated[
    float | None,
    typer.Option(
        "--l2",
        help="λ of the penalty (λ/2)‖θ‖². Default, of the mean: 0 for linear, 1/n for logistic and softmax, 0.03 for "
        "networks and models of yours.",
    ),
]
WhichModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        parser=_model,
        metavar="MODEL",
        help="linear, logistic, softmax, mlp, cnn, or module:function, a function of yours that returns a model. "
        "Default: linear for a number as target, logistic for class labels.",
    ),
]
Hidden = Annotated[
    list[int] | None,
    typer.Option(
        "--hidden", min=1, metavar="WIDTH", help="A hidden layer of a network; repeatable. Default: 8, for cnn none."
    ),
]
Channels = Annotated[
    list[int] | None,
    typer.Option("--channels", min=1, metavar="COUNT", help="Of a convolution of a CNN; repeatable. Default: 4."),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        parser=_image,
        metavar="HxW",
        help="What a CNN takes a point's features for, row by row: 8x8, or 3x8x8. Default: a grey square.",
    ),
]
Labels = Annotated[
    bool | None,
    typer.Option(
        "--labels/--no-labels",
        help="Whether the target of a file is a class label. Default: for logistic, softmax and cnn.",
    ),
]
NetworkSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of a network's start.")]
StopAt = Annotated[
    Stop | None, typer.Option("--stop", help="Where a network's training ends. Default: minimum; early: after --steps.")
]
Damping = Annotated[float, typer.Option("--damping", min=0.0, help="λ_d of the damped influence and the PBRF.")]
Steps = Annotated[int, typer.Option("--steps", min=0, help="Steps of gradient descent in training.")]
ExtraSteps = Annotated[int, typer.Option("--extra-steps", min=0, help="The last of them, redone without the points.")]
StepSize = Annotated[
    float | None,
    typer.Option(
        "--step-size", help="η of gradient descent. Default: 1/λ_max of the risk; for networks 0.1 of the mean."
    ),
]

# ---- what is asked of a schedule ----

RequestTime = Annotated[
    float | None,
    typer.Option(
        "--s",
        "-s",
        help="Time (or step) at which the deletion request arrives. Default: 50; of models other than linear 20; of "
        "steps 100.",
    ),
]
Horizon = Annotated[
    float | None,
    typer.Option(
        "--horizon",
        "-T",
        "--T",
        help="Time (or step) from which on ε must be 0. Default: 200; of models other than linear 50; of steps 120.",
    ),
]
StartAt = Annotated[
    Start | None, typer.Option("--start", help="Where training starts. Default: zero; for networks random.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of a random start, and of an optimiser's batches.")]
Optimiser = Annotated[
    Motion | None,
    typer.Option(
        "--optimiser",
        help="How θ moves: flow (gradient flow), or the steps of an optimiser. Default: flow for linear regression, "
        "sgd for other models, whose flows take longer.",
    ),
]
OptimiserStep = Annotated[
    float | None,
    typer.Option(
        "--step-size", help="Learning rate of the optimiser. Default, of the mean: 0.1; momentum (0.9) and adam 0.01."
    ),
]
Batch = Annotated[
    int | None, typer.Option("--batch", min=1, help="Points in each step of the optimiser. Default: all.")
]
EpsMin = Annotated[float, typer.Option("--eps-min", help="Least ε between s and T.")]
EpsMax = Annotated[float, typer.Option("--eps-max", help="Largest ε between s and T.")]
Budget = Annotated[
    float | None, typer.Option("--budget", help="The most that ∫|ε| dt between s and T may be. Default: no limit.")
]
Price = Annotated[float, typer.Option("--price", help="What a unit of ∫|ε| dt between s and T costs.")]
Intervals = Annotated[
    int | None,
    typer.Option("--intervals", min=1, help="Mesh intervals of the optimal schedule. Default: 100, or one per step."),
]
PerPoint = Annotated[bool, typer.Option("--per-point", help="One ε for each deleted point instead of one for all.")]
Check = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="Also ask CasADi: direct transcription, solved by IPOPT. Default: for linear regression.",
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit", metavar="SECONDS", help="Stop the search then, and report the best so far as unverified."
    ),
]

# ---- what an unlearning algorithm has to guarantee ----

ScopeName = Literal["per instance", "per data set", "worst case"]
PrivacyEpsilon = Annotated[float, typer.Option("--epsilon-dp", help="ε_dp of the guarantee.")]
PrivacyDelta = Annotated[float, typer.Option("--delta-dp", help="δ_dp of the guarantee.")]
WhichScope = Annotated[
    ScopeName | None,
    typer.Option(
        "--scope",
        help="Of which deletions the guarantee holds. Default: per data set for linear regression, worst case for "
        "logistic and softmax regression, per instance for an MLP.",
    ),
]
UnlearningSteps = Annotated[int, typer.Option("--unlearning-steps", "-K", min=0, help="Steps of unlearning.")]
Radius = Annotated[
    float | None,
    typer.Option("--radius", help="Of the ball that steps are projected to. Default: 2‖θ(1)‖, where one is needed."),
]
Draws = Annotated[int, typer.Option("--draws", min=1, help="Noisy models per algorithm.")]

# ---- which points matter ----

Method = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="loo, influence, newton, pbrf, bif, shapley, banzhaf, knn, random; along training: density, tracin, "
        "source, early-stopped, converged. Repeatable. Default: influence, newton, pbrf, density, tracin.",
    ),
]
HeldOut = Annotated[
    float, typer.Option("--held-out", help="Share of the points that the model is judged at, drawn by --split-seed.")
]
SplitSeed = Annotated[int, typer.Option("--split-seed", min=0, help="Seed of that draw, and of random methods.")]
Groups = Annotated[int, typer.Option("--groups", min=2, help="Random groups whose removal is predicted.")]

# ---- what is done with the answer ----

OptimiseFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Output folder. Default: epsflow-optimise; with --json, none."),
]
CompareFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Also write result.json and schedule.pdf/.png into this folder."),
]
InfluenceSolver = Annotated[
    Literal["cg", "dual", "cholesky", "nystrom", "ekfac", "lissa"] | None,
    typer.Option("--solver", help="One more row: the damped influence by this solver, ekfac for an MLP or a CNN."),
]
Matrix = Annotated[
    bool, typer.Option("--matrix/--no-matrix", help="Whether matrices of the parameters may be formed; none if many.")
]
MaxBytes = Annotated[
    int | None,
    typer.Option(
        "--max-bytes",
        min=1,
        metavar="BYTES",
        help="Memory for intermediate arrays. Default: 1 GiB. No effect on linear, logistic and softmax regression.",
    ),
]
InfluenceFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Also write result.json and endpoints.pdf/.png into this folder."),
]
UnlearnFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Also write result.json and unlearning.pdf/.png into this folder."),
]
AttributeFolder = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Also write result.json and attribution.pdf/.png into this folder."),
]
PageFolder = Annotated[
    Path | None,
    typer.Option("--report", metavar="DIR", help="Write report.html, a page that needs no other file, to this folder."),
]
ReportFolder = Annotated[
    Path | None, typer.Option("--report", metavar="DIR", help="Write ledger.html and ledger.md into this folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no table and no progress; the finding only.")]

# ---- which claims ----

Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="ID", help="Check this claim; repeatable. Default: all.")
]
Section = Annotated[
    str | None, typer.Option("--section", metavar="WORDS", help="Check the sections whose heading contains this.")
]
Thorough = Annotated[bool, typer.Option("--thorough/--quick", help="Many more instances and longer searches.")]
InstanceSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random instances.")]


def spread(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command whose dataclass parameters are given field by field: each field is an option of the command line.

    `def compare(source: Source, quiet: Quiet = False)` has the options of `Source`, then --quiet, and is called with a
    `Source` made of what was typed.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]))
            continue
        types = get_type_hints(groups[name], include_extras=True)
        for field in dataclasses.fields(groups[name]):
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(field.name, kind, default=field.default, annotation=types[field.name]))

    @functools.wraps(command)
    def call(**options: Any) -> Any:
        made = {
            name: group(**{field.name: options.pop(field.name) for field in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        return command(**made, **options)

    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__dict__["__signature__"] = inspect.Signature(parameters)
    return call
