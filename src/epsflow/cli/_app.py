"""The commands: parse, call."""

import io
import sys
from collections.abc import Sequence
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated

import jax
import typer

from .._core import EpsflowError, InputError
from . import _influence, _optimise, _verify
from ._inputs import Reduction, Request, Source, Start
from ._models import Kind, Stop, Training
from ._study import study

BAD_INPUT, NOT_CONVERGED, INTERRUPTED = 2, 1, 130
DEFAULT_FOLDER = Path("epsflow-optimise")

# One string per paragraph: the line breaks of a docstring would be kept on screen.
OPTIMISE = (
    "Find the schedule ε(t) that unlearns the points best, and show it beside the best step and decays.\n\n"
    "Without options: linear regression on the diabetes data, without its most influential point. Writes result.json, "
    "schedule.csv, schedule.pdf and schedule.png.\n\n"
    "The model is linear regression on standardised columns, target included. For other models there is "
    "epsflow.optimal_schedule in Python."
)
INFLUENCE = (
    "Compare the answers to a deletion: retraining, influence functions, a Newton step, proximal Bregman responses, "
    "and gradient descent that goes on (D2D) or rewinds (R2D).\n\n"
    "Without options: linear regression on the diabetes data, without its most influential point.\n\n"
    "Class labels (breast_cancer, digits, wine, or a CSV file with --model logistic) are answered by logistic or "
    "softmax regression. --model mlp is trained by gradient descent from a seeded start, and then to the minimum "
    "nearby unless --stop early. Without --delete, the point whose removal should raise its own loss most is taken: "
    "the largest Cook's distance for linear regression, the largest self-influence with the Gauss-Newton matrix "
    "otherwise."
)
VERIFY = (
    "Put every statement of the notes to the test, and print the ledger of verdicts.\n\n"
    "The quick form takes a minute or two. Exit status 1 if a verdict differs from the expected one."
)
COMPARE = "Find the best step, linear, polynomial and exponential decay, and print them beside the baseline 1_[0,s]."

app = typer.Typer(
    name="epsflow",
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Training as gradient flow with a time-varying data weight ε(t): which ε(t) unlearns a point best?",
    epilog="Exit status: 0; 1 if a computation did not converge or a claim changed its verdict; 2 for input that "
    "cannot be used.",
)

app.add_typer(study, name="study")

Data = Annotated[str | None, typer.Option("--data", metavar="NAME", help="A bundled data set: diabetes (the default).")]
CsvFile = Annotated[
    Path | None, typer.Option("--csv", metavar="FILE", help="A CSV file of numbers, for linear regression.")
]
Target = Annotated[
    str | None,
    typer.Option("--target", metavar="COLUMN", help="Its target column, by name or number. Default: the last."),
]
Delete = Annotated[
    list[int] | None,
    typer.Option(
        "--delete", metavar="INDEX", help="A point to delete, from 0; repeatable. Default: the largest Cook's distance."
    ),
]
RequestTime = Annotated[float, typer.Option("--s", help="Flow time at which the deletion request arrives.")]
Horizon = Annotated[float, typer.Option("--horizon", "-T", "--T", help="Flow time from which on ε must be 0.")]
StartAt = Annotated[Start, typer.Option("--start", help="Where training starts.")]
AnyData = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME", help="A bundled data set: diabetes (the default), breast_cancer, digits, wine."
    ),
]
AnyFile = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="A CSV file of numbers.")]
AnyPoint = Annotated[
    list[int] | None,
    typer.Option("--delete", metavar="INDEX", help="A point to delete, from 0; repeatable. Default: see above."),
]
WhichModel = Annotated[
    Kind | None, typer.Option("--model", help="Default: linear for a number as target, logistic for class labels.")
]
Hidden = Annotated[
    list[int] | None,
    typer.Option("--hidden", min=1, metavar="WIDTH", help="A hidden layer of an MLP; repeatable. Default: 8."),
]
StopAt = Annotated[
    Stop | None, typer.Option("--stop", help="Where an MLP's training ends. Default: minimum; early: after --steps.")
]
NetworkSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of an MLP's start.")]
StepSize = Annotated[
    float | None,
    typer.Option(
        "--step-size", help="η of gradient descent. Default: 1/λ_max of the risk; for an MLP 0.1 of the mean."
    ),
]
AnyPenalty = Annotated[
    float | None,
    typer.Option(
        "--l2", help="λ of the penalty (λ/2)‖θ‖². Default, of the mean: 0 for linear, 1/n for logistic, 0.03 for mlp."
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of --start random.")]
Reduce = Annotated[Reduction, typer.Option("--reduction", help="Risk as sum or mean over the points.")]
Penalty = Annotated[float, typer.Option("--l2", help="λ of the penalty (λ/2)‖θ‖².")]
EpsMin = Annotated[float, typer.Option("--eps-min", help="Least ε between s and T.")]
EpsMax = Annotated[float, typer.Option("--eps-max", help="Largest ε between s and T.")]
Intervals = Annotated[int, typer.Option("--intervals", min=1, help="Mesh intervals of the optimal schedule.")]
Budget = Annotated[
    float | None, typer.Option("--budget", help="The most that ∫|ε| dt between s and T may be. Default: no limit.")
]
Price = Annotated[float, typer.Option("--price", help="What a unit of ∫|ε| dt between s and T costs.")]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit", metavar="SECONDS", help="Stop the search then, and report the best so far as unverified."
    ),
]
PerPoint = Annotated[bool, typer.Option("--per-point", help="One ε for each deleted point instead of one for all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no table and no progress; the finding only.")]


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"epsflow {installed_version('epsflow')}")
        raise typer.Exit()
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass  # --version is answered before; `epsflow` alone is an error that names the commands


@app.command(help=OPTIMISE)
def optimise(
    data: Data = None,
    csv: CsvFile = None,
    target: Target = None,
    delete: Delete = None,
    s: RequestTime = 50.0,
    horizon: Horizon = 200.0,
    start: StartAt = "zero",
    seed: Seed = 0,
    reduction: Reduce = "mean",
    l2: Penalty = 0.0,
    eps_min: EpsMin = 0.0,
    eps_max: EpsMax = 1.0,
    intervals: Intervals = 100,
    per_point: PerPoint = False,
    budget: Budget = None,
    price: Price = 0.0,
    time_limit: TimeLimit = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Output folder. Default: epsflow-optimise; with --json, none."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The optimum, the families, the table and the files."""
    source = Source(data, csv, target, tuple(delete or ()), reduction, l2)
    request = Request(
        source, s, horizon, (eps_min, eps_max), start, seed, intervals, per_point, budget, price, time_limit
    )
    folder = DEFAULT_FOLDER if out is None and not as_json else out
    _optimise.run("optimise", request, folder, as_json=as_json, quiet=quiet)


@app.command(help=COMPARE)
def compare(
    data: Data = None,
    csv: CsvFile = None,
    target: Target = None,
    delete: Delete = None,
    s: RequestTime = 50.0,
    horizon: Horizon = 200.0,
    start: StartAt = "zero",
    seed: Seed = 0,
    reduction: Reduce = "mean",
    l2: Penalty = 0.0,
    eps_min: EpsMin = 0.0,
    eps_max: EpsMax = 1.0,
    budget: Budget = None,
    price: Price = 0.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Also write result.json and schedule.pdf/.png into this folder."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The families and the table; files only where asked."""
    source = Source(data, csv, target, tuple(delete or ()), reduction, l2)
    request = Request(source, s, horizon, (eps_min, eps_max), start, seed, budget=budget, price=price)
    _optimise.run("compare", request, out, as_json=as_json, quiet=quiet)


@app.command(help=INFLUENCE)
def influence(
    data: AnyData = None,
    csv: AnyFile = None,
    target: Target = None,
    delete: AnyPoint = None,
    model: WhichModel = None,
    hidden: Hidden = None,
    seed: NetworkSeed = 0,
    stop: StopAt = None,
    reduction: Reduce = "mean",
    l2: AnyPenalty = None,
    damping: Annotated[float, typer.Option("--damping", help="λ_d of the damped influence and the PBRF.")] = 1e-3,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Steps of gradient descent in training.")] = 1_000,
    extra_steps: Annotated[
        int, typer.Option("--extra-steps", min=0, help="The last of them, redone without the points.")
    ] = 100,
    step_size: StepSize = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Also write result.json and endpoints.pdf/.png into this folder."),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """The endpoints and the table; files only where asked."""
    source = Source(data, csv, target, tuple(delete or ()), reduction, l2)
    training = Training(model, tuple(hidden or ()), stop, seed, steps, step_size, damping)
    _influence.run(_influence.Request(source, training, extra_steps), out, as_json=as_json, quiet=quiet)


@app.command(help=VERIFY)
def verify(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="ID", help="Check this claim; repeatable. Default: all.")
    ] = None,
    section: Annotated[
        str | None, typer.Option("--section", metavar="WORDS", help="Check the sections whose heading contains this.")
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough/--quick", help="Many more instances and longer searches.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the random instances.")] = 0,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="DIR", help="Write ledger.html and ledger.md into this folder.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """The ledger; files only where asked."""
    request = _verify.Request(tuple(only or ()), section, thorough, seed, report)
    return _verify.run(request, as_json=as_json, quiet=quiet)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name; default: those of this process.

    Returns:
        The exit status: 0; 1 if a computation did not converge, or a claim changed its verdict; 2 for bad input, said
        in one line on stderr.
    """
    jax.config.update("jax_enable_x64", True)  # before any array; the library itself leaves global flags alone
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ε still gets its table
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="epsflow", standalone_mode=False)
    except InputError as error:
        return _refuse(str(error), BAD_INPUT)
    except EpsflowError as error:  # a computation or a study's store: the input was not at fault
        return _refuse(str(error), NOT_CONVERGED)
    except typer.TyperException as error:
        return _refuse(f"{error.format_message().rstrip('.')}. See epsflow --help.", BAD_INPUT)
    except typer.Abort:
        return _refuse("interrupted.", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _refuse(reason: str, status: int) -> int:
    print(f"epsflow: error: {' '.join(reason.split())}", file=sys.stderr)
    return status
