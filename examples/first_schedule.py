import jax
import jax.numpy as jnp

import epsflow as ef

jax.config.update("jax_enable_x64", True)
problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], reduction="mean")
best = ef.optimal_schedule(problem, jnp.zeros(problem.dim), s=50.0, T=200.0)
print(f"cost {best.cost:.6e} ± {best.cost_error:.0e}: {best.status.value}, {best.scope.value}")
print("".join(f"  ε = {arc.level:g} from t = {arc.start:g} to {arc.end:.6g}\n" for arc in best.arcs))
ef.plots.save(ef.plots.schedule(best), "first-schedule.png")
