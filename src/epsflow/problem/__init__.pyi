from ._bundled import check_bundled as check_bundled
from ._cnn import CNN as CNN
from ._collinear import caution_in_full as caution_in_full
from ._csv import read_csv as read_csv
from ._dataset import Dataset as Dataset
from ._design import (
    JACOBI as JACOBI,
    Design as Design,
    WideDesign as WideDesign,
    factor_rows as factor_rows,
    spectrum as spectrum,
)
from ._function_model import FunctionModel as FunctionModel
from ._generalised import GeneralisedLinear as GeneralisedLinear, Local as Local
from ._load import load_dataset as load_dataset
from ._losses import (
    AbstractLoss as AbstractLoss,
    LogisticLoss as LogisticLoss,
    PseudoHuberLoss as PseudoHuberLoss,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
    SquaredLoss as SquaredLoss,
    WeightedLoss as WeightedLoss,
)
from ._minimum import Minimum as Minimum
from ._models import (
    MLP as MLP,
    AbstractModel as AbstractModel,
    LayeredModel as LayeredModel,
    LinearModel as LinearModel,
)
from ._parquet import read_parquet as read_parquet
from ._penalty import Penalty as Penalty, as_penalty as as_penalty
from ._pointwise import (
    Pointwise as Pointwise,
    derivatives as derivatives,
    losses as losses,
    pointwise as pointwise,
    slopes as slopes,
)
from ._precision import (
    as_dtype as as_dtype,
    computed as computed,
    stored_in as stored_in,
    unit_of as unit_of,
)
from ._problem import DENSE_LIMIT as DENSE_LIMIT, Problem as Problem
from ._quadratic import Quadratic as Quadratic
from ._regression import (
    linear_regression as linear_regression,
    minimum as minimum,
    statistics as statistics,
)
from ._risk import (
    AbstractRisk as AbstractRisk,
    EmpiricalRisk as EmpiricalRisk,
    Weights as Weights,
    by_rows as by_rows,
    mesh_of as mesh_of,
)
from ._rounded_products import RoundedProducts as RoundedProducts, with_rounded_products as with_rounded_products
from ._sklearn import Fitted as Fitted, from_sklearn as from_sklearn
from ._tables import from_table as from_table
