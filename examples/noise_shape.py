"""Noise of the right shape: the covariance that hides every deletion of a data set at the least risk.

The changes are those that one certificate of all points computes; isotropic noise, and noise isotropic in the risk
metric, stand beside the optimum.
"""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

for name in ("diabetes", "breast_cancer"):
    data = ef.load_dataset(name)
    problem = ef.linear_regression(data, delete=[0], l2=0.01, reduction="mean")
    rewind = ef.RewindToDelete(steps=400, unlearning_steps=60)
    certificate = ef.certify_unlearning(problem, rewind, scope="per data set", epsilon_dp=1.0, delta_dp=1e-5)
    hessian = np.asarray(problem.hessian(np.zeros(problem.dim), 0.0))
    noise = ef.optimal_noise(certificate.changes, hessian, epsilon=1.0, delta=1e-5)
    print(name, noise)
    print(f"  isotropic noise costs {noise.isotropic_cost / noise.cost:.1f} times as much risk,")
    print(f"  noise isotropic in the risk metric {noise.risk_isotropic_cost / noise.cost:.2f} times.")
