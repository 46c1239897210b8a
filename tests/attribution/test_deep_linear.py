"""The deep linear network's closed form."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import epsflow as ef
from epsflow.attribution import mode_strengths


def test_modes_solve_their_equation():
    s, start, tau, ts = np.array([3.0, 1.5, 0.5]), np.array([1e-3, 1e-2, 1e-3]), 0.7, np.linspace(0.0, 6.0, 13)
    found = solve_ivp(
        lambda _, g: 2.0 * g * (s - g) / tau, (0.0, 6.0), start, method="DOP853", t_eval=ts, rtol=1e-12, atol=1e-15
    )
    # DOP853's global error at rtol 1e-12, grown through the rise of the modes.
    np.testing.assert_allclose(mode_strengths(s, ts, initial=start, tau=tau), found.y.T, rtol=1e-9)


def test_late_times_do_not_overflow():
    assert mode_strengths(np.array([2.0]), np.array([1e6]), initial=1e-9) == 2.0


@pytest.mark.parametrize("arguments", [{"initial": 0.0}, {"initial": 1e-3, "tau": -1.0}])
def test_a_start_that_is_never_left_is_refused(arguments: dict):
    with pytest.raises(ef.InputError, match="positive"):
        mode_strengths(np.array([1.0]), np.array([1.0]), **arguments)
