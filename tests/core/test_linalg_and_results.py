"""Eigendecompositions with a rank, the decay integral, words of a result, provenance."""

import diffrax
import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optimistix
import pytest
from hypothesis import example, given, strategies as st

from epsflow._core import (
    RESULTS,
    ConvergenceError,
    EpsflowError,
    decay_integral,
    eigen,
    message,
    provenance,
    succeeded,
)


def test_eigen_of_a_singular_matrix(rng):
    rows = rng.standard_normal((2, 4))
    matrix = rows.T @ rows
    basis = eigen(jnp.asarray(matrix))
    assert basis.kernel.sum() == 2
    # Products of 4×4 matrices of order one: a few roundings.
    np.testing.assert_allclose(basis.vectors @ jnp.diag(basis.values) @ basis.vectors.T, matrix, rtol=0, atol=1e-14)
    np.testing.assert_allclose(basis.vectors.T @ basis.vectors, np.eye(4), rtol=0, atol=1e-14)
    vector = rng.standard_normal(4)
    # The condition number on the range, about 10, multiplies the rounding.
    np.testing.assert_allclose(basis.pinv(jnp.asarray(vector)), np.linalg.pinv(matrix) @ vector, rtol=0, atol=1e-13)
    np.testing.assert_allclose(rows @ basis.kernel_projection(jnp.asarray(vector)), 0.0, rtol=0, atol=1e-13)


def test_eigen_keeps_small_eigenvalues_that_carry_digits():
    """A threshold by size instead of by rounding would call 1e-10 zero."""
    assert not eigen(jnp.diag(jnp.array([1e-10, 1.0]))).kernel.any()
    assert eigen(jnp.diag(jnp.array([1e-17, 1.0]))).kernel.tolist() == [True, False]


def test_a_basis_change_is_undone(rng):
    basis = eigen(jnp.asarray(np.cov(rng.standard_normal((3, 9)))))
    batch = jnp.asarray(rng.standard_normal((5, 3)))
    np.testing.assert_allclose(
        basis.from_basis(basis.to_basis(batch)), batch, rtol=0, atol=1e-15 * 8
    )  # 3-term products


@given(st.floats(-30.0, 30.0), st.floats(0.0, 1.0))
@example(2.2250738585072014e-308, 0.5)
def test_decay_integral(rate, t):
    """(1 − e^{−rt})/r loses its digits near r = 0; the Taylor series of φ₁ does not."""
    series, term = 0.0, t
    for k in range(2, 140):  # 30^k/k! is below rounding of the sum e^30 at k = 140
        series, term = series + term, term * -rate * t / k
    # For r > 0 the alternating series loses up to e^{30}·u; there compare with the closed form instead.
    expected = series if rate < 1.0 else (1.0 - np.exp(-rate * t)) / rate
    for computed in (
        decay_integral(jnp.asarray(rate), jnp.asarray(t)),
        decay_integral(np.asarray(rate), np.asarray(t)),
    ):
        # At rt ≪ 1 the closed form's cancellation is 1e-16/r absolute.
        assert float(computed) == pytest.approx(expected, rel=1e-14, abs=1e-15)


def test_decay_integral_broadcasts_and_is_t_at_rate_zero():
    out = decay_integral(jnp.array([0.0, 1.0]), jnp.asarray(2.0))
    np.testing.assert_allclose(out, [2.0, 1.0 - np.exp(-2.0)], rtol=1e-15)


def test_outcomes_have_words():
    promoted = RESULTS.promote(diffrax.RESULTS.max_steps_reached)
    assert "maximum number of solver steps" in message(promoted)
    assert message(RESULTS.promote(diffrax.RESULTS.successful)) == "successful"
    assert "saddle" in message(RESULTS.not_a_minimum)


# The names in `RESULTS` are read off a private dictionary of equinox: it has no public list of them.
@pytest.mark.parametrize("library", [lineax, optimistix, diffrax], ids=lambda library: library.__name__)
def test_every_outcome_of_the_solvers_is_translated_by_name(library):
    for name, outcome in library.RESULTS._name_to_item.items():
        assert bool(RESULTS.promote(outcome) == getattr(RESULTS, name))


def test_outcomes_are_translated_in_stacks_and_under_jit():
    steps, fine = diffrax.RESULTS.max_steps_reached, diffrax.RESULTS.successful
    several = jax.tree.map(lambda *codes: jnp.stack(codes), steps, fine)
    for translate in (RESULTS.promote, eqx.filter_jit(RESULTS.promote), eqx.filter_vmap(RESULTS.promote)):
        np.testing.assert_array_equal(succeeded(translate(several)), [False, True])


def test_an_outcome_of_no_known_name_is_a_failure():
    class Later(eqxi.Enumeration):
        successful = ""
        asleep = "A reason of a later version."

    assert "no words" in message(RESULTS.promote(Later.asleep))
    assert message(RESULTS.promote(Later.successful)) == "successful"


def test_convergence_error_carries_its_result():
    error = ConvergenceError("no", result=3)
    assert isinstance(error, EpsflowError)
    assert isinstance(error, RuntimeError)
    assert error.result == 3


def test_provenance_names_what_made_a_number():
    record = provenance()
    assert {"epsflow", "jax", "diffrax", "casadi", "python", "platform", "time"} <= record.keys()
    assert all(isinstance(entry, str) for entry in record.values())
