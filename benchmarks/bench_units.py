"""Nothing depends on units: the worst deviation of every public answer over all scalings, in units of its allowance.

    python benchmarks/bench_units.py

The questions, the scalings (columns, targets and time by powers of ten from 1e-8 to 1e8, together) and the allowance
are those of `tests/test_units.py`, which holds each of them below one.
"""

import importlib
import itertools
import sys
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)
sys.path.append(str(Path(__file__).parents[1] / "tests"))
units = importlib.import_module("test_units")

COLUMNS = [units.Units(columns, target) for columns, target in itertools.product(units.UNEVEN, units.TARGETS)]
LABELS = [units.Units(columns) for columns in units.UNEVEN]
ONE = [units.Units(columns, target) for columns, target in itertools.product(units.EVEN, units.TARGETS)]
PAIRS = [units.Units(np.full(3, column), target) for column, target in ((1e-8, 1e8), (1e8, 1e-8))]

PARTS = [
    ("a unit for each column", units.OPTIMA, COLUMNS, units.ALLOWED),
    ("classes, a unit for each column", units.CLASSES, LABELS, units.ALLOWED),
    ("one unit, and time in its own", units.FLOWS, ONE, units.ALLOWED),
    ("integrators and searches", units.INTEGRATED, PAIRS, 1e-10),
]

for title, questions, scalings, allowed in PARTS:
    print(f"{title}: {len(questions)} questions × {len(scalings)} scalings, allowed {allowed:g}")
    for name, question in questions.items():
        worst = max(units.deviation(question, scaling) for scaling in scalings)
        print(f"  {name:44} {worst / allowed:9.2%}")
