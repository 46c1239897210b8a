"""Three small problems whose optimal schedule is not 1_[0,s], each with its certificate.

A late arc: dropping the point at once and taking it back for a while is best. Exact unlearning: the retrained model is
reached at a finite time. Mixed signs: the deleted point's residual changes its sign on the way, so that the problem is
not convex, and the lower bound comes from branching.
"""

import jax
import jax.numpy as jnp
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

# Rows of the data, targets (point 0 is deleted), T.
PROBLEMS = {
    "late-arc": ([[-2.0, 2.0], [1.0, 0.0], [1.0, -2.0]], [1.0, 0.0, -3.0], 1.0),
    "exact-unlearning": ([[1.0], [1.0]], [2.0, 1.0], 2.0),
    "mixed-signs": ([[1.0, -0.8], [1.0, 0.3], [0.0, np.sqrt(0.31)]], [1.5, 1.0, -0.8 / np.sqrt(0.31)], 2.0),
}

for name, (x, y, T) in PROBLEMS.items():
    problem = ef.linear_regression(ef.Dataset(np.array(x), np.array(y), name), delete=[0])
    table = ef.compare_schedules(problem, jnp.zeros(problem.dim), s=0.0, T=T)
    best = table.optimum
    arcs = ", ".join(f"ε = {arc.level:g} until {arc.end:.6f}" for arc in best.arcs)
    print(f"{name}: {arcs}")
    print(f"    cost {best.cost:.10g}, lower bound {best.lower_bound:.10g}; 1_[0,s] costs {table.baseline.cost:.6g}")
    print(f"    {best.status.value}, {best.scope.value}")
    ef.plots.save(ef.plots.schedule(table, conditions=True), f"{name}.png")
