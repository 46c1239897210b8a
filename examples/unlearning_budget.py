"""Which unlearning algorithm needs the least noise for the same number of gradient steps?

Diabetes (ridge), breast cancer (logistic) and a network on digits: descend-to-delete, rewind-to-delete, the best step
and the best schedule of all, with ε in [0, 1] and in [−1, 1], where points may be ascended.
"""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}


def ridge() -> list[ef.UnlearningComparison]:
    problem = ef.linear_regression(ef.load_dataset("diabetes"), delete=[32], l2=1.0)
    return compared(problem, None, steps=60, unlearning_steps=20)


def logistic() -> list[ef.UnlearningComparison]:
    data = ef.load_dataset("breast_cancer")
    problem = ef.Problem(ef.LinearModel(data.x.shape[1]), ef.LogisticLoss(), data, delete=list(range(10)), l2=1.0)
    return compared(problem, None, steps=60, unlearning_steps=20)


def network() -> list[ef.UnlearningComparison]:
    digits = ef.load_dataset("digits")
    data = ef.Dataset(digits.x[:300], digits.y[:300], name="digits (300)")
    model = ef.MLP((data.x.shape[1], 8, 10))
    problem = ef.Problem(model, ef.SoftmaxCrossEntropy(), data, delete=list(range(10)), l2=1e-3, reduction="mean")
    return compared(problem, np.asarray(model.init(jax.random.key(0))), steps=60, unlearning_steps=20, step_size=0.2)


def compared(problem: ef.Problem, theta0: np.ndarray | None, **question: float) -> list[ef.UnlearningComparison]:
    """With ε in [0, 1], and in [−1, 1]."""
    return [ef.compare_unlearning(problem, theta0, bounds=bounds, **question, **TARGET) for bounds in BOUNDS]


BOUNDS = ((0.0, 1.0), (-1.0, 1.0))

if __name__ == "__main__":
    for tables in (ridge(), logistic(), network()):
        for table, bounds in zip(tables, BOUNDS, strict=True):
            print(f"ε in [{bounds[0]:g}, {bounds[1]:g}]")
            print(table.summary())
    diabetes = ef.linear_regression(ef.load_dataset("diabetes"), delete=[32], l2=1.0)
    for bounds in BOUNDS:
        print(f"ε in [{bounds[0]:g}, {bounds[1]:g}], for all points")
        print(ef.minimax_schedule(diabetes, steps=60, unlearning_steps=20, bounds=bounds).summary())
