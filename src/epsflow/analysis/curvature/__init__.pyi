from ._base import (
    AbstractCurvatureSolver as AbstractCurvatureSolver,
    AnyCurvature as AnyCurvature,
    CurvatureSolve as CurvatureSolve,
    dense as dense,
    factor as factor,
    products as products,
    relative_residuals as relative_residuals,
)
from ._cg import CG as CG
from ._cholesky import Cholesky as Cholesky
from ._curvature import Curvature as Curvature, require_dense as require_dense
from ._curvature_at import curvature_at as curvature_at
from ._diagonal import diagonal as diagonal
from ._dual import Dual as Dual
from ._ekfac import EKFAC as EKFAC
from ._linear import LinearCurvature as LinearCurvature
from ._lissa import LiSSA as LiSSA, largest_eigenvalue as largest_eigenvalue
from ._memory import Chunks as Chunks, chunks_for as chunks_for, chunks_of as chunks_of, said as said
from ._nystrom import Nystrom as Nystrom
from ._refined import refined as refined
from ._solve import Prepared as Prepared, solve as solve
