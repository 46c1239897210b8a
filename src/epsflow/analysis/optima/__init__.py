"""Minima with and without the deleted points, exactly or by one step: retraining, leave-outs, leverage, Newton, θ(ε).

Start in `_retrain.py`. `_tilted.py` and `_trust_region.py` are what retraining, proximal and Bregman responses of any
model share.
"""
