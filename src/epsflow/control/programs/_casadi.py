"""The one module of the project that imports CasADi.

Everything else in this room writes `from ._casadi import ca`, so that the dependency has one door: a room that has no
business with symbols cannot pick it up by accident, and what CasADi needs at import time is settled here only.
"""

from collections.abc import Mapping, Sequence

import casadi as ca

__all__ = ["available_solvers", "ca"]


def available_solvers(wanted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Which of CasADi's solvers are there, by kind: "nlp" or "conic".

    Example:
        >>> ef.control.available_solvers({"nlp": ["ipopt", "no such solver"]})
        {'nlp': ['ipopt']}
    """
    known = {"nlp": ca.has_nlpsol, "conic": ca.has_conic}
    return {kind: [name for name in names if known[kind](name)] for kind, names in wanted.items()}
