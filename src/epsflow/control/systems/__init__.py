"""Any model by Runge–Kutta sweeps: its cost, the exact gradient of that by ε, costates, and a descent on a mesh.

Start in `_system.py` (what a system is) and `_rollout.py` (how it is swept).
"""
