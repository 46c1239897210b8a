"""What does a posterior say of a point? A problem with a temperature comes in; covariances with their errors go out.

Start in `_bayesian_influence.py`, the door. `_posterior.py` is the density, `_chains.py` draws from it by blackjax's
samplers, `_moments.py` turns draws into covariances, `_gaussian.py` knows them in closed form.
"""
