"""What is trained? Arrays, CSV files and bundled data sets come in; `Dataset`, models, losses and `Problem` go out.

A `Problem` says which points are deleted and owns the weighted risk R_ε(θ) as a `risk`: an `EmpiricalRisk` sums over
the data, a `Quadratic` holds the sufficient statistics of linear regression. Both answer the same questions (value,
gradient, Hessian products), so nothing after this room asks which it is unless an exact formula exists.
Start in `_problem.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
