from ._certify import certify as certify
from ._compare import Comparison as Comparison, compare_schedules as compare_schedules
from ._exact import (
    ExactStarts as ExactStarts,
    exact_starts as exact_starts,
    exact_unlearning_time as exact_unlearning_time,
)
from ._families import (
    FAMILIES as FAMILIES,
    FamilyResult as FamilyResult,
    FamilyStatus as FamilyStatus,
    best_in_family as best_in_family,
)
from ._optimal import optimal_schedule as optimal_schedule
from ._pontryagin import extremal as extremal
from ._second_opinion import SecondOpinion as SecondOpinion
from ._solution import ScheduleSolution as ScheduleSolution
from ._task import ControlTask as ControlTask, make_task as make_task
from .polish._reach import Arrival as Arrival, ExactUnlearning as ExactUnlearning
from .programs._casadi import available_solvers as available_solvers
from .programs._primitives import UntranslatableError as UntranslatableError
from .stacks._families import (
    BatchBest as BatchBest,
    baseline_costs as baseline_costs,
    best_linear_decays as best_linear_decays,
    best_steps as best_steps,
    rewound as rewound,
)
from .stacks._optimum import BatchOptimum as BatchOptimum, certified_optima as certified_optima
from .stacks._stack import LinearBatch as LinearBatch, linear_batch as linear_batch
from .terms._cost import (
    AbstractCost as AbstractCost,
    Distance as Distance,
    EndForm as EndForm,
    PredictionGap as PredictionGap,
    QuadraticForm as QuadraticForm,
    RetainedLoss as RetainedLoss,
)
from .terms._extremal import Extremal as Extremal
from .terms._kinds import Arc as Arc, Scope as Scope, SearchMethod as SearchMethod, Status as Status
from .terms._levels import step_weights as step_weights
from .terms._runs import Candidate as Candidate, SecondOrder as SecondOrder
from .terms._seeds import SeedCosts as SeedCosts
