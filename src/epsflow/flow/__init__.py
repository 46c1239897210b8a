"""How does θ move? A problem, a schedule ε(t) and a start θ0 come in; trajectories, equilibria and surfaces go out.

(GF) θ̇ = −∇R_{ε(t)}(θ). Three integrators: `exact` (linear regression under a piecewise-constant schedule, to
rounding), `series` (linear regression under an analytic schedule, to rounding) and `diffrax` (anything).
Start in `_gradient_flow.py`, which chooses between them.
"""

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
