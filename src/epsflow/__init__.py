"""epsflow: training as gradient flow with a time-varying data weight ε(t).

θ̇ = −∇R_j(θ) − ε(t)∇ℓ_j(θ). Integrate it, find the best ε(t), and read influence functions, proximal Bregman responses
and unlearning algorithms off the ends of the flow. Rooms, in the order in which data moves through them: `problem`,
`schedules`, `flow`, then `control`, then `plots` and the command line.
"""

from ._core import (
    RESULTS as RESULTS,
    ConvergenceError as ConvergenceError,
    EpsflowError as EpsflowError,
    InputError as InputError,
)
from .control import (
    Comparison as Comparison,
    FamilyResult as FamilyResult,
    ScheduleSolution as ScheduleSolution,
    Scope as Scope,
    Status as Status,
    best_in_family as best_in_family,
    certify as certify,
    compare_schedules as compare_schedules,
    extremal as extremal,
    optimal_schedule as optimal_schedule,
)
from .flow import (
    Equilibrium as Equilibrium,
    HomotopySurface as HomotopySurface,
    RewindSurface as RewindSurface,
    Trajectory as Trajectory,
    equilibrium as equilibrium,
    gradient_flow as gradient_flow,
    homotopy as homotopy,
    rewind_surface as rewind_surface,
)
from .problem import (
    MLP as MLP,
    Dataset as Dataset,
    FunctionModel as FunctionModel,
    LinearModel as LinearModel,
    LogisticLoss as LogisticLoss,
    Problem as Problem,
    PseudoHuberLoss as PseudoHuberLoss,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
    SquaredLoss as SquaredLoss,
    linear_regression as linear_regression,
    load_dataset as load_dataset,
    read_csv as read_csv,
)
from .schedules import (
    AbstractSchedule as AbstractSchedule,
    BangBang as BangBang,
    Constant as Constant,
    ExponentialDecay as ExponentialDecay,
    LinearDecay as LinearDecay,
    PiecewiseConstant as PiecewiseConstant,
    PolynomialDecay as PolynomialDecay,
    SearchSpace as SearchSpace,
    Step as Step,
    check_admissible as check_admissible,
)
