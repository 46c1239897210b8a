from ._decompose import Decomposition as Decomposition, decompose as decompose
from ._deletions import Points as Points, as_deletions as as_deletions
from ._endpoints import Endpoints as Endpoints, endpoints as endpoints
from ._functionals import (
    Functional as Functional,
    Losses as Losses,
    Predictions as Predictions,
    functional_curvatures as functional_curvatures,
    functional_jacobian as functional_jacobian,
    functional_shape as functional_shape,
)
from ._influence import Influence as Influence, influence as influence
from ._pbrf import PBRF as PBRF, pbrf as pbrf
from ._self_influence import SelfInfluence as SelfInfluence, self_influence as self_influence
from .algorithms._descent import (
    Descent as Descent,
    Reconstruction as Reconstruction,
    as_step_size as as_step_size,
    gradient_descent as gradient_descent,
    reconstruct as reconstruct,
)
from .algorithms._linear_steps import geometric as geometric
from .algorithms._steps import StepRule as StepRule
from .algorithms._unlearn import (
    Unlearning as Unlearning,
    descend_to_delete as descend_to_delete,
    rewind_to_delete as rewind_to_delete,
)
from .algorithms._walk import Walker as Walker
from .curvature._cg import CG as CG
from .curvature._cholesky import Cholesky as Cholesky
from .curvature._dual import Dual as Dual
from .curvature._ekfac import EKFAC as EKFAC
from .curvature._lissa import LiSSA as LiSSA
from .curvature._memory import Chunks as Chunks, chunks_of as chunks_of
from .curvature._nystrom import Nystrom as Nystrom
from .optima._anchor import outputs_of as outputs_of
from .optima._leverage import Leverage as Leverage, leverage as leverage
from .optima._newton import NewtonStep as NewtonStep, newton_step as newton_step, newton_step_all as newton_step_all
from .optima._response import ResponsePath as ResponsePath, response_path as response_path
from .optima._response_jacobian import (
    ResponseJacobian as ResponseJacobian,
    response_jacobian as response_jacobian,
)
from .optima._retrain import retrain as retrain, train as train
from .optima._retrain_all import RetrainingAll as RetrainingAll, retrain_all as retrain_all
