"""The one module of the project that imports CasADi.

Everything else in this room writes `from ._casadi import ca`, so that the dependency has one door: a room that has no
business with symbols cannot pick it up by accident, and what CasADi needs at import time is settled here only.
"""

import casadi as ca

__all__ = ["ca"]
