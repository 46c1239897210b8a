from ._costate import (
    ExactCostate as ExactCostate,
    collocated_costate as collocated_costate,
    exact_costate as exact_costate,
)
from ._costate_diffrax import solve_costate as solve_costate
from ._descent import (
    LocalMinimum as LocalMinimum,
    descend as descend,
    hessian_of as hessian_of,
    polish as polish,
    value_and_gradient as value_and_gradient,
)
from ._diffrax import choose_solver as choose_solver, sizes_of as sizes_of, solve_diffrax as solve_diffrax
from ._divergence import diverged as diverged
from ._doors import (
    as_any_problem as as_any_problem,
    as_problem as as_problem,
    checked as checked,
    checked_any as checked_any,
    checked_flow as checked_flow,
)
from ._equilibrium import equilibrium as equilibrium
from ._exact import ExactFlow as ExactFlow, exact_flow as exact_flow, propagate as propagate
from ._gradient_flow import as_times as as_times, gradient_flow as gradient_flow
from ._minibatches import Batch as Batch, epoch_batches as epoch_batches
from ._newton import ConvexMinimum as ConvexMinimum, minimise as minimise
from ._saved_training import optimiser_digest as optimiser_digest
from ._stationary import (
    METHODS as METHODS,
    NEWTON_STEPS as NEWTON_STEPS,
    Equilibrium as Equilibrium,
    Method as Method,
    require_start as require_start,
    shortfall as shortfall,
    stationary_point as stationary_point,
    trained_optimum as trained_optimum,
    undetermined as undetermined,
)
from ._surfaces import (
    HomotopySurface as HomotopySurface,
    RewindSurface as RewindSurface,
    homotopy as homotopy,
    rewind_surface as rewind_surface,
)
from ._training import Training as Training, train_with as train_with, words_of as words_of
from ._training_adjoint import (
    Course as Course,
    EndSlope as EndSlope,
    Reached as Reached,
    StepSlopes as StepSlopes,
    course_of as course_of,
    pulled as pulled,
)
from ._training_step import Carry as Carry, Recipe as Recipe
from ._trajectory import Trajectory as Trajectory
