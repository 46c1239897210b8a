"""From options to a question: what was typed, checked as far as that goes before JAX is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _core, problem, schedules
from . import _options as options

if TYPE_CHECKING:
    from ..problem import Dataset

DEFAULT_DATA = "diabetes"
MANY = 2**40
"""So many points would have any index: for what can be refused before they are counted."""
CLASSIFICATION = ("breast_cancer", "digits", "wine", "iris")
LABELLED = ("logistic", "softmax", "cnn")
"""Models for class labels, unless the options say otherwise."""
NETWORKS = ("mlp", "cnn", "own")
"""Models without a closed form or a convex risk, by what is known of them."""
WINDOWS = {"linear": (50.0, 200.0), "flow": (20.0, 50.0), "steps": (100.0, 120.0)}
"""s and T where they are not given: of linear regression, of the flow of other models, and in steps of an optimiser.
Flows of other models are integrated hundreds of times, which takes a minute for a longer window."""
INTERVALS = 100


@dataclass(frozen=True)
class Source:
    """The options that say what is trained, as they were given.

    Attributes:
        data, csv, target: a bundled data set, or a file and its target column.
        header, separator: of the file; None for what it looks like.
        intercept: whether a column of ones is added.
        delete: the points to forget, as typed; none for one that the command chooses.
        reduction, l2: the risk's scale and penalty; None for the penalty that is usual for the model.
    """

    data: options.Data = None
    csv: options.CsvFile = None
    target: options.Target = None
    header: options.Header = None
    separator: options.Separator = None
    intercept: options.Intercept = False
    delete: options.Delete = None
    reduction: options.Reduce = "mean"
    l2: options.Penalty = None

    def points(self, n: int) -> list[int]:
        """The points named, of n.

        Raises:
            InputError: an index outside, one named twice, or all of them.
        """
        named = [index for words in self.delete or () for index in _indices(words, n)]
        return _core.as_deleted(named, "delete", n).tolist() if named else []

    def name(self) -> str | Path:
        """The bundled data set, or the file, that the options name.

        Raises:
            InputError: both, what describes a file without one, a negative penalty, or indices that are none.
        """
        if self.l2 is not None:
            problem.as_penalty(self.l2)
        for words in self.delete or ():
            _indices(words, MANY)
        if self.csv is not None:
            if self.data is not None:
                raise _core.InputError("--data and --csv exclude each other: name one source of data.")
            _core.check_file(self.csv)
            return self.csv
        if self.target is not None:
            raise _core.InputError(
                "--target names a column of a CSV file: add --csv FILE. Bundled data have their own target."
            )
        if self.header is not None or self.separator is not None:
            raise _core.InputError("--header and --separator describe a CSV file: add --csv FILE.")
        return DEFAULT_DATA if self.data is None else self.data


def _indices(words: str, n: int) -> Sequence[int]:
    """The indices that one --delete names, of n points: 17, -1, or 10:60 as Python slices.

    Raises:
        InputError: something else, or a range without a point.
    """
    try:
        ends = [int(part) if part.strip() else None for part in words.split(":")]
    except ValueError:
        ends = []
    if len(ends) == 1 and ends[0] is not None:
        return [ends[0]]
    if len(ends) not in (2, 3) or ends[2:] == [0]:
        raise _core.InputError(f"--delete {words} is no index; write 17, -1 for the last, or a range such as 10:60.")
    named = range(n)[slice(*ends)]
    if not named:
        raise _core.InputError(f"--delete {words} names no point: a range goes from its first to before its last.")
    return named


@dataclass(frozen=True)
class Question:
    """The options of `optimise` and `compare` that say what is asked of a schedule, as they were given.

    Attributes:
        s, T: when the request arrives, and by when ε must be 0; None for what is usual.
        start, seed: where training starts; None for what is usual for the model.
        eps_min, eps_max: least and largest ε in between.
        budget, price: for ∫|ε| dt between s and T; None for no budget.
    """

    s: options.RequestTime = None
    T: options.Horizon = None
    start: options.StartAt = None
    seed: options.Seed = 0
    eps_min: options.EpsMin = 0.0
    eps_max: options.EpsMax = 1.0
    budget: options.Budget = None
    price: options.Price = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest ε."""
        return self.eps_min, self.eps_max

    def window(self, usual: tuple[float, float]) -> tuple[float, float]:
        """s and T, or what is usual.

        Raises:
            InputError: a window, bounds, a budget or a price that no problem could have.
        """
        s = usual[0] if self.s is None else self.s
        # Where s alone is given, the window is as long as it is usually.
        T = self.T if self.T is not None else usual[1] if self.s is None else s + usual[1] - usual[0]
        s, T, bounds = schedules.check_window(s, T, self.bounds)
        schedules.check_effort(self.budget, self.price, T - s, bounds)
        return s, T


@dataclass(frozen=True)
class Search:
    """The options of `optimise` that say how the optimum is sought, as they were given.

    Attributes:
        intervals, per_point: of the optimum's schedule; None for the usual number.
        time_limit: seconds for the search; None for none.
        check: whether CasADi is asked as well; None for linear regression only.
    """

    intervals: options.Intervals = None
    per_point: options.PerPoint = False
    time_limit: options.TimeLimit = None
    check: options.Check = None

    def refuse(self) -> None:
        """Refuse a time limit in which nothing could be sought.

        Raises:
            InputError: with the number.
        """
        if self.time_limit is not None and _core.as_scalar(self.time_limit, "time_limit") <= 0.0:
            raise _core.InputError(f"time_limit is {self.time_limit:g}; a positive number of seconds is needed.")


@dataclass(frozen=True)
class Architecture:
    """The options that say which model is trained, as they were given; None for what was not.

    Attributes:
        model: which; default: linear for a number as target, logistic for class labels.
        hidden: widths of a network's hidden layers.
        channels, image: of a CNN's convolutions, and what it takes a point for.
        labels: whether the target of a file is a class label.
    """

    model: options.WhichModel = None
    hidden: options.Hidden = None
    channels: options.Channels = None
    image: options.Image = None
    labels: options.Labels = None

    @property
    def kind(self) -> options.Kind | None:
        """Which model; "own" for one of the user's."""
        known: dict[str | None, options.Kind] = {
            "linear": "linear",
            "logistic": "logistic",
            "softmax": "softmax",
            "mlp": "mlp",
            "cnn": "cnn",
        }
        return None if self.model is None else known.get(self.model, "own")

    def check(self, kind: str, source: Source) -> None:
        """Refuse what is no option of this model.

        Raises:
            InputError: naming it.
        """
        if self.hidden and kind not in ("mlp", "cnn"):
            raise _core.InputError(
                f"--hidden describes a network's layers, and this is a model of kind {kind}: --model mlp or cnn."
            )
        if kind != "cnn" and (self.channels or self.image):
            raise _core.InputError("--channels and --image describe a CNN: add --model cnn.")
        if kind in ("mlp", "cnn") and source.intercept:
            raise _core.InputError("a network has biases of its own: leave --intercept out.")


def architecture(asked: Architecture) -> dict[str, Any]:
    """The options of a model, for another group that has them."""
    return {field.name: getattr(asked, field.name) for field in fields(Architecture)}


@dataclass(frozen=True)
class Moves:
    """The options of `optimise` and `compare` that say how θ moves, as they were given; None for what was not.

    Attributes:
        optimiser: the flow, or which optimiser.
        step_size: its learning rate.
        batch: points in each of its steps.
    """

    optimiser: options.Optimiser = None
    step_size: options.OptimiserStep = None
    batch: options.Batch = None

    def of(self, kind: str) -> options.Motion:
        """How θ moves for such a model.

        Raises:
            InputError: a step or a batch of the flow, or a step that is not positive.
        """
        motion = self.optimiser or ("flow" if kind == "linear" else "sgd")
        if motion == "flow" and (self.step_size is not None or self.batch is not None):
            raise _core.InputError("--step-size and --batch belong to an optimiser: add --optimiser sgd.")
        if self.step_size is not None and _core.as_scalar(self.step_size, "step_size") <= 0.0:
            raise _core.InputError(f"step_size is {self.step_size:g}; a positive number is needed.")
        return motion


@dataclass(frozen=True)
class Training(Architecture):
    """The options of `influence` that say how the model is trained, as they were given; None for what was not.

    Attributes:
        seed: of a network's start.
        stop: where a network's training stops: "minimum", near the end of gradient descent, or "early", at that end.
        damping: λ_d of the damped influence and the PBRF, also of the self-influence that chooses a network's point.
        steps, step_size: of gradient descent.
        extra_steps: the last of them, done again without the points.
    """

    seed: options.NetworkSeed = 0
    stop: options.StopAt = None
    damping: options.Damping = 1e-3
    steps: options.Steps = 1_000
    extra_steps: options.ExtraSteps = 100
    step_size: options.StepSize = None

    def refuse(self) -> None:
        """Refuse numbers that no model could be trained with.

        Raises:
            InputError: naming the one that is wrong.
        """
        if _core.as_scalar(self.damping, "damping") < 0.0:
            raise _core.InputError(f"damping is {self.damping:g}; λ_d ≥ 0 is added to the curvature: try 1e-3.")
        if self.step_size is not None and _core.as_scalar(self.step_size, "step_size") <= 0.0:
            raise _core.InputError(f"step_size is {self.step_size:g}; a positive number is needed.")
        if self.extra_steps > self.steps:
            raise _core.InputError(
                f"--extra-steps {self.extra_steps} are the last of --steps {self.steps}: give fewer."
            )


def _read_file(source: Source, path: Path, *, labels: bool = False) -> "Dataset":
    """A file as the options describe it, standardised but for class labels."""
    if path.suffix.lower() == ".parquet":
        if source.header is not None or source.separator is not None:
            raise _core.InputError("--header and --separator describe text files; Parquet files know their columns.")
        return problem.read_parquet(path, target=-1 if source.target is None else source.target, labels=labels)
    how = {"target": source.target, "header": source.header, "separator": source.separator}
    return problem.read_csv(path, **how, labels=labels)


def _prepared(source: Source, data: "Dataset") -> "Dataset":
    """The data with an intercept if that was asked for; the points named are in it."""
    source.points(data.n)
    return data.add_intercept() if source.intercept else data


@dataclass(frozen=True, eq=False)
class Material:
    """What a model is trained on.

    Attributes:
        kind: which model.
        labelled: whether the target is a class label.
        data: the points, standardised but for class labels.
    """

    kind: options.Kind
    labelled: bool
    data: "Dataset"

    @property
    def classes(self) -> int:
        """How many classes there are; 0 for a number as target."""
        return (len(self.data.classes) or int(self.data.y.max()) + 1) if self.labelled else 0


def read_material(source: Source, asked: Architecture, stop: str | None = None) -> Material:
    """The data set or file that the options name, and the model that fits it.

    Args:
        source, asked: the options.
        stop: where a network's training stops, for who asks that.

    Raises:
        InputError: options that do not fit each other or the data, whatever the file has wrong, or points that are not
            in it.
    """
    name = source.name()
    kind, labelled = _kind(name, asked)
    asked.check(kind, source)
    if stop is not None and kind not in NETWORKS:
        raise _core.InputError(
            f"--stop describes the training of a network, and this is a {kind} model: --model mlp or cnn."
        )
    data = _read_file(source, name, labels=labelled) if isinstance(name, Path) else problem.load_dataset(name)
    found = Material(kind, labelled, _prepared(source, data))
    return replace(found, kind="softmax") if kind == "logistic" and found.classes > 2 else found


def _kind(name: str | Path, asked: Architecture) -> tuple[options.Kind, bool]:
    """The model, and whether the target is a class label."""
    kind = asked.kind
    if isinstance(name, Path):
        kind = kind or ("logistic" if asked.labels else "linear")
        labelled = kind in LABELLED if asked.labels is None else asked.labels
        if labelled and kind == "linear":
            raise _core.InputError("--labels: a linear model predicts numbers; use --model logistic, softmax or mlp.")
        if not labelled and kind in ("logistic", "softmax"):
            raise _core.InputError(f"--no-labels: a {kind} model predicts class labels; use --model linear or mlp.")
        return kind, labelled
    problem.check_bundled(name)  # an unknown name is the first complaint
    if asked.labels is not None:
        raise _core.InputError("--labels describes a file: add --csv FILE. Of bundled data it is known.")
    labelled = name in CLASSIFICATION
    kind = kind or ("logistic" if labelled else "linear")
    if labelled and kind == "linear":
        raise _core.InputError(f"{name} has class labels: use --model logistic (its default), softmax, mlp or cnn.")
    if kind in ("logistic", "softmax") and not labelled:
        raise _core.InputError(
            f"{name} has a number as its target, not class labels: use --model linear (its default) or mlp, or other "
            f"data, such as --data {CLASSIFICATION[0]}."
        )
    return kind, labelled
