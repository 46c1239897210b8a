"""Which points is a classifier made of? Shapley values with intervals, beside influence and exact leave-one-out.

    python examples/shapley_values.py

One label in ten is wrong. Prints how well each method finds them and predicts retraining; writes values.png and
removal.png into the current folder. Some ten seconds.
"""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)


def main() -> None:
    data, rng = ef.load_dataset("breast_cancer"), np.random.default_rng(0)
    order = rng.permutation(data.n)
    train, held = order[:80], order[80:]
    labels, wrong = data.y[train].copy(), rng.choice(80, size=8, replace=False)
    labels[wrong] = 1.0 - labels[wrong]
    problem = ef.Problem(ef.LinearModel(30), ef.LogisticLoss(), ef.Dataset(data.x[train], labels), l2=1.0)
    test = ef.Dataset(data.x[held], data.y[held])

    values = ef.data_shapley(ef.ModelUtility(problem, test), 80, tolerance=0.02, key=jax.random.key(0))
    print(values.summary())
    lowest = np.argsort(values.values)[:8]
    print(f"{np.isin(lowest, wrong).sum()} of the 8 least valued points are among the 8 wrong labels")

    methods = {"influence": None, "pbrf": None, "shapley": values.values, "knn": None, "random": None}
    compared = ef.compare_attributions(problem, methods, test=test, mislabelled=wrong)
    print(compared.summary())
    ef.plots.save(ef.plots.point_values(values, ax=ef.plots.panels()[0]), "values.png")
    ef.plots.save(ef.plots.removal(compared, ax=ef.plots.panels()[0]), "removal.png")


if __name__ == "__main__":
    main()
