"""When does a point count? Numbers come in; schedules ε(t), defined for all t ≥ 0, go out.

Every schedule is "1 up to `start`, its own shape in between, 0 from `end` on"; that composition is written once, in
`AbstractSchedule.__call__`. Schedules are pytrees of arrays: one compiled flow serves a whole family. A family that
can be searched says over which numbers, in `search_space`; a class of your own joins by saying the same.
Start in `_base.py`.
"""

from ._admissible import check_admissible as check_admissible, check_window as check_window
from ._base import (
    AbstractAnalytic as AbstractAnalytic,
    AbstractPiecewiseConstant as AbstractPiecewiseConstant,
    AbstractSchedule as AbstractSchedule,
    SearchSpace as SearchSpace,
)
from ._constant import (
    BangBang as BangBang,
    Constant as Constant,
    PiecewiseConstant as PiecewiseConstant,
    Step as Step,
)
from ._decay import (
    ExponentialDecay as ExponentialDecay,
    LinearDecay as LinearDecay,
    PolynomialDecay as PolynomialDecay,
)
