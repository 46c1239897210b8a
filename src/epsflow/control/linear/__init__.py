"""Linear regression, exactly, in NumPy and in the eigenbasis of H_{-D}: spectra, sums of exponentials, paths.

Start in `_task.py`, which holds the problem.
"""
