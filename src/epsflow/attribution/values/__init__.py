"""What is a point worth to a utility? A utility V(S) of coalitions S comes in; semivalues with their errors go out.

Start in `_data_values.py`, the doors; `_utility.py` says what a utility is. `_enumeration.py` and `_permutations.py`
are the two ways to a value, `_coalition_newton.py` and `_coalition_flow.py` the two ways to train every coalition of a
batch at once, `_knn.py` the one utility with a closed form.
"""
