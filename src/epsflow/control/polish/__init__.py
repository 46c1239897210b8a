"""Switch times as unknowns: arcs made stationary, within a budget too, and exact arrivals at the target.

Start in `_polish.py`, which works on an engine: `_exact.py` (linear regression) or `_swept.py` (any system).
`_optimum.py` puts the parts together.
"""
