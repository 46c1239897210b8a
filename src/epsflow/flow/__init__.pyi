from ._equilibrium import Equilibrium as Equilibrium, equilibrium as equilibrium
from ._exact import ExactFlow as ExactFlow, exact_flow as exact_flow
from ._gradient_flow import gradient_flow as gradient_flow
from ._surfaces import (
    HomotopySurface as HomotopySurface,
    RewindSurface as RewindSurface,
    homotopy as homotopy,
    rewind_surface as rewind_surface,
)
from ._trajectory import Trajectory as Trajectory
