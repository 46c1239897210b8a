"""What is trained? Arrays, CSV files and bundled data sets come in; `Dataset`, models, losses and `Problem` go out.

A `Problem` says which points are deleted and owns the weighted risk R_ε(θ) as a `risk`: an `EmpiricalRisk` sums over
the data, a `Quadratic` holds the sufficient statistics of linear regression. Both answer the same questions (value,
gradient, Hessian products), so nothing after this room asks which it is unless an exact formula exists.
Start in `_problem.py`.
"""

from ._dataset import Dataset as Dataset
from ._load import load_dataset as load_dataset, read_csv as read_csv
from ._losses import (
    AbstractLoss as AbstractLoss,
    LogisticLoss as LogisticLoss,
    PseudoHuberLoss as PseudoHuberLoss,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
    SquaredLoss as SquaredLoss,
)
from ._models import (
    MLP as MLP,
    AbstractModel as AbstractModel,
    FunctionModel as FunctionModel,
    LinearModel as LinearModel,
)
from ._problem import Problem as Problem, linear_regression as linear_regression
from ._quadratic import Quadratic as Quadratic
from ._risk import AbstractRisk as AbstractRisk, EmpiricalRisk as EmpiricalRisk, Weights as Weights
