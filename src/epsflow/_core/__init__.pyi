from ._arrays import Array as Array, in_chunks as in_chunks, namespace as namespace
from ._checks import (
    STDIN as STDIN,
    article as article,
    as_array as as_array,
    as_choice as as_choice,
    as_count as as_count,
    as_deleted as as_deleted,
    as_flag as as_flag,
    as_float64 as as_float64,
    as_index_array as as_index_array,
    as_instance as as_instance,
    as_matrix as as_matrix,
    as_numbers as as_numbers,
    as_scalar as as_scalar,
    as_share as as_share,
    as_vector as as_vector,
    brief as brief,
    check_file as check_file,
    require_x64 as require_x64,
)
from ._display import (
    Shown as Shown,
    Spelled as Spelled,
    Summary as Summary,
    Tabular as Tabular,
    shown as shown,
    spelled as spelled,
    to_frame as to_frame,
    with_error as with_error,
)
from ._doors import COMMON as COMMON, Check as Check, Door as Door, door as door, random_key as random_key
from ._errors import (
    ConvergenceError as ConvergenceError,
    EpsflowError as EpsflowError,
    EpsflowWarning as EpsflowWarning,
    InputError as InputError,
)
from ._extras import extra_library as extra_library, install_command as install_command
from ._labelled import Axed as Axed, Labelled as Labelled
from ._linalg import Eigen as Eigen, decay_integral as decay_integral, eigen as eigen
from ._page import page as page
from ._provenance import provenance as provenance
from ._results import (
    RESULTS as RESULTS,
    SUCCESS as SUCCESS,
    decide as decide,
    ended_as as ended_as,
    join as join,
    message as message,
    pick as pick,
    stack as stack,
    succeeded as succeeded,
)
from ._shares import share_bounds as share_bounds
from ._stored import Stored as Stored, read_fields as read_fields
from ._text import printable as printable
from ._traced import jaxpr_of as jaxpr_of
from ._warn import warn as warn
