"""How does θ move? A problem, a schedule ε(t) and a start θ0 come in; trajectories, equilibria and surfaces go out.

(GF) θ̇ = −∇R_{ε(t)}(θ). Three integrators: `exact` (linear regression under a piecewise-constant schedule, to
rounding), `collocation` (linear regression under any other schedule, to a proved bound near rounding) and `diffrax`
(anything).
Start in `_gradient_flow.py`, which chooses between them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
