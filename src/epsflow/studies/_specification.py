"""What a study asks, as data: checked when it is made, the same in Python, TOML and in the store."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from .._core import InputError

Entry = TypeVar("Entry")


def _as_tuple(value: Any) -> Any:
    """Lists all the way down as tuples; one value as a tuple of one."""
    if isinstance(value, list | tuple):
        return tuple(_as_tuple(entry) if isinstance(entry, list) else entry for entry in value)
    return (value,)


Axis = Annotated[tuple[Entry, ...], BeforeValidator(_as_tuple), Field(min_length=1)]
"""One value, or several that the study runs through."""

Count = Annotated[int, Field(ge=1)]
Size = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Time = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Start = Literal["zero", "random", "trained"]
Task = Literal["schedules", "rewind", "influence", "exact"]
Estimator = Literal["influence", "second order", "newton", "pbrf"]
BUNDLED = ("diabetes", "breast_cancer", "digits", "wine")
FAMILIES = ("Step", "LinearDecay", "PolynomialDecay", "ExponentialDecay")


class _Part(BaseModel):
    """Frozen, without unknown fields, and without silent conversions such as "3" to 3."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Deletion(_Part):
    """Which points are deleted; every entry makes a run of its own.

    Attributes:
        by: "index" (those in `points`), "random", "most influential" or "least influential" (by Cook's distance),
            "groups" (points sorted by a column and cut into `count` groups of equal size).
        points: for "index": point numbers, or lists of them that are deleted together.
        size: points deleted together, for "random" and the influential ones.
        count: how many such sets.
        column: for "groups": a feature's name or number, or "target".
    """

    by: Literal["index", "random", "most influential", "least influential", "groups"] = "index"
    points: Axis[int | tuple[int, ...]] = (0,)
    size: Count = 1
    count: Count = 1
    column: str | int = "target"

    @property
    def sets(self) -> int:
        """How many sets of points are deleted, one after another."""
        return len(self.points) if self.by == "index" else self.count

    @property
    def label(self) -> str:
        """What tables call it."""
        if self.by == "index":
            return "named"
        if self.by == "groups":
            return f"groups of {self.column}"
        return self.by if self.size == 1 else f"{self.size} {self.by}"


class RandomProblems(_Part):
    """Linear regressions drawn at random: y = xᵀθ + noise·ξ, x ~ N(0, diag(spectrum)), θ, ξ ~ N(0, I).

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

    @property
    def label(self) -> str:
        """What tables call it."""
        return "random"


class DataProblems(_Part):
    """A real data set, standardised.

    Attributes:
        data: one of the bundled sets; or
        csv, target: a file of numbers and its target column (default: the last).
        model: linear regression, or (for `influence`) logistic regression on labels 0 and 1.
        delete: which points are deleted; default: the most influential one.
    """

    kind: Literal["data"]
    data: Literal["diabetes", "breast_cancer", "digits", "wine"] | None = None
    csv: str | None = None
    target: str | int | None = None
    model: Literal["linear", "logistic"] = "linear"
    delete: Deletion = Deletion(by="most influential")

    @model_validator(mode="after")
    def _one_source(self) -> "DataProblems":
        if (self.data is None) == (self.csv is None):
            raise ValueError("name one source: data = a bundled set, or csv = a file")
        return self

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.data or Path(str(self.csv)).stem


class Specification(_Part):
    """A study: sources of problems × deleted points × starts × windows, and what is computed for each.

    Attributes:
        name: of the study.
        task: "schedules" (costs of 1_[0,s], of the best member of each family, and the optimum), "rewind" (distances of
            rewind- and descend-to-delete against K), "influence" (estimates against retraining) or "exact"
            (exact-unlearning times).
        seed: of everything random.
        problems: where they come from.
        theta0: where training starts.
        s, T: windows, in flow time; combinations with T ≤ s are left out.
        bounds: of ε on (s, T).
        reduction, l2: of the risk.
        families: for "schedules": names of `epsflow` classes, or "module:Class" of yours.
        optimum: for "schedules": whether to seek the certified optimum.
        branching: nodes spent on a lower bound where the residual's sign is mixed; 0 for none.
        depths: for "rewind": K, ascending, at most the least T.
        estimators, damping: for "influence"; λ_d of the PBRF.
    """

    name: Annotated[str, Field(min_length=1, max_length=80)] = "study"
    task: Task = "schedules"
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
    families: Axis[str] = ("Step", "LinearDecay")
    optimum: bool = True
    branching: Annotated[int, Field(ge=0)] = 400
    depths: Axis[Time] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
    estimators: Axis[Estimator] = ("influence", "second order", "newton", "pbrf")
    damping: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1e-3

    @field_validator("bounds", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> "Specification":
        if not any(s < T for s in self.s for T in self.T):
            raise ValueError(f"no T in {list(self.T)} comes after an s in {list(self.s)}")
        if not self.bounds[0] < self.bounds[1]:
            raise ValueError(f"bounds are {list(self.bounds)}; the lower one must lie below the upper one")
        if self.task == "rewind" and (list(self.depths) != sorted(self.depths) or max(self.depths) > min(self.T)):
            raise ValueError("depths must ascend and not exceed the least T: one cannot rewind past the start")
        for family in self.families:
            if family not in FAMILIES and ":" not in family:
                raise ValueError(f"families: {family!r} is none of {', '.join(FAMILIES)}; yours is 'module:Class'")
        logistic = any(isinstance(source, DataProblems) and source.model == "logistic" for source in self.problems)
        if logistic and self.task != "influence":
            raise ValueError('model = "logistic" is for task = "influence"; the other tasks use linear regression')
        return self

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


def specify(fields: Mapping[str, Any], origin: str = "the specification") -> Specification:
    """A checked specification from its fields.

    Args:
        fields: as in `Specification`; lists where it has tuples.
        origin: what an error message calls them.

    Raises:
        InputError: with every field that is wrong, by name, and why.
    """
    try:
        return Specification.model_validate_json(json.dumps(fields, default=_plain))
    except ValidationError as error:
        raise InputError(f"{origin}: " + "; ".join(map(_words, error.errors()))) from error
    except TypeError as error:
        raise InputError(f"{origin}: {error}.") from error


def read_specification(path: str | Path) -> Specification:
    """A specification from a TOML file.

    Raises:
        InputError: a file that cannot be read, that is no TOML, or whose fields are wrong (each is named).
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}.") from error
    return specify({"name": path.stem, **content}, str(path))


def _plain(value: object) -> object:
    """What JSON does not know: specifications within specifications, and NumPy's numbers and arrays."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    raise TypeError(f"{value!r} cannot stand in a specification")


def _words(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"] if part not in ("random", "data"))
    reason = error["msg"].removeprefix("Value error, ")
    given = error["input"]
    shown = f" (given: {given!r})" if place and isinstance(given, str | int | float | bool | None) else ""
    return f"{place}: {reason}{shown}" if place else reason


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        parts = [_flat(value, f"{prefix}.{key}" if prefix else key) for key, value in content.items()]
    elif isinstance(content, list) and any(isinstance(entry, dict) for entry in content):
        parts = [_flat(value, f"{prefix}.{k}") for k, value in enumerate(content)]
    else:
        return {prefix: content}
    return {key: value for part in parts for key, value in part.items()}
