# Several names to a line, so that everything a user can type is seen on one page.
# fmt: off
# isort: off
from . import (
    analysis as analysis, attribution as attribution, claims as claims, control as control, flow as flow,
    plots as plots, problem as problem, schedules as schedules, studies as studies, unlearning as unlearning,
)
from ._core import (
    RESULTS as RESULTS, ConvergenceError as ConvergenceError, EpsflowError as EpsflowError,
    EpsflowWarning as EpsflowWarning, InputError as InputError,
)
from .analysis import (
    CG as CG, Cholesky as Cholesky, Decomposition as Decomposition, Descent as Descent, Dual as Dual, EKFAC as EKFAC,
    Endpoints as Endpoints, Influence as Influence, Leverage as Leverage, LiSSA as LiSSA, Losses as Losses,
    NewtonStep as NewtonStep, Nystrom as Nystrom, PBRF as PBRF, Predictions as Predictions,
    ResponsePath as ResponsePath, decompose as decompose, descend_to_delete as descend_to_delete,
    endpoints as endpoints, gradient_descent as gradient_descent, influence as influence, leverage as leverage,
    newton_step as newton_step, newton_step_all as newton_step_all, pbrf as pbrf, reconstruct as reconstruct,
    response_jacobian as response_jacobian, response_path as response_path, retrain as retrain,
    retrain_all as retrain_all, rewind_to_delete as rewind_to_delete, self_influence as self_influence, train as train,
)
from .attribution import (
    AttributionComparison as AttributionComparison, BayesianInfluence as BayesianInfluence,
    CoalitionFunction as CoalitionFunction, DataValues as DataValues, InfluenceDensity as InfluenceDensity,
    ModelUtility as ModelUtility, SoftWeights as SoftWeights, bayesian_influence as bayesian_influence,
    checkpoint_influence as checkpoint_influence, compare_attributions as compare_attributions,
    data_banzhaf as data_banzhaf, data_shapley as data_shapley, influence_density as influence_density,
    knn_shapley as knn_shapley, loo_values as loo_values, plateau_flow as plateau_flow, soft_weights as soft_weights,
    stages as stages, windowed_removal as windowed_removal,
)
from .claims import Claim as Claim, Ledger as Ledger, Verdict as Verdict, verify as verify, write_report as write_report
from .control import (
    AbstractCost as AbstractCost, Arrival as Arrival, Comparison as Comparison, Distance as Distance,
    EndForm as EndForm, ExactStarts as ExactStarts, ExactUnlearning as ExactUnlearning, Extremal as Extremal,
    FamilyResult as FamilyResult, FamilyStatus as FamilyStatus, PredictionGap as PredictionGap,
    QuadraticForm as QuadraticForm, RetainedLoss as RetainedLoss, ScheduleSolution as ScheduleSolution, Scope as Scope,
    SearchMethod as SearchMethod, SecondOpinion as SecondOpinion, Status as Status, best_in_family as best_in_family,
    certify as certify, compare_schedules as compare_schedules, exact_starts as exact_starts,
    exact_unlearning_time as exact_unlearning_time, extremal as extremal, optimal_schedule as optimal_schedule,
)
from .flow import (
    Equilibrium as Equilibrium, HomotopySurface as HomotopySurface, RewindSurface as RewindSurface,
    Training as Training, Trajectory as Trajectory, equilibrium as equilibrium, gradient_flow as gradient_flow,
    homotopy as homotopy, rewind_surface as rewind_surface, train_with as train_with,
)
from .problem import (
    CNN as CNN, MLP as MLP, AbstractLoss as AbstractLoss, AbstractModel as AbstractModel, Dataset as Dataset,
    FunctionModel as FunctionModel, LinearModel as LinearModel, LogisticLoss as LogisticLoss, Problem as Problem,
    PseudoHuberLoss as PseudoHuberLoss, SoftmaxCrossEntropy as SoftmaxCrossEntropy, SquaredLoss as SquaredLoss,
    Fitted as Fitted, from_sklearn as from_sklearn, from_table as from_table, linear_regression as linear_regression,
    load_dataset as load_dataset, read_csv as read_csv, read_parquet as read_parquet,
)
from .schedules import (
    AbstractPiecewiseConstant as AbstractPiecewiseConstant, AbstractSchedule as AbstractSchedule, BangBang as BangBang,
    Constant as Constant, ExponentialDecay as ExponentialDecay, LinearDecay as LinearDecay,
    PiecewiseConstant as PiecewiseConstant, PolynomialDecay as PolynomialDecay, SearchSpace as SearchSpace,
    Step as Step, check_admissible as check_admissible,
)
from .studies import Study as Study
from .unlearning import (
    CertifiedRemoval as CertifiedRemoval, ClippedFinetuning as ClippedFinetuning, DescendToDelete as DescendToDelete,
    DistanceLaw as DistanceLaw, GradientAscent as GradientAscent, LangevinUnlearning as LangevinUnlearning,
    NewtonRemoval as NewtonRemoval, NoisySGD as NoisySGD, OptimalNoise as OptimalNoise, Retrain as Retrain,
    RewindToDelete as RewindToDelete, RiskConstants as RiskConstants, ScheduledUnlearning as ScheduledUnlearning,
    UnlearningAudit as UnlearningAudit, UnlearningCertificate as UnlearningCertificate,
    UnlearningComparison as UnlearningComparison, UnlearningRun as UnlearningRun, audit as audit,
    batch_law as batch_law, certified_removal_sigma as certified_removal_sigma, certify_stream as certify_stream,
    certify_unlearning as certify_unlearning, clipped_sigma as clipped_sigma, compare_unlearning as compare_unlearning,
    d2d_sigma as d2d_sigma, gaussian_delta as gaussian_delta, gaussian_epsilon as gaussian_epsilon,
    gaussian_r as gaussian_r, guarantees as guarantees, langevin_epsilon as langevin_epsilon,
    langevin_sigma as langevin_sigma, langevin_stream_epsilon as langevin_stream_epsilon,
    langevin_stream_sigma as langevin_stream_sigma, mean_delta as mean_delta, minimax_schedule as minimax_schedule,
    mixture_delta as mixture_delta, mixture_sigma as mixture_sigma, newton_removal_sigma as newton_removal_sigma,
    noisy_sgd_epsilon as noisy_sgd_epsilon, noisy_sgd_sigma as noisy_sgd_sigma, optimal_noise as optimal_noise,
    r2d_sensitivity as r2d_sensitivity, r2d_sigma as r2d_sigma, rdp_to_dp as rdp_to_dp,
    risk_constants as risk_constants, second_moment_delta as second_moment_delta, steps_to_unlearn as steps_to_unlearn,
    trade_off as trade_off, unlearning_curve as unlearning_curve,
)
__version__: str
