"""When does a point count? Numbers come in; schedules ε(t), defined for all t ≥ 0, go out.

Every schedule is "1 up to `start`, its own shape in between, 0 from `end` on"; that composition is written once, in
`AbstractSchedule.__call__`. Schedules are pytrees of arrays: one compiled flow serves a whole family. A family that
can be searched says over which numbers, in `search_space`; a class of your own joins by saying the same.
Start in `_base.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
