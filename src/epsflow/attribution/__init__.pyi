from ._soft_weights import SoftWeights as SoftWeights, soft_weights as soft_weights
from .bayes._bayesian_influence import BayesianInfluence as BayesianInfluence, bayesian_influence as bayesian_influence
from .compare._agreement import Agreement as Agreement, Interval as Interval, agreement as agreement
from .compare._compare import (
    AttributionComparison as AttributionComparison,
    compare_attributions as compare_attributions,
)
from .compare._removal import RemovalCurves as RemovalCurves
from .compare._scores import MeanLoss as MeanLoss, Scores as Scores
from .compare._seeds import DatamodelingScores as DatamodelingScores, datamodeling_scores as datamodeling_scores
from .plateaus._plateau import (
    PlateauFlow as PlateauFlow,
    PlateauSlopes as PlateauSlopes,
    plateau_flow as plateau_flow,
    plateau_slopes as plateau_slopes,
)
from .training._checkpoints import (
    CheckpointInfluence as CheckpointInfluence,
    checkpoint_influence as checkpoint_influence,
)
from .training._deep_linear import (
    DeepLinear as DeepLinear,
    TreeNetwork as TreeNetwork,
    mode_strengths as mode_strengths,
    tree_network as tree_network,
)
from .training._density import InfluenceDensity as InfluenceDensity, influence_density as influence_density
from .training._limits import (
    converged_influence as converged_influence,
    early_stopped_influence as early_stopped_influence,
    source_influence as source_influence,
    tracin as tracin,
)
from .training._scores import TrainingScores as TrainingScores
from .training._stages import Stages as Stages, stages as stages
from .training._windowed import WindowedRemoval as WindowedRemoval, windowed_removal as windowed_removal
from .values._data_values import data_banzhaf as data_banzhaf, data_shapley as data_shapley, loo_values as loo_values
from .values._knn import KNNShapley as KNNShapley, knn_shapley as knn_shapley
from .values._result import DataValues as DataValues
from .values._utility import (
    AbstractUtility as AbstractUtility,
    CoalitionFunction as CoalitionFunction,
    ModelUtility as ModelUtility,
)
