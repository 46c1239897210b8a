"""From options to a question: what was typed, checked as far as that goes before JAX is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _core, problem, schedules
from . import _options as options

if TYPE_CHECKING:
    from ..problem import Dataset

DEFAULT_DATA = "diabetes"
MANY = 2**40
"""So many points would have any index: for what can be refused before they are counted."""
CLASSIFICATION = ("breast_cancer", "digits", "wine")


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
    l2: options.Penalty | None = 0.0

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
class AnySource(Source):
    """The same for any model: other data sets, and a penalty that depends on the model."""

    data: options.AnyData = None
    csv: options.AnyFile = None
    delete: options.AnyPoint = None
    l2: options.AnyPenalty = None


@dataclass(frozen=True)
class Question:
    """The options of `optimise` and `compare` that say what is asked of a schedule, as they were given.

    Attributes:
        s, T: when the request arrives, and by when ε must be 0.
        start, seed: where training starts.
        eps_min, eps_max: least and largest ε in between.
        budget, price: for ∫|ε| dt between s and T; None for no budget.
    """

    s: options.RequestTime = 50.0
    T: options.Horizon = 200.0
    start: options.StartAt = "zero"
    seed: options.Seed = 0
    eps_min: options.EpsMin = 0.0
    eps_max: options.EpsMax = 1.0
    budget: options.Budget = None
    price: options.Price = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest ε."""
        return self.eps_min, self.eps_max

    def refuse(self) -> None:
        """Refuse a window, bounds, a budget or a price that no problem could have.

        Raises:
            InputError: naming the one that is wrong.
        """
        s, T, bounds = schedules.check_window(self.s, self.T, self.bounds)
        schedules.check_effort(self.budget, self.price, T - s, bounds)


@dataclass(frozen=True)
class Search:
    """The options of `optimise` that say how the optimum is sought, as they were given.

    Attributes:
        intervals, per_point: of the optimum's schedule.
        time_limit: seconds for the search; None for none.
        check: whether CasADi is asked as well.
    """

    intervals: options.Intervals = 100
    per_point: options.PerPoint = False
    time_limit: options.TimeLimit = None
    check: options.Check = True

    def refuse(self) -> None:
        """Refuse a time limit in which nothing could be sought.

        Raises:
            InputError: with the number.
        """
        if self.time_limit is not None and _core.as_scalar(self.time_limit, "time_limit") <= 0.0:
            raise _core.InputError(f"time_limit is {self.time_limit:g}; a positive number of seconds is needed.")


@dataclass(frozen=True)
class Training:
    """The options of `influence` that say how the model is trained, as they were given; None for what was not.

    Attributes:
        model: which model; default: linear for a number as target, logistic for class labels.
        hidden: widths of an MLP's hidden layers.
        seed: of an MLP's start.
        stop: where an MLP's training stops: "minimum", near the end of gradient descent, or "early", at that end.
        damping: λ_d of the damped influence and the PBRF, also of the self-influence that chooses an MLP's point.
        steps, step_size: of gradient descent.
        extra_steps: the last of them, done again without the points.
    """

    model: options.WhichModel = None
    hidden: options.Hidden = None
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


def read_data(source: Source) -> "Dataset":
    """The data set or file that the options name, standardised, for linear regression.

    Raises:
        InputError: no data of numbers by that name, whatever the file has wrong, or points that are not in it.
    """
    name = source.name()
    if isinstance(name, Path):
        return _prepared(source, _read_file(source, name))
    if name in CLASSIFICATION:
        raise _core.InputError(
            f"{name} has class labels, and this command is for linear regression only: use diabetes or --csv FILE. "
            "In Python, epsflow.Problem takes LogisticLoss and SoftmaxCrossEntropy."
        )
    if name != DEFAULT_DATA:
        raise _core.InputError(
            f"unknown data set {name!r}: this command knows diabetes, or reads a file with --csv FILE."
        )
    return _prepared(source, problem.load_dataset(name))


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


def read_material(source: AnySource, training: Training) -> Material:
    """The data set or file that the options name, and the model that fits it.

    Raises:
        InputError: options that do not fit each other or the data, whatever the file has wrong, or points that are not
            in it.
    """
    name = source.name()
    kind, labelled = _kind(name, training)
    if kind != "mlp" and (training.hidden or training.stop):
        raise _core.InputError(
            f"--hidden and --stop describe the training of an MLP, and this is a {kind} model: --model mlp."
        )
    if kind == "mlp" and source.intercept:
        raise _core.InputError("an MLP has biases of its own: leave --intercept out.")
    if kind == "linear":
        return Material(kind, labelled, read_data(source))
    data = _read_file(source, name, labels=labelled) if isinstance(name, Path) else problem.load_dataset(name)
    return Material(kind, labelled, _prepared(source, data))


def _kind(name: str | Path, training: Training) -> tuple[options.Kind, bool]:
    """The model, and whether the target is a class label."""
    if isinstance(name, Path):
        kind = training.model or "linear"
        return kind, kind == "logistic"
    problem.check_bundled(name)  # an unknown name is the first complaint
    labelled = name in CLASSIFICATION
    kind = training.model or ("logistic" if labelled else "linear")
    if labelled and kind == "linear":
        raise _core.InputError(f"{name} has class labels: use --model logistic (its default) or mlp.")
    if kind == "logistic" and not labelled:
        raise _core.InputError(
            f"{name} has a number as its target, not class labels: use --model linear (its default) or mlp."
        )
    return kind, labelled
