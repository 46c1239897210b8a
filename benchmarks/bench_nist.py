"""Digits of NIST's certified regressions: `train` beside NumPy's `lstsq` and statsmodels' OLS.

    python benchmarks/bench_nist.py

The log relative error (LRE) of the worst coefficient, 15 at most: about as many certified digits are right. The sets
are those of the tests, typed from NIST's pages; data with decimals are rounded on the way in.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import statsmodels.api as sm

import epsflow as ef

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from problem.nist import NIST, digits  # the path is what finds it

jax.config.update("jax_enable_x64", True)

print(f"{'set':10} {'n × p':>8} {'epsflow':>8} {'lstsq':>8} {'statsmodels':>12}")
for name, (x, y, certified) in NIST.items():
    ours = ef.train(ef.linear_regression(ef.Dataset(x, y))).theta
    numpys = np.linalg.lstsq(x, y, rcond=None)[0]
    found = [digits(theta, certified) for theta in (ours, numpys, sm.OLS(y, x).fit().params)]
    print(f"{name:10} {f'{len(x)} × {x.shape[1]}':>8} {found[0]:8.1f} {found[1]:8.1f} {found[2]:12.1f}")
