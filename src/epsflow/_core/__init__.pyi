from ._arrays import Array as Array, namespace as namespace
from ._checks import (
    as_float64 as as_float64,
    as_index_array as as_index_array,
    as_matrix as as_matrix,
    as_scalar as as_scalar,
    as_vector as as_vector,
    require_x64 as require_x64,
)
from ._display import Shown as Shown, Summary as Summary, Tabular as Tabular, to_frame as to_frame
from ._errors import ConvergenceError as ConvergenceError, EpsflowError as EpsflowError, InputError as InputError
from ._linalg import Eigen as Eigen, decay_integral as decay_integral, eigen as eigen
from ._provenance import provenance as provenance
from ._results import (
    RESULTS as RESULTS,
    SUCCESS as SUCCESS,
    decide as decide,
    message as message,
    pick as pick,
    stack as stack,
    succeeded as succeeded,
)
from ._text import printable as printable
