"""NIST's reference sets for linear least squares, with certified values (https://www.itl.nist.gov/div898/strd/).

Certified coefficients have 15 digits, from 500-digit arithmetic.
"""

from typing import NamedTuple

import numpy as np
import statsmodels.api as sm


class ReferenceSet(NamedTuple):
    x: np.ndarray
    y: np.ndarray
    certified: np.ndarray


def _set(x, y, certified) -> ReferenceSet:
    return ReferenceSet(np.asarray(x, float), np.asarray(y, float), np.asarray(certified, float))


def _norris() -> ReferenceSet:
    x = """0.2 337.4 118.2 884.6 10.1 226.5 666.3 996.3 448.6 777.0 558.2 0.4 0.6 775.5 666.9 338.0 447.5 11.6 556.0
        228.1 995.8 887.6 120.2 0.3 0.3 556.8 339.1 887.2 999.0 779.0 11.1 118.3 229.2 669.1 448.9 0.5"""
    y = """0.1 338.8 118.1 888.0 9.2 228.1 668.5 998.5 449.1 778.9 559.2 0.3 0.1 778.1 668.8 339.3 448.9 10.8 557.7
        228.3 998.0 888.8 119.6 0.3 0.6 557.6 339.3 888.0 998.5 778.9 10.2 117.6 228.9 668.4 449.2 0.2"""
    x, y = (np.array(column.split(), float) for column in (x, y))
    return _set(np.vander(x, 2, increasing=True), y, [-0.262323073774029, 1.00211681802045])


def _pontius() -> ReferenceSet:
    y = """.11019 .21956 .32949 .43899 .54803 .65694 .76562 .87487 .98292 1.09146 1.20001 1.30822 1.41599 1.52399
        1.63194 1.73947 1.84646 1.95392 2.06128 2.16844 .11052 .22018 .32939 .43886 .54798 .65739 .76596 .87474
        .98300 1.09150 1.20004 1.30818 1.41613 1.52408 1.63159 1.73965 1.84696 1.95445 2.06177 2.16829"""
    x = np.tile(150_000.0 * np.arange(1, 21), 2)
    certified = [0.673565789473684e-3, 0.732059160401003e-6, -0.316081871345029e-14]
    return _set(np.vander(x, 3, increasing=True), np.array(y.split(), float), certified)


def _longley() -> ReferenceSet:
    table = sm.datasets.longley.load_pandas()
    certified = [
        -3482258.63459582, 15.0618722713733, -0.0358191792925910, -2.02022980381683,
        -1.03322686717359, -0.0511041056535807, 1829.15146461355,
    ]  # fmt: skip
    return _set(np.column_stack([np.ones(16), table.exog.to_numpy()]), table.endog.to_numpy(), certified)


def _wampler(coefficients, noise: float = 0.0) -> ReferenceSet:
    steps = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]
    powers = np.vander(np.arange(21.0), 6, increasing=True)
    return _set(powers, powers @ coefficients + noise * np.array(steps + steps[-2::-1]), coefficients)


NIST = {
    "Norris": _norris(),
    "Pontius": _pontius(),
    "NoInt1": _set(np.arange(60, 71)[:, None], np.arange(130, 141), [2.07438016528926]),
    "NoInt2": _set([[4], [5], [6]], [3, 4, 4], [0.727272727272727]),
    "Longley": _longley(),
    "Wampler1": _wampler(np.ones(6)),
    "Wampler2": _wampler(10.0 ** -np.arange(6)),
    "Wampler3": _wampler(np.ones(6), 1.0),
    "Wampler4": _wampler(np.ones(6), 100.0),
    "Wampler5": _wampler(np.ones(6), 10_000.0),
}


def digits(found: np.ndarray, certified: np.ndarray) -> float:
    """LRE: how many significant digits the worst coefficient has, 15 at most."""
    errors = np.abs(np.asarray(found) - certified) / np.abs(certified)
    return float(np.min(np.minimum(15.0, -np.log10(np.maximum(errors, 1e-15)))))
