"""What all wings agree on: the cost of the end, levels and arcs of ε, Pontryagin's figures, effort, the deadline.

Also the words of an answer (`_kinds.py`) and what a search hands over (`_runs.py`). Imports no other wing.
"""
