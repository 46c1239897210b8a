"""The risk of linear regression is NumPy for numbers, and the same function inside JAX's transformations."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from epsflow.problem import Dataset, linear_regression

THETA, EPS = np.array([0.3, -1.0, 2.0]), np.array([0.4, 0.9])


def problem(seed: int):
    rng = np.random.default_rng(seed)
    return linear_regression(Dataset(rng.standard_normal((8, 3)), rng.standard_normal(8)), [seed, seed + 3], l2=0.1)


QUESTIONS = {
    "value": lambda risk, theta, eps: risk.value(theta, eps),
    "gradient": lambda risk, theta, eps: risk.gradient(theta, eps),
    "Hessian": lambda risk, theta, eps: risk.hessian(theta, eps),
    "product": lambda risk, theta, eps: risk.hvp(theta, theta, eps),
    "points": lambda risk, theta, eps: risk.deleted_gradients(theta),
    "optimum": lambda risk, theta, eps: risk.retained.pinv(risk.b_retained) + risk.retained.kernel_projection(theta),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_answer_is_the_same_in_both(name):
    risk, ask = problem(1).risk, QUESTIONS[name]
    expected = ask(risk, THETA, EPS)
    assert not isinstance(expected, jax.Array)
    traced = eqx.filter_jit(ask)(risk, THETA, EPS)
    assert isinstance(traced, jax.Array)
    # Sums of eight products of numbers of order one, in another order.
    np.testing.assert_allclose(traced, expected, rtol=1e-13, atol=1e-14)


def test_its_derivatives_are_those_of_jax():
    risk = problem(1).risk
    np.testing.assert_allclose(jax.grad(risk.value)(jnp.asarray(THETA), EPS), risk.gradient(THETA, EPS), rtol=1e-13)
    jacobian = jax.jacfwd(lambda theta: risk.gradient(theta, EPS))(jnp.asarray(THETA))
    np.testing.assert_allclose(jacobian, risk.hessian(THETA, EPS), rtol=1e-13)


def test_weights_can_be_mapped_over():
    risk, many = problem(1).risk, np.array([[0.0, 1.0], [0.5, 0.25]])
    mapped = jax.vmap(lambda eps: risk.gradient(jnp.asarray(THETA), eps))(many)
    np.testing.assert_allclose(mapped, [risk.gradient(THETA, eps) for eps in many], rtol=1e-13)


def test_another_problem_of_the_same_shape_is_not_traced_again():
    traces = []

    @eqx.filter_jit
    def gradient(risk, theta):
        traces.append(1)
        return risk.gradient(theta, 1.0)

    for seed in (1, 2, 3):
        one = problem(seed)
        np.testing.assert_allclose(gradient(one.risk, THETA), one.gradient(THETA), rtol=1e-13)
    assert len(traces) == 1
