"""What rewind-to-delete guarantees on diabetes, beside the schedule that is best at the same steps.

Certificates of one deletion, of every deletion of the data set and of the worst case; then distance and bound over K.
"""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
T, K = 400, 60

data = ef.load_dataset("diabetes")
problem = ef.linear_regression(data, delete=[382], l2=0.01, reduction="mean")
radius = 2.0 * float(np.linalg.norm(ef.train(problem).theta))

rewind = ef.RewindToDelete(steps=T, unlearning_steps=K, radius=radius)
for scope in ("per instance", "per data set", "worst case"):
    print(ef.certify_unlearning(problem, rewind, scope=scope, **TARGET).summary())

# The best schedule from the same checkpoint, in the same steps, to the same end: retraining for T steps.
eta = ef.certify_unlearning(problem, rewind, **TARGET).step_size
retrained = rewind.run(problem).retrained
best = ef.optimal_schedule(problem, np.zeros(problem.dim), s=T - K, T=T, step_size=eta, target=retrained)
schedule = ef.ScheduledUnlearning(best.schedule, steps=T, clock="steps", step_size=eta)
print(ef.certify_unlearning(problem, schedule, **TARGET).summary())

if __name__ == "__main__":
    curves = [
        ef.unlearning_curve(problem, algorithm, amounts=[0, 1, 2, 5, 10, 20, 50, 100, 200, 400], scope=scope, **TARGET)
        for algorithm in (ef.DescendToDelete(steps=T), ef.RewindToDelete(steps=T))
        for scope in ("per data set",)
    ]
    ef.plots.save(ef.plots.unlearning_curve(curves), "certificates.png")
