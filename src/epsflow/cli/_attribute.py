"""`epsflow attribute`: which points matter, by many methods, beside exact retraining."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _core, attribution, plots, problem
from . import _options as options
from ._console import Column, Row, Table, show
from ._inputs import NETWORKS, Architecture, Source, Training, architecture, read_material
from ._output import ATTRIBUTION_FIGURE, RESULT, check_folder, write_folder
from ._progress import stages

if TYPE_CHECKING:
    from ..attribution import AttributionComparison
    from ..problem import Dataset, Problem

ALONG_TRAINING = ("density", "tracin", "source", "early-stopped", "converged")
AT_THE_END = ("loo", "influence", "newton", "pbrf", "bif", "shapley", "banzhaf", "knn", "random")
DEFAULT = ("influence", "newton", "pbrf", "density", "tracin")
CHECKPOINTS = 33
"""Times of training that TracIn and SOURCE see."""
GRADIENTS = (
    "of single points; null for methods along training, whose cost is not a number of them: a solver of differential "
    "equations chooses its steps, linear regression is followed in closed form, and steps are differentiated as well. "
    "It is in seconds."
)
"""What the JSON says of the column."""
FEW = 5
"""Points at each end that the table names."""


@dataclass(frozen=True)
class Scoring(Architecture):
    """The options of `attribute`, as they were given; None for what was not.

    Attributes:
        method: which methods.
        seed: of a network's start.
        steps, step_size: of gradient descent, which say how long training is.
        held_out, split_seed: which points the model is judged at.
        groups: how many random groups are removed.
    """

    method: options.Method = None
    seed: options.NetworkSeed = 0
    steps: options.Steps = 1_000
    step_size: options.StepSize = None
    held_out: options.HeldOut = 0.2
    split_seed: options.SplitSeed = 0
    groups: options.Groups = 100

    def methods(self) -> tuple[str, ...]:
        """The methods that were named.

        Raises:
            InputError: one that is not known.
        """
        named = tuple(dict.fromkeys(self.method or DEFAULT))
        for name in named:
            _core.as_choice(name, "method", (*AT_THE_END, *ALONG_TRAINING))
        return named

    def training(self) -> Training:
        """As options of training."""
        return Training(**architecture(self), seed=self.seed, steps=self.steps, step_size=self.step_size, extra_steps=0)

    def refuse(self) -> None:
        """Refuse what no question could have.

        Raises:
            InputError: naming the option.
        """
        self.methods()
        self.training().refuse()
        if not 0.0 < _core.as_scalar(self.held_out, "held_out") < 1.0:
            raise _core.InputError(f"--held-out {self.held_out:g} is no share; write 0.2 for a fifth of the points.")
        if self.steps < 1:
            raise _core.InputError("--steps is 0: without training no point has had influence.")


def attribute(
    source: Source,
    scoring: Scoring,
    out: options.AttributeFolder = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """The table of methods; files only where asked."""
    run(source, scoring, out, as_json=as_json, quiet=quiet)


def run(source: Source, scoring: Scoring, folder: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Check, compute, write, print.

    Raises:
        InputError: options that cannot be used; files that could not be written.
        ConvergenceError: training, retraining or a method failed.
    """
    scoring.refuse()
    if source.delete:
        raise _core.InputError("--delete names points to forget; attribute scores every point, so leave it out.")
    if folder is not None:
        check_folder(folder)
    with stages(5, quiet=quiet) as begin:
        begin("reading the data")
        material = read_material(source, scoring.training())
        begin("training")
        from ._deletion import Deletion, warnings  # from here on JAX is needed
        from ._document import heading, to_json

        asked = _asked(source, scoring, material)
        begin("following training")
        columns = {name: _along(asked, name) if name in ALONG_TRAINING else None for name in scoring.methods()}
        begin("retraining without every point, and scoring it")
        result = _compared(asked, columns, scoring)
        begin("writing")
        deletion = Deletion(asked.problem, "none: every point is scored")
        document = to_json({**heading("attribute", source, deletion), **_answers(scoring, asked, result)})
        written = write_folder(folder, {RESULT: document + "\n"}, lambda place: _draw(result, place))
    if as_json:
        print(document)
    else:
        notes, told = _notes(asked, result), warnings(asked.problem)
        drawn, found = _table(asked, result), _finding(asked, result)
        show(drawn, found, written.files, quiet=quiet, notes=notes, warnings=told)
    if written.trouble is not None:
        raise written.trouble


@dataclass(frozen=True, eq=False)
class _Asked:
    """What every method is asked about.

    Attributes:
        problem: the points that are trained on.
        test: the points it is judged at.
        rows: the numbers of the former in the data as given.
        theta0, theta: start of training and θ(1); None for zero, and for the optimum.
        step_size: η.
        steps: how many.
    """

    problem: "Problem"
    test: "Dataset"
    rows: Any
    theta0: Any
    theta: Any
    step_size: float
    steps: int

    @property
    def functional(self) -> Any:
        """The loss at the test points: one value each for linear regression, which then compiles nothing."""
        from ..analysis import Losses

        losses = Losses(self.problem.model, self.problem.loss, self.test.x, self.test.y)
        return losses if self.problem.design is not None else attribution.MeanLoss(losses)


def _asked(source: Source, scoring: Scoring, material: Any) -> _Asked:
    import numpy as np

    from ._models import problem_of, train_network

    data, rng = material.data, np.random.default_rng(scoring.split_seed)
    count = max(1, round(scoring.held_out * data.n))
    if count > data.n - 2:
        raise _core.InputError(f"--held-out leaves {data.n - count} of {data.n} points to train on.")
    held = np.sort(rng.choice(data.n, size=count, replace=False))
    rows = np.setdiff1d(np.arange(data.n), held)
    kept, test = (problem.Dataset(data.x[part], data.y[part], data.name, data.features) for part in (rows, held))
    training = scoring.training()
    if material.kind == "linear":
        asked = problem.linear_regression(kept, l2=source.l2 or 0.0, reduction=source.reduction)
    else:
        from dataclasses import replace

        asked = problem_of(source, training, replace(material, data=kept), [])
    if material.kind in NETWORKS:
        theta0, theta, step_size, _ = train_network(asked, training)
        return _Asked(asked, test, rows, np.asarray(theta0), np.asarray(theta), step_size, scoring.steps)
    theta0 = np.zeros(asked.dim)
    largest = np.linalg.norm(np.asarray(asked.hessian(theta0, 1.0)), 2)
    step_size = 1.0 / float(largest) if scoring.step_size is None else scoring.step_size
    return _Asked(asked, test, rows, theta0, None, step_size, scoring.steps)


def _along(asked: _Asked, name: str) -> Any:
    """Scores of one method along training, and what they took."""
    import time

    import numpy as np

    from ..schedules import Constant

    start = time.perf_counter()
    setting = asked.problem, Constant(1.0), asked.theta0
    if name == "density" and asked.theta is not None:
        import optax

        ask = {"ts": np.array([0.0, float(asked.steps)]), "optimiser": optax.sgd(asked.step_size)}
        change = attribution.influence_density(*setting, functional=asked.functional, **ask).removal().change
    else:
        ts = np.linspace(0.0, asked.steps * asked.step_size, CHECKPOINTS if name in ("tracin", "source") else 2)
        ask = {"ts": ts, "functional": asked.functional}
        methods = {
            "density": lambda: attribution.influence_density(*setting, **ask).removal(),
            "tracin": lambda: attribution.tracin(*setting, **ask),
            "source": lambda: attribution.source_influence(*setting, **ask),
            "early-stopped": lambda: attribution.early_stopped_influence(*setting, **ask),
            "converged": lambda: attribution.converged_influence(*setting, **ask),
        }
        change = methods[name]().change
    seconds = time.perf_counter() - start
    column = np.asarray(change if change.ndim == 1 else change.mean(axis=1))
    return attribution.Scores(column, np.zeros(len(column)), None, seconds)


def _compared(asked: _Asked, columns: dict[str, Any], scoring: Scoring) -> "AttributionComparison":
    import jax

    key = jax.random.key(scoring.split_seed)
    options = {"bif": {"key": key}} if "bif" in columns else {}
    return attribution.compare_attributions(
        asked.problem,
        columns,
        test=asked.test,
        theta=asked.theta,
        groups=scoring.groups,
        fractions=(),
        key=key,
        options=options,
    )


def _draw(result: "AttributionComparison", place: Path) -> None:
    axes = plots.panels()
    plots.attributions(result, ax=axes[0])
    plots.save(axes, *(place / name for name in ATTRIBUTION_FIGURE))


def _best(result: "AttributionComparison") -> str:
    import numpy as np

    return max(result.names, key=lambda name: np.nan_to_num(result.single[name].spearman, nan=-2.0))


def _finding(asked: _Asked, result: "AttributionComparison") -> str:
    import numpy as np

    best = _best(result)
    single = result.single[best]
    most = int(np.argmax(result.exact))
    return (
        f"{best} orders the points nearest to exact retraining (rank correlation {single.spearman:.3f}, slope "
        f"{single.slope:.3g}); removing point {int(asked.rows[most])} hurts most, by {float(result.exact[most]):.3g} "
        "of the mean test loss."
    )


def _table(asked: _Asked, result: "AttributionComparison") -> Table:
    data = asked.problem.data
    names = "slope", "rel. error", "Spearman", f"top {result.top}", "LDS", "interval", "seconds"
    columns = [Column("method"), *(Column(name, number=True) for name in names)]
    model = type(asked.problem.model).__name__
    heading = f"{_core.printable(data.name)} ({data.n} points trained on, {asked.test.n} held out)"
    drawn = Table(f"{heading}\n{model}: change of the mean test loss upon removal of one point", columns)
    for name in result.names:
        single, score = result.single[name], result.datamodelling[name]
        cells = (
            name,
            f"{single.slope:.4g}",
            f"{single.relative_error:.3g}",
            f"{single.spearman:.4f}",
            f"{single.overlap:.2f}",
            f"{score.value:.3f}",
            f"{score.low:.3f}–{score.high:.3f}",
            f"{result.scores[name].seconds:.2g}",
        )
        drawn.rows.append(Row(cells))
    return drawn


def _ends(asked: _Asked, result: "AttributionComparison") -> tuple[list[int], list[int]]:
    """The points whose removal hurts most, and helps most, by their numbers in the data as given."""
    import numpy as np

    order = asked.rows[np.argsort(-result.exact, kind="stable")]
    return order[:FEW].tolist(), order[::-1][:FEW].tolist()


def _notes(asked: _Asked, result: "AttributionComparison") -> list[str]:
    hurt, help_ = _ends(asked, result)
    length = asked.steps * asked.step_size
    return [
        f"removal hurts most: points {', '.join(map(str, hurt))}; helps most: {', '.join(map(str, help_))} (exact)",
        f"along training: {asked.steps:,} steps of η = {asked.step_size:.3g}, gradient flow for t = {length:.4g}",
        f"LDS over {len(result.groups)} random groups of {result.groups.shape[1]} points",
    ]


def _answers(scoring: Scoring, asked: _Asked, result: "AttributionComparison") -> dict[str, Any]:
    return {
        "finding": _finding(asked, result),
        "options": {
            "methods": scoring.methods(),
            "held_out": scoring.held_out,
            "split_seed": scoring.split_seed,
            "steps": asked.steps,
            "step_size": asked.step_size,
            "groups": scoring.groups,
        },
        "points": asked.rows,
        "exact": result.exact,
        "scores": {name: result.scores[name].change for name in result.names},
        "methods": list(result.summary().rows),
        "gradients": GRADIENTS,
    }
