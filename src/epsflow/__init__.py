"""epsflow: training as gradient flow with a time-varying data weight ε(t).

θ̇ = −∇R_j(θ) − ε(t)∇ℓ_j(θ). Integrate it, find the best ε(t), and read influence functions, proximal Bregman responses
and unlearning algorithms off the ends of the flow. Rooms, in the order in which data moves through them: `problem`,
`schedules`, `flow`, then `analysis` and `control`, `unlearning` and `attribution`, then `plots`, `claims` and
`studies`, and the command line.

Names are listed in `__init__.pyi`, here and in every room, and load what they need when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
