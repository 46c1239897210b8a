"""What a study can ask: one file per task, with the fields it takes, its rows one by one or stacked, and its summary.

`_task.py` says what a task is. A further one is one new file: of your own, named in a study as "module:Class", or here,
with its line in `TASKS`.
"""

import importlib
from typing import Any

from ..._core import InputError
from ._attribution import Attribution
from ._certificates import Certificates
from ._exact import Exact
from ._findings import (
    Drawing as Drawing,
    Findings as Findings,
    Groups as Groups,
    Table as Table,
    column as column,
    everything as everything,
    share_of as share_of,
    units as units,
)
from ._influence import Influence
from ._networks import Networks
from ._rewind import Rewind
from ._schedules import Schedules
from ._task import AbstractStackedTask as AbstractStackedTask, AbstractTask as AbstractTask, Answer as Answer

TASKS: dict[str, AbstractTask[Any]] = {
    "schedules": Schedules(),
    "rewind": Rewind(),
    "influence": Influence(),
    "exact": Exact(),
    "certificates": Certificates(),
    "attribution": Attribution(),
    "networks": Networks(),
}
"""The library's own, by name."""


def task_of(name: str) -> AbstractTask[Any]:
    """A task by its name in the library, or by "module:Class".

    Raises:
        InputError: no such module, or no such task in it.
    """
    if name in TASKS:
        return TASKS[name]
    module, _, label = name.rpartition(":")
    if not module:
        raise InputError(f"task: {name!r} is none of {', '.join(TASKS)}; yours is 'module:Class'.")
    try:
        owner = importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"task: cannot import {module!r} ({error}). Is it on the path of every worker?") from error
    task = getattr(owner, label, None)
    if not (isinstance(task, type) and issubclass(task, AbstractTask)):
        raise InputError(f"task: {name!r} is not a subclass of `epsflow.studies.AbstractTask`.")
    return task()
