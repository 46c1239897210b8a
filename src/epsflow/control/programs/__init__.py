"""CasADi: models translated to its symbols, transcriptions solved by IPOPT, and the convex program.

`_casadi.py` is the only door to the library. Start in `_program.py`.
"""
