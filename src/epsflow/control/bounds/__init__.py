"""What no schedule can beat: lower bounds on the cost of linear regression, over all admissible weights.

Start in `_dual.py`; `_branching.py` closes the gap where residuals may change their signs.
"""
