"""Switch times as unknowns: bang-bang arcs made stationary, within a budget too, and exact arrivals at the target.

Start in `_linear.py` (linear regression, exactly) and `_swept.py` (any system); `_optimum.py` puts the parts together.
"""
