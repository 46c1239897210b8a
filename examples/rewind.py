"""Rewinding: train with a point until s, without it until T. Where should s be, and how near does each s end?"""

import jax
import jax.numpy as jnp
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], reduction="mean")
theta0 = jnp.zeros(problem.dim)
target = ef.equilibrium(problem, eps=0.0).theta

# All 201 flows at once, exactly: s = 0 is retraining, s = T keeps the point to the end.
finals = np.array([50.0, 100.0, 200.0])
surface = ef.rewind_surface(problem, s=np.linspace(0.0, 200.0, 201), T=finals, theta0=theta0)
distances = np.linalg.norm(np.asarray(surface.thetas - target), axis=-1)
for column, T in enumerate(finals):
    usable = np.asarray(surface.s) <= T
    best = int(np.argmin(np.where(usable, distances[:, column], np.inf)))
    print(
        f"T = {T:3g}: retraining ends at {distances[0, column]:.4f}, dropping the point at s = {surface.s[best]:g} "
        f"at {distances[best, column]:.4f}"
    )
ef.plots.save(ef.plots.rewind(surface, target), "rewind.png")
