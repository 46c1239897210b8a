import jax
import jax.numpy as jnp

import epsflow as ef

jax.config.update("jax_enable_x64", True)
problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], reduction="mean")
best = ef.optimal_schedule(problem, jnp.zeros(problem.dim), s=50.0, T=200.0)
print(best.summary())
ef.plots.save(ef.plots.schedule(best), "first-schedule.png")
