"""epsflow: training as gradient flow with a time-varying data weight ε(t).

θ̇ = −∇R_j(θ) − ε(t)∇ℓ_j(θ). Integrate it, find the best ε(t), and read influence functions, proximal Bregman responses
and unlearning algorithms off the ends of the flow. Rooms, in the order in which data moves through them: `problem`,
`schedules`, `flow`, then `analysis` and `control`, `unlearning` and `attribution`, then `plots`, `claims` and
`studies`, and the command line.

Names are listed in `__init__.pyi`, here and in every room, and load what they need when they are first used.
"""

from typing import Any

import lazy_loader

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A name of the stub when it is first used; the version, as installed."""
    if name == "__version__":
        from importlib.metadata import version  # which takes longer to load than all the rest here

        return version("epsflow")
    return _load(name)
