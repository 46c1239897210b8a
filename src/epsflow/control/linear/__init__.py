"""Linear regression, exactly, in NumPy and in the eigenbasis of H_{-D}: spectra, exponential sums, paths, families.

Start in `_task.py`, which holds the problem.
"""
