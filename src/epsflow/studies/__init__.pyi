from ._errors import StoreError as StoreError
from ._ready import READY as READY
from ._rows import Failure as Failure, Row as Row
from ._runners import Dask as Dask, Here as Here, Processes as Processes, Runner as Runner
from ._specification import (
    DataProblems as DataProblems,
    Deletion as Deletion,
    RandomProblems as RandomProblems,
    Specification as Specification,
)
from ._specify import read_specification as read_specification, ready_made as ready_made
from ._statistics import Interval as Interval, Pairs as Pairs, Share as Share
from ._store import Store as Store, open_store as open_store
from ._study import Progress as Progress, Study as Study
from ._summary import Summary as Summary
from .tasks import (
    TASKS as TASKS,
    AbstractStackedTask as AbstractStackedTask,
    AbstractTask as AbstractTask,
    Answer as Answer,
    Drawing as Drawing,
    Findings as Findings,
    Groups as Groups,
    Table as Table,
    column as column,
    everything as everything,
    share_of as share_of,
    units as units,
)
