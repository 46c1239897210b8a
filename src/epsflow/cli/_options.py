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
Kind = Literal["linear", "logistic", "mlp"]
Stop = Literal["minimum", "early"]

# ---- what is trained, for linear regression ----

Data = Annotated[str | None, typer.Option("--data", metavar="NAME", help="A bundled data set: diabetes (the default).")]
CsvFile = Annotated[
    Path | None,
    typer.Option(
        "--csv",
        metavar="FILE",
        help="A file of numbers for linear regression: .csv, .tsv, also .gz, or .parquet; - is what is piped in.",
    ),
]
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
Delete = Annotated[
    list[str] | None,
    typer.Option(
        "--delete",
        metavar="INDEX",
        help="Points to delete: 17, or -1 for the last, or a range 10:60 without its end; repeatable. "
        "Default: the one with the largest Cook's distance.",
    ),
]
Reduce = Annotated[Reduction, typer.Option("--reduction", help="Risk as sum or mean over the points.")]
Penalty = Annotated[float, typer.Option("--l2", help="λ of the penalty (λ/2)‖θ‖².")]

# ---- what is trained, for any model ----

AnyData = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME", help="A bundled data set: diabetes (the default), breast_cancer, digits, wine."
    ),
]
AnyFile = Annotated[
    Path | None,
    typer.Option(
        "--csv", metavar="FILE", help="A file of numbers: .csv, .tsv, also .gz, or .parquet; - is what is piped in."
    ),
]
AnyPoint = Annotated[
    list[str] | None,
    typer.Option(
        "--delete",
        metavar="INDEX",
        help="Points to delete: 17, or -1 for the last, or a range 10:60 without its end; repeatable. "
        "Default: see above.",
    ),
]
AnyPenalty = Annotated[
    float | None,
    typer.Option(
        "--l2", help="λ of the penalty (λ/2)‖θ‖². Default, of the mean: 0 for linear, 1/n for logistic, 0.03 for mlp."
    ),
]
WhichModel = Annotated[
    Kind | None, typer.Option("--model", help="Default: linear for a number as target, logistic for class labels.")
]
Hidden = Annotated[
    list[int] | None,
    typer.Option("--hidden", min=1, metavar="WIDTH", help="A hidden layer of an MLP; repeatable. Default: 8."),
]
NetworkSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of an MLP's start.")]
StopAt = Annotated[
    Stop | None, typer.Option("--stop", help="Where an MLP's training ends. Default: minimum; early: after --steps.")
]
Damping = Annotated[float, typer.Option("--damping", min=0.0, help="λ_d of the damped influence and the PBRF.")]
Steps = Annotated[int, typer.Option("--steps", min=0, help="Steps of gradient descent in training.")]
ExtraSteps = Annotated[int, typer.Option("--extra-steps", min=0, help="The last of them, redone without the points.")]
StepSize = Annotated[
    float | None,
    typer.Option(
        "--step-size", help="η of gradient descent. Default: 1/λ_max of the risk; for an MLP 0.1 of the mean."
    ),
]

# ---- what is asked of a schedule ----

RequestTime = Annotated[float, typer.Option("--s", help="Flow time at which the deletion request arrives.")]
Horizon = Annotated[float, typer.Option("--horizon", "-T", "--T", help="Flow time from which on ε must be 0.")]
StartAt = Annotated[Start, typer.Option("--start", help="Where training starts.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of --start random.")]
EpsMin = Annotated[float, typer.Option("--eps-min", help="Least ε between s and T.")]
EpsMax = Annotated[float, typer.Option("--eps-max", help="Largest ε between s and T.")]
Budget = Annotated[
    float | None, typer.Option("--budget", help="The most that ∫|ε| dt between s and T may be. Default: no limit.")
]
Price = Annotated[float, typer.Option("--price", help="What a unit of ∫|ε| dt between s and T costs.")]
Intervals = Annotated[int, typer.Option("--intervals", min=1, help="Mesh intervals of the optimal schedule.")]
PerPoint = Annotated[bool, typer.Option("--per-point", help="One ε for each deleted point instead of one for all.")]
Check = Annotated[
    bool,
    typer.Option("--check/--no-check", help="Also ask CasADi: direct transcription, solved by IPOPT."),
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
