"""Does it hold over thousands of problems? A specification comes in; a resumable store, tables and a report go out.

`_specification.py` says what can be asked, `_plan.py` turns it into rows, `_tasks.py` and `_stacks.py` compute them,
one by one or as stacks of problems, `_runners.py` says where, `_store.py` keeps every row as soon as it is there.
Start in `_study.py`.
"""

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
