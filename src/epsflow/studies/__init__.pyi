from ._ready import READY as READY, ready_made as ready_made
from ._runners import Dask as Dask, Here as Here, Processes as Processes, Runner as Runner
from ._specification import (
    DataProblems as DataProblems,
    Deletion as Deletion,
    RandomProblems as RandomProblems,
    Specification as Specification,
    read_specification as read_specification,
)
from ._statistics import Interval as Interval, Pairs as Pairs
from ._store import Store as Store, StoreError as StoreError, open_store as open_store
from ._study import Progress as Progress, Study as Study
from ._summary import Summary as Summary, Table as Table
