"""An audit: 4,000 unlearned and 4,000 retrained models, and what tells them apart.

The certificate stands; with a tenth of its noise the same audit refutes it. The points of the attack are those that no
model has seen.
"""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

data = ef.load_dataset("breast_cancer")
rng = np.random.default_rng(0)
order = rng.permutation(data.n)
train, test = (
    ef.Dataset(data.x[rows], data.y[rows], name=name) for rows, name in ((order[:400], "train"), (order[400:], "test"))
)
problem = ef.Problem(
    ef.LinearModel(data.x.shape[1]), ef.LogisticLoss(), train, list(range(20)), l2=0.01, reduction="mean"
)
rewind = ef.RewindToDelete(steps=200, unlearning_steps=20)

certificate = ef.certify_unlearning(problem, rewind, epsilon_dp=1.0, delta_dp=1e-5)
print(certificate.summary())
for noise in (certificate.sigma, certificate.sigma / 10):
    found = ef.audit(
        problem,
        rewind,
        certificate=certificate,
        sigma=noise,
        test=test,
        models=4_000,
        key=jax.random.key(1),
        throw=False,
    )
    print(found.summary())

if __name__ == "__main__":
    ef.plots.save(ef.plots.audit(found), "audit.png")
