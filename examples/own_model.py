"""A model of your own: a network with three hidden neurons on twenty points, and the best way to forget one of them."""

import jax
import jax.numpy as jnp
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

# A sine with noise, and one point (number 3) far off the curve, which is to be forgotten.
rng = np.random.default_rng(0)
x = np.linspace(-2.0, 2.0, 20)
y = np.sin(2.0 * x) + 0.1 * rng.standard_normal(20)
y[3] += 1.5
data = ef.Dataset(x[:, None], y, name="noisy sine")


# Any function of (params, point) will do; ef.MLP((1, 3, 1)) is the same network ready made.
def network(params: dict[str, jax.Array], point: jax.Array) -> jax.Array:
    hidden = jnp.tanh(params["w"] * point[0] + params["b"])
    return params["v"] @ hidden + params["c"]


params = {"w": jnp.array([1.0, -1.5, 2.0]), "b": jnp.array([0.5, 0.0, -0.5]), "v": jnp.array([0.5, -0.5, 0.5])}
model = ef.FunctionModel(network, params | {"c": jnp.zeros(())})
problem = ef.Problem(model, ef.SquaredLoss(), data, delete=[3], l2=0.01)

# No theorem covers this model: what is found is called local, and says how well Pontryagin's conditions hold.
comparison = ef.compare_schedules(problem, model.start, s=0.3, T=2.0, families=(ef.Step, ef.LinearDecay), intervals=20)
for row in comparison.rows():
    print(f"{row['family']:12}  cost {row['cost']:.6e}  ratio {row['ratio']:.4f}  {row['status']}")
print(f"method: {comparison.optimum.how}, PMP gap {comparison.optimum.pmp_gap:.1e}")
ef.plots.save(ef.plots.schedule(comparison), "own-model.png")
