"""Figure 2 of the notes: the homotopy θ(t, ε), every learning trajectory between "trained with" and "trained without".

Writes figure2-heat-map.png (distance to the leave-out optimum) and figure2-surface.png (the parameter that ε moves
most).
"""

import jax
import jax.numpy as jnp
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], reduction="mean")
surface = ef.homotopy(
    problem, eps=np.linspace(0.0, 1.0, 51), ts=np.linspace(0.0, 100.0, 101), theta0=jnp.zeros(problem.dim)
)
target = ef.equilibrium(problem, eps=0.0).theta
for eps, thetas in zip(surface.eps[::25], surface.thetas[::25], strict=True):
    print(f"ε = {float(eps):.1f}: ‖θ(100, ε) − θ*_(-j)‖ = {float(jnp.linalg.norm(thetas[-1] - target)):.5f}")
ef.plots.save(ef.plots.homotopy(surface, target=target), "figure2-heat-map.png")
ef.plots.save(ef.plots.homotopy(surface, kind="surface"), "figure2-surface.png")
