"""Thousands of small linear regressions at once: families, costs and certified optima of a whole stack.

Start in `_stack.py`, which holds the problems.
"""
