"""How much less should each point count? A fairer regression and a sturdier classifier, retrained exactly.

    python examples/soft_weights.py

Prints what was predicted and what retraining gave, and writes soft-weights.png into the current folder. A few seconds.
"""

import jax
import jax.numpy as jnp
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)


def fairness() -> ef.SoftWeights:
    """Diabetes: the mean predictions of the two sexes should not differ, and others should not pay for it."""
    data = ef.load_dataset("diabetes")
    order = np.random.default_rng(0).permutation(data.n)
    train, held = order[:300], order[300:]
    problem = ef.linear_regression(ef.Dataset(data.x[train], data.y[train], features=data.features))
    sex = data.x[train, data.features.index("sex")] > 0.0
    gap = jnp.asarray(data.x[train][sex].mean(axis=0) - data.x[train][~sex].mean(axis=0))
    losses = ef.Losses(problem.model, problem.loss, data.x[held], data.y[held])
    return ef.soft_weights(
        problem,
        objective=lambda theta: 0.5 * (gap @ theta) ** 2,
        constraint=lambda theta: jnp.mean(losses(theta)),
    )


def robustness() -> ef.SoftWeights:
    """breast_cancer: the loss on slides whose measurements have all shifted by three tenths of a standard deviation."""
    data = ef.load_dataset("breast_cancer")
    order = np.random.default_rng(0).permutation(data.n)
    train, held = order[:300], order[300:]
    problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), ef.Dataset(data.x[train], data.y[train]), l2=1.0)
    shifted = ef.Losses(problem.model, problem.loss, data.x[held] + 0.3, data.y[held])
    return ef.soft_weights(problem, objective=lambda theta: jnp.mean(shifted(theta)))


def main() -> None:
    for name, found in (("fairness", fairness()), ("robustness", robustness())):
        print(f"{name}: row by row what it was, what influence predicted, and what retraining gave")
        print(found.summary())
    ef.plots.save(ef.plots.soft_weights(found, ax=ef.plots.panels()[0]), "soft-weights.png")


if __name__ == "__main__":
    main()
