"""The matrices H_u of linear regression and their spectra."""

from dataclasses import replace

import numpy as np
import pytest

from epsflow.control.linear._pencil import Pencil, advance


@pytest.fixture
def pencil(rng):
    return Pencil(np.array([0.1, 0.7, 2.0]), rng.standard_normal((2, 3)), rng.standard_normal(2), np.zeros(3))


def test_a_replaced_pencil_forgets_the_spectra_of_the_old_one(pencil, rng):
    pencil.spectrum(1.0)
    residuals = rng.standard_normal(2)
    other = replace(pencil, residuals=residuals).spectrum(1.0)
    np.testing.assert_allclose(other.from_basis(other.drift), residuals @ pencil.rows, rtol=1e-12)


def test_a_spectrum_is_computed_once_per_weight(pencil):
    assert pencil.spectrum(0.5) is pencil.spectrum(np.array([0.5, 0.5]))
    assert pencil.spectrum(-0.0) is pencil.spectrum(0.0)


def test_the_flow_ends_where_its_field_vanishes(pencil):
    end = advance(pencil.spectrum(1.0), np.ones(3), np.array([1e4]))[0]
    field = pencil.drift - pencil.rates * end - pencil.residual(end) @ pencil.rows
    np.testing.assert_allclose(field, 0.0, atol=1e-12)
