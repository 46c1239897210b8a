from ._admissible import (
    as_schedule as as_schedule,
    as_schedules as as_schedules,
    check_admissible as check_admissible,
)
from ._base import (
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
from ._members import Members as Members, build_members as build_members
from ._window import check_effort as check_effort, check_window as check_window, least_effort as least_effort
