"""The factor of linear regression: against NIST's certified values, exact rationals, and itself in other units."""

from fractions import Fraction

import numpy as np
import pytest

from epsflow.problem._design import WideDesign, factor_rows, refine
from problem.nist import NIST, digits

ROUNDED = 1e-14
"""Certified values have 15 digits."""


def factor(x, y, l2=0.0):
    return factor_rows([(x, y)], x.shape[1], l2)


@pytest.mark.parametrize("name", NIST)
def test_certified_values_lie_within_the_stated_error(name):
    x, y, certified = NIST[name]
    design = factor(x, y)
    theta = design.minimum()
    first = design.error(theta)
    assert (np.abs(theta - certified) <= first + ROUNDED * np.abs(certified)).all()
    refined, error = refine(theta, x, y, 0.0)
    # Decimal data are rounded on the way in, by as much as the factorisation rounds.
    rounded = 0.0 if (np.vstack([x.T, y]) % 1.0 == 0.0).all() else first
    assert (np.abs(refined - certified) <= error + rounded + ROUNDED * np.abs(certified)).all()
    assert digits(refined, certified) >= digits(theta, certified)


@pytest.mark.parametrize("seed", [11, 12, 34, 35])
def test_what_a_refinement_cannot_resolve_is_in_its_error(seed):
    """Two columns that differ by 1e-8: large coefficients cancel, and a correction may be small by chance."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    x[:, 1] = x[:, 0] + 1e-8 * x[:, 1]
    (u, v), b = [[Fraction(value) for value in column] for column in x.T.tolist()], [Fraction(k) for k in y.tolist()]
    uu, uv, vv, ub, vb = (
        sum(a * c for a, c in zip(*pair, strict=True)) for pair in ((u, u), (u, v), (v, v), (u, b), (v, b))
    )
    exact = [(vv * ub - uv * vb) / (uu * vv - uv * uv), (uu * vb - uv * ub) / (uu * vv - uv * uv)]
    theta, error = refine(factor(x, y).minimum(), x, y, 0.0)
    assert all(abs(float(Fraction(t) - e)) <= d for t, e, d in zip(theta.tolist(), exact, error, strict=True))


def test_units_of_columns_and_targets_do_not_matter(rng):
    x, y = rng.standard_normal((30, 6)), rng.standard_normal(30)
    units, unit = 10.0 ** rng.integers(-8, 9, 6), 1e8
    plain, scaled = factor(x, y), factor(x * units, unit * y)
    np.testing.assert_allclose(scaled.minimum() * units / unit, plain.minimum(), rtol=1e-13)
    assert scaled.condition == pytest.approx(plain.condition, rel=1e-12)
    assert scaled.rank == plain.rank == 6
    np.testing.assert_allclose(scaled.error(scaled.minimum()) * units / unit, plain.error(plain.minimum()), rtol=1e-10)


def test_chunks_do_not_matter(rng):
    x, y = rng.standard_normal((40, 5)), rng.standard_normal(40)
    whole = factor(x, y, 0.3)
    parts = factor_rows(((x[k : k + 7], y[k : k + 7]) for k in range(0, 40, 7)), 5, 0.3)
    np.testing.assert_allclose(parts.minimum(), whole.minimum(), rtol=1e-13)
    assert parts.rest == pytest.approx(whole.rest, rel=1e-14)
    np.testing.assert_allclose(whole.hessian(), x.T @ x + 0.3 * np.eye(5), rtol=1e-13)
    assert 0.5 * whole.rest**2 == pytest.approx(
        0.5 * np.sum((x @ whole.minimum() - y) ** 2) + 0.15 * np.sum(whole.minimum() ** 2), rel=1e-13
    )


def test_small_eigenvalues_are_as_exact_as_large_ones(rng):
    """Columns 1e16 apart: trace and determinant in rationals, and every Rayleigh quotient."""
    x = rng.integers(-9, 10, (12, 3)) * np.array([1.0, 2.0**-27, 2.0**26])
    eigen = factor(x, np.zeros(12)).eigen()
    columns = [[Fraction(value) for value in column] for column in x.T.tolist()]
    exact = [[sum(a * b for a, b in zip(u, v, strict=True)) for v in columns] for u in columns]
    minors = [exact[i][i] * exact[j][j] - exact[i][j] ** 2 for i, j in ((0, 1), (0, 2), (1, 2))]
    (a, b, c), (_, e, f), (_, _, i) = exact
    determinant = a * (e * i - f * f) - b * (b * i - f * c) + c * (b * f - e * c)
    assert eigen.values[2] == pytest.approx(float(a + e + i), rel=1e-15)
    assert eigen.values[1] * eigen.values[2] == pytest.approx(float(sum(minors)), rel=1e-14)
    assert np.prod(eigen.values) == pytest.approx(float(determinant), rel=1e-14)
    np.testing.assert_allclose(np.linalg.norm(x @ eigen.vectors, axis=0) ** 2, eigen.values, rtol=1e-8)
    np.testing.assert_allclose(eigen.vectors.T @ eigen.vectors, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("unit", [1.0, 1e-8, 1e8])
def test_what_no_row_determines_is_left_where_it_was(rng, unit):
    x = rng.standard_normal((20, 5))
    x[:, 3] = 2.0 * x[:, 1] - x[:, 0]
    x, y = x * np.array([1.0, unit, 1.0, 1.0, 1.0]), rng.standard_normal(20)
    design = factor(x, y)
    assert design.rank == 4
    direction = np.array([1.0, -2.0 / unit, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(np.abs(design.kernel[:, 0]), np.abs(direction) / np.linalg.norm(direction), atol=1e-13)
    start = rng.standard_normal(5)
    theta = design.minimum(nearest=start)
    free = design.kernel[:, 0]
    # Coordinates of size 1/unit are subtracted on the way.
    assert free @ theta == pytest.approx(free @ start, abs=1e-15 + 1e-15 / unit)
    np.testing.assert_allclose(x.T @ (x @ theta - y), 0.0, atol=1e-11 * np.abs(x.T @ y).max())
    eigen = design.eigen()
    assert np.count_nonzero(eigen.values == 0.0) == 1
    np.testing.assert_allclose(
        design.solve_normal(x.T @ y), design.minimum(), atol=1e-10 * np.abs(design.minimum()).max()
    )


def test_a_condition_of_1e12_is_solved(rng):
    left, right = (np.linalg.qr(rng.standard_normal((n, 6)))[0] for n in (30, 6))
    x = left @ np.diag(10.0 ** np.linspace(0.0, -12.0, 6)) @ right.T
    truth = rng.standard_normal(6)
    design = factor(x, x @ truth)
    assert design.rank == 6
    assert (np.abs(design.minimum() - truth) <= design.error(design.minimum())).all()


@pytest.mark.parametrize("columns", [3, 9], ids=["square factor", "wide"])
@pytest.mark.parametrize("penalty", [0.0, 0.1])
def test_columns_of_zeros_and_fewer_rows_than_columns(rng, columns, penalty):
    x, y, start = np.zeros((2, columns)), np.ones(2), rng.standard_normal(columns)
    x[:, :-1] = rng.standard_normal((2, columns - 1))
    design = factor(x, y, penalty)
    assert isinstance(design, WideDesign) == (columns == 9)
    assert design.rank == (2 if penalty == 0.0 else columns)
    h = x.T @ x + penalty * np.eye(columns)
    np.testing.assert_allclose(design.hessian(), h, atol=1e-14)
    # Of all minima the nearest: with λ = 0 the least-norm correction of the start.
    expected = start + np.linalg.pinv(h, rcond=1e-12) @ (x.T @ y - h @ start)
    np.testing.assert_allclose(design.minimum(nearest=start), expected, atol=1e-12)
    eigen = design.eigen()
    np.testing.assert_allclose((eigen.vectors * eigen.values) @ eigen.vectors.T, h, atol=1e-13)
    assert np.count_nonzero(eigen.values == 0.0) == columns - design.rank
