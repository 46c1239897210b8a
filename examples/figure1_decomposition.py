"""Figure 1 of the notes: what separates retraining from an influence estimate, on several data sets and models.

All of them are stopped early. Writes figure1.png (sizes of the five gaps, in per cent of their sum).
"""

import jax
import jax.numpy as jnp
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
x = np.linspace(-2.0, 2.0, 20)[:, None]
sine = ef.Dataset(x, np.sin(2.0 * x[:, 0]) + 0.3 * rng.standard_normal(20), name="noisy sine")
cancer = ef.load_dataset("breast_cancer").subsample(200, seed=0)
problems = {
    "diabetes, linear": ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], l2=0.01, reduction="mean"),
    "breast cancer, logistic": ef.Problem(
        ef.LinearModel(30), ef.LogisticLoss(), cancer, delete=[0], l2=0.01, reduction="mean"
    ),
    "noisy sine, 3 neurons": ef.Problem(
        ef.MLP((1, 3, 1)), ef.SquaredLoss(), sine, delete=[9], l2=0.001, reduction="mean"
    ),
}
found = {}
for name, problem in problems.items():
    start, *others = (problem.model.init(key) for key in jax.random.split(jax.random.key(1), 4))
    stopped = ef.gradient_descent(problem, 1.0, start, steps=50).end
    found[name] = ef.decompose(problem, stopped, damping=0.01, solver=ef.Cholesky(), theta0=jnp.stack(others))
    sizes = found[name].sizes().mean(axis=1)
    shares = ", ".join(
        f"{gap} {share:.1f} %" for gap, share in zip(ef.Decomposition.gap_names, 100 * sizes / sizes.sum(), strict=True)
    )
    print(f"{name}: {shares}")
ef.plots.save(ef.plots.decomposition(found, kind="shares"), "figure1.png")
