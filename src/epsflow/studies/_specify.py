"""From fields or a TOML file to the specification of a task, with every wrong field named."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from .._core import InputError
from ._ready import READY
from ._specification import DataProblems, Specification, in_one_line
from .tasks import TASKS, AbstractTask, task_of


def specify(fields: Mapping[str, Any], origin: str = "the specification") -> Specification:
    """A checked specification from its fields.

    Args:
        fields: as in `Specification`; lists where it has tuples.
        origin: what an error message calls them.

    Raises:
        InputError: with every field that is wrong, by name, and why.
    """
    name = fields.get("task", "schedules")
    if not isinstance(name, str):
        raise InputError(f"{origin}: task: a name is wanted (given: {name!r}).")
    try:
        task = task_of(name)
        text = json.dumps({**fields, "task": name}, default=_plain)
        specification = task.specification.model_validate_json(text)
        _check_models(task, specification)
        task.check(specification)
    except ValidationError as error:
        raise InputError(f"{origin}: {in_one_line(error)}.") from error
    except TypeError as error:
        raise InputError(f"{origin}: {error}.") from error
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error
    return specification


def _check_models(task: AbstractTask[Any], specification: Specification) -> None:
    """Refuse a model that the task does not know.

    Raises:
        InputError: naming the tasks that do.
    """
    for source in specification.problems:
        if isinstance(source, DataProblems) and source.model not in task.models:
            able = " or ".join(f'"{name}"' for name, other in TASKS.items() if source.model in other.models)
            raise InputError(
                f'model = "{source.model}" is for task = {able}; task = "{specification.task}" uses linear regression.'
            )


def read_specification(path: str | Path) -> Specification:
    """A specification from a TOML file.

    Example:
        >>> from pathlib import Path
        >>> written = Path("mine.toml").write_text('problems = [{kind = "random", draws = 3}]')
        >>> ef.studies.read_specification("mine.toml").rows
        3

    Raises:
        InputError: a file that cannot be read, that is no TOML, or whose fields are wrong (each is named).
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}.") from error
    return specify({"name": path.stem, **content}, str(path))


def ready_made(name: str, **changes: Any) -> Specification:
    """A study that ships with the library, with some of its fields changed.

    Example:
        >>> ef.studies.ready_made("rewind-depth", seed=1).seed
        1

    Args:
        name: a key of `READY`.
        **changes: fields of `Specification` that replace its own.

    Raises:
        InputError: an unknown name, or a field that is wrong.
    """
    if name not in READY:
        raise InputError(
            f"no study is called {name!r}; there are {', '.join(READY)}. For one of your own by that name, say what "
            f'its problems are: ef.Study("{name}", problems=[{{"kind": "random"}}]); a TOML file is read by '
            "ef.Study.from_toml(path)."
        )
    return specify({"name": name, **READY[name][1], **changes}, f"the study {name!r}")


def _plain(value: object) -> object:
    """What JSON does not know: specifications within specifications, and NumPy's numbers and arrays."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist"):
        return value.tolist()  # pyright: ignore[reportAttributeAccessIssue]
    raise TypeError(f"{value!r} cannot stand in a specification")
