"""Does the sum of influences tell what removing a group does? Two data sets made to answer yes and no.

    python examples/group_influence.py

After Koh, Ang, Teo and Liang (2019): two Gaussian clouds, where influence orders groups well though it falls short; and
orthogonal directions, the i-th of them repeated i + 1 times, where removing all copies of one is underestimated by a
factor of its own, so that the order is turned around. One Newton step is exact there. Logistic regression, λ = n/1000;
what is predicted is the change of the removed points' own mean loss, and every group is retrained exactly.
"""

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

import epsflow as ef

jax.config.update("jax_enable_x64", True)


def clouds(rng: np.random.Generator) -> tuple[ef.Dataset, list[np.ndarray]]:
    """Twenty points of each class in five dimensions, and a hundred random groups of 2 to 10."""
    y = np.repeat([0.0, 1.0], 20)
    x = rng.normal(size=(40, 5)) + np.where(y[:, None] > 0.5, 0.5, -0.5)
    return ef.Dataset(x, y), [rng.choice(40, size=rng.integers(2, 11), replace=False) for _ in range(100)]


def directions(rng: np.random.Generator) -> tuple[ef.Dataset, list[np.ndarray]]:
    """Direction i repeated i + 1 times, i < 10, all of class 1, and forty random points; groups: all copies of one."""
    copies = np.repeat(np.arange(10), np.arange(1, 11))
    x = np.zeros((len(copies) + 40, 20))
    x[np.arange(len(copies)), copies] = 1.0
    x[len(copies) :, 10:] = rng.normal(size=(40, 10))  # in directions of their own
    y = np.concatenate([np.ones(len(copies)), (rng.random(40) < 0.5) * 1.0])
    return ef.Dataset(x, y), [np.flatnonzero(copies == i) for i in range(10)]


def changes(data: ef.Dataset, groups: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Change of each group's own mean loss: exact, by influence, and by one Newton step."""
    model, loss, l2 = ef.LinearModel(data.x.shape[1]), ef.LogisticLoss(), 1e-3 * data.n
    theta = ef.train(ef.Problem(model, loss, data, l2=l2)).theta
    found: dict[str, list[float]] = {"exact": [], "influence": [], "one Newton step": []}
    for group in groups:
        problem = ef.Problem(model, loss, data, group, l2=l2)
        own = ef.Losses(model, loss, data.x[group], data.y[group])
        before = np.mean(own(theta))
        found["exact"].append(float(np.mean(own(ef.retrain(problem).theta)) - before))
        found["influence"].append(float(np.mean(ef.influence(problem, theta, functional=own).change)))
        found["one Newton step"].append(float(np.mean(own(ef.newton_step(problem, theta).predicted)) - before))
    return {name: np.array(values) for name, values in found.items()}


def main() -> None:
    table = Table("data", "method", "slope", "relative error", "rank correlation")
    for name, make in (("two clouds", clouds), ("repeated directions", directions)):
        data, groups = make(np.random.default_rng(0))
        found = changes(data, groups)
        for method in ("influence", "one Newton step"):
            told = ef.attribution.agreement(found[method], found["exact"], 1)
            table.add_row(name, method, f"{told.slope:.3f}", f"{told.relative_error:.3f}", f"{told.spearman:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
