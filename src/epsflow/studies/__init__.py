"""Does it hold over thousands of problems? A specification comes in; a resumable store, tables and a report go out.

`_specification.py` says what can be asked, `tasks/` what is computed for it, one file per task. `_plan.py` turns it
into rows, `_compute.py` computes them, one by one or as stacks of problems, `_runners.py` says where, `_store.py` keeps
every row as soon as it is there. Start in `_study.py`; a task of your own is an `AbstractTask`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
