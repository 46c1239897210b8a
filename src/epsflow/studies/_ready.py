"""Studies that ship with the library, by name: data alone, which loads nothing."""

from typing import Any

THREE_DATA_SETS = [
    {"kind": "data", "data": name, "delete": {"by": "most influential", "count": 40}}
    for name in ("diabetes", "wine", "breast_cancer")
]

FORGOTTEN: dict[str, list[dict[str, Any]]] = {
    "digits": [
        {"by": "random", "size": 13},
        {"by": "random", "size": 67},
        {"by": "label", "points": [3]},
    ],
    "mnist_3_8": [
        {"by": "random", "size": 8},
        {"by": "random", "size": 38},
        {"by": "label", "points": [0], "share": 0.25},
    ],
}
"""1 % and 5 % of the points that networks are trained on, a class, and a sub-population: the faintest threes."""

READY: dict[str, tuple[str, dict[str, Any]]] = {
    "step-vs-linear": (
        "Does dropping the point at one moment beat letting its weight decay linearly? 10,000 random problems and "
        "three data sets.",
        {
            "task": "schedules",
            "problems": [
                {"kind": "random", "d": [2, 10], "n": [40], "outlier": [0.0, 3.0], "draws": 2_500},
                *THREE_DATA_SETS,
            ],
            "s": [2.0],
            "T": [8.0],
            # Most problems of mixed sign take 10 to 40; the few that take more would hold up their stack.
            "branching": 100,
        },
    ),
    "when-is-step-optimal": (
        "For which noise, outlier and training time is dropping the point at once, 1_[0,s], the certified optimum?",
        {
            "task": "schedules",
            "problems": [
                {"kind": "random", "d": [2], "noise": [0.1, 0.5], "outlier": [0.0, 1.0, 3.0, 10.0], "draws": 100}
            ],
            "families": ["Step"],
            "s": [0.5, 2.0, 8.0],
            "T": [16.0],
        },
    ),
    "rewind-depth": (
        "How far must training be rewound before rewind-to-delete ends nearer than descend-to-delete?",
        {
            "task": "rewind",
            "problems": [
                {"kind": "random", "d": [2, 10], "n": [40], "outlier": [3.0], "draws": 500},
                *THREE_DATA_SETS,
            ],
            "s": [0.0],
            "T": [16.0],
            "depths": [0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0],
        },
    ),
    "influence-vs-retraining": (
        "How far are influence functions, Newton steps and proximal Bregman responses from retraining?",
        {
            "task": "influence",
            "problems": [
                {"kind": "data", "data": "diabetes", "delete": {"by": "most influential", "count": 20}},
                {"kind": "data", "data": "diabetes", "delete": {"by": "random", "size": 20, "count": 20}},
                {
                    "kind": "data",
                    "data": "breast_cancer",
                    "model": "logistic",
                    "delete": {"by": "random", "size": 1, "count": 20},
                },
            ],
            "l2": 0.01,
        },
    ),
    "exact-unlearning": (
        "How often, and how soon, can the leave-out optimum be reached exactly in finite time?",
        {
            "task": "exact",
            "problems": [{"kind": "random", "d": [1, 2, 3], "outlier": [0.0, 3.0], "draws": 100}],
            "s": [0.0, 0.5],
            "T": [16.0],
        },
    ),
    "certificates": (
        "How far do unlearning algorithms end from retraining, and how much noise do their guarantees ask for?",
        {
            "task": "certificates",
            "problems": [
                {"kind": "random", "d": [2, 10], "n": [40], "outlier": [0.0, 3.0], "draws": 250},
                {"kind": "data", "data": "diabetes", "delete": {"by": "most influential", "count": 20}},
                {
                    "kind": "data",
                    "data": "breast_cancer",
                    "model": "logistic",
                    "delete": {"by": "random", "size": 1, "count": 10},
                },
            ],
            "l2": 0.01,
        },
    ),
    "attribution": (
        "How far are the influence density, TracIn, SOURCE and influence functions from training again, by its length?",
        {
            "task": "attribution",
            "problems": [
                {"kind": "random", "d": [2, 10], "n": [40], "outlier": [0.0, 3.0], "draws": 100},
                {"kind": "data", "data": "diabetes", "delete": {"by": "most influential", "count": 40}},
                {"kind": "data", "data": "diabetes", "delete": {"by": "random", "size": 20, "count": 40}},
            ],
            "s": [0.0],
            "T": [0.5, 2.0, 8.0, 64.0],
        },
    ),
    "networks": (
        "Does the optimal schedule help where no theorem holds? Networks trained with an optimiser on digits, and on "
        "MNIST's 3 and 8.",
        {
            "task": "networks",
            "problems": [
                {"kind": "data", "data": name, "model": "mlp", "draws": 10, "delete": delete}
                for name, deletions in FORGOTTEN.items()
                for delete in deletions
            ],
            "l2": 5e-4,
        },
    ),
}
"""Name → (the question, the fields of its specification)."""
