"""How good are scores of points? Names of methods come in; a table of them against exact retraining goes out.

Start in `_compare.py`, the door. `_scores.py` knows every method by its name, `_agreement.py` how to compare two
columns of numbers, `_removal.py` what happens to a model whose points are removed in the order of their scores.
"""
