"""What does an unlearning algorithm guarantee? Distances and constants come in; (ε_dp, δ_dp) and noise go out.

The privacy parameters are always called `epsilon` and `delta` here; elsewhere ε alone is the data's weight. Start in
`_gaussian.py`: from a distance over the noise to (ε_dp, δ_dp), exactly; `_renyi.py` does the same for a Rényi bound.
`_descent_noise.py`, `_langevin_noise.py`, `_clipped_noise.py` and `_newton_noise.py` hold what the published algorithms
promise in the worst case, from constants of the risk; `_noise_shape.py` the covariance that costs least,
`_random_batches.py` what a random distance means.

`algorithms/` holds the algorithms themselves, as values that run on any problem; `_constants.py` the constants of a
risk, proved from its data. `_certify.py` lays all of this on a problem: `certify_unlearning`; `_guarantees.py` several
algorithms side by side, `_streams.py` one request after another, `_audit.py` what an ensemble of models says,
`_model_scores.py` how each of them does.
`_compare.py` lays algorithms and the best schedule side by side at one budget, `_minimax.py` finds one schedule for all
points of a data set.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
