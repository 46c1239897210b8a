"""Which points matter, and when? A problem and a schedule, or a utility, come in; scores of points go out.

Every score is the *predicted change upon removal*, with its units, its sign and its error. Start in
`training/_density.py`: the influence density K_j(t), from which scores over any window of training are read; its limits
and the stages of learning stand beside it. `values/` holds Shapley and Banzhaf values of any utility, of models trained
on coalitions among others; `bayes/` covariances of losses under the posterior; `_soft_weights.py` turns influences into
weights, and retrains with them; `compare/` lays all methods beside exact retraining. `plateaus/` says
when a two-layer network learns what.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
