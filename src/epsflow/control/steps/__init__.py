"""Gradient descent in whole steps, for linear regression: what a schedule costs, the optimum, and what none can beat.

Sits on `linear` and `terms`. Start in `_task.py`; `_attainable.py` finds the nearest attainable point.
"""
