from ._audit import UnlearningAudit as UnlearningAudit, audit as audit
from ._certificate import UnlearningCertificate as UnlearningCertificate
from ._certify import certify_unlearning as certify_unlearning
from ._clipped_noise import clipped_sigma as clipped_sigma
from ._compare import (
    ComparedAlgorithm as ComparedAlgorithm,
    UnlearningComparison as UnlearningComparison,
    compare_unlearning as compare_unlearning,
)
from ._constants import RiskConstants as RiskConstants, risk_constants as risk_constants
from ._descent_noise import d2d_sigma as d2d_sigma, r2d_sensitivity as r2d_sensitivity, r2d_sigma as r2d_sigma
from ._gaussian import (
    gaussian_delta as gaussian_delta,
    gaussian_epsilon as gaussian_epsilon,
    gaussian_r as gaussian_r,
    trade_off as trade_off,
)
from ._guarantees import (
    GuaranteeTable as GuaranteeTable,
    UnlearningCurve as UnlearningCurve,
    guarantees as guarantees,
    unlearning_curve as unlearning_curve,
)
from ._langevin_noise import (
    langevin_epsilon as langevin_epsilon,
    langevin_sigma as langevin_sigma,
    langevin_stream_epsilon as langevin_stream_epsilon,
    langevin_stream_sigma as langevin_stream_sigma,
    noisy_sgd_epsilon as noisy_sgd_epsilon,
    noisy_sgd_sigma as noisy_sgd_sigma,
)
from ._minimax import MinimaxSchedule as MinimaxSchedule, minimax_schedule as minimax_schedule
from ._model_scores import ModelScores as ModelScores, score_models as score_models
from ._newton_noise import (
    certified_removal_sigma as certified_removal_sigma,
    newton_removal_sigma as newton_removal_sigma,
)
from ._noise_shape import OptimalNoise as OptimalNoise, optimal_noise as optimal_noise
from ._random_batches import (
    DistanceLaw as DistanceLaw,
    batch_law as batch_law,
    mean_delta as mean_delta,
    mixture_delta as mixture_delta,
    mixture_sigma as mixture_sigma,
    second_moment_delta as second_moment_delta,
)
from ._renyi import rdp_to_dp as rdp_to_dp
from ._scores import score_name as score_name
from ._step_counts import StepCount as StepCount, StepCounts as StepCounts, steps_to_unlearn as steps_to_unlearn
from ._streams import StreamCertificate as StreamCertificate, certify_stream as certify_stream
from .algorithms._base import AbstractAlgorithm as AbstractAlgorithm, UnlearningRun as UnlearningRun
from .algorithms._descents import (
    DescendToDelete as DescendToDelete,
    GradientAscent as GradientAscent,
    Retrain as Retrain,
    RewindToDelete as RewindToDelete,
    ScheduledUnlearning as ScheduledUnlearning,
)
from .algorithms._newton import CertifiedRemoval as CertifiedRemoval, NewtonRemoval as NewtonRemoval
from .algorithms._noisy import (
    ClippedFinetuning as ClippedFinetuning,
    LangevinUnlearning as LangevinUnlearning,
    NoisySGD as NoisySGD,
)
