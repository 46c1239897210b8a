"""Studies that ship with the library, by name: data alone, which loads nothing."""

from typing import Any

THREE_DATA_SETS = [
    {"kind": "data", "data": name, "delete": {"by": "most influential", "count": 40}}
    for name in ("diabetes", "wine", "breast_cancer")
]

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
}
"""Name → (the question, the fields of its specification)."""
