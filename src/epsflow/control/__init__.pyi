from ._arc_polish import SecondOrder as SecondOrder
from ._batch import (
    BatchBest as BatchBest,
    LinearBatch as LinearBatch,
    baseline_costs as baseline_costs,
    best_linear_decays as best_linear_decays,
    best_steps as best_steps,
    linear_batch as linear_batch,
    rewound as rewound,
)
from ._batch_certify import BatchOptimum as BatchOptimum, certified_optima as certified_optima
from ._certify import certify as certify
from ._compare import Comparison as Comparison, compare_schedules as compare_schedules
from ._cost import (
    AbstractCost as AbstractCost,
    Distance as Distance,
    PredictionGap as PredictionGap,
    QuadraticForm as QuadraticForm,
    RetainedLoss as RetainedLoss,
)
from ._exact_starts import ExactStarts as ExactStarts, exact_starts as exact_starts
from ._exact_unlearning import ExactUnlearning as ExactUnlearning, exact_unlearning_time as exact_unlearning_time
from ._families import FAMILIES as FAMILIES, FamilyResult as FamilyResult, best_in_family as best_in_family
from ._optimal import optimal_schedule as optimal_schedule
from ._pontryagin import Extremal as Extremal, extremal as extremal
from ._program import Candidate as Candidate
from ._solution import Arc as Arc, ScheduleSolution as ScheduleSolution, Scope as Scope, Status as Status
from ._task import ControlTask as ControlTask, make_task as make_task
from ._translate import UntranslatableError as UntranslatableError
