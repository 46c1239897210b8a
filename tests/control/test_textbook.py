"""The transcriptions on problems of others, whose optima are known: catalyst mixing and the double integrator.

Costs are simulated again by SciPy. Neither problem is a gradient flow; both are `AbstractSystem`s like it.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from epsflow.control.polish._polish import polish
from epsflow.control.polish._swept import INSERTIONS, SweptEngine
from epsflow.control.programs._transcription import Transcription
from epsflow.control.systems._descent import Descent
from epsflow.control.systems._rollout import FINE_AGREEMENT, choose_steps
from epsflow.control.systems._system import AbstractSystem
from epsflow.control.terms._deadline import Deadline
from epsflow.control.terms._pieces import cut
from epsflow.control.terms._reading import read_arcs
from epsflow.control.terms._window import MeshWindow

N, NEVER = 50, Deadline(None)
KNOWN = {1.0: -0.0480556858608775, 4.0: -0.191814356325161, 12.0: -0.477712020050041}


class CatalystMixing(AbstractSystem):
    """ẋ₁ = u(10x₂ − x₁), ẋ₂ = −ẋ₁ − (1 − u)x₂, φ = x₁ + x₂ − 1."""

    dim = 2
    controls = 1

    def field(self, x, u):
        first = u[0] * (10.0 * x[1] - x[0])
        return jnp.stack([first, -first - (1.0 - u[0]) * x[1]])

    def terminal(self, x):
        return x[0] + x[1] - 1.0


class DoubleIntegrator(AbstractSystem):
    """ẋ₁ = x₂, ẋ₂ = u, φ = ½|x − (1, 0)|²."""

    dim = 2
    controls = 1

    def field(self, x, u):
        return jnp.stack([x[1], u[0]])

    def terminal(self, x):
        return 0.5 * jnp.sum((x - jnp.array([1.0, 0.0])) ** 2)


def propose(method, system, start, guesses, window):
    if method != "adjoint":
        substeps = 2 if method == "shooting" else None
        return Transcription(system, start, window, NEVER, intervals=N, substeps=substeps).solve_from(guesses)
    durations = np.full(N, window.length / N)
    steps = choose_steps(system, jnp.asarray(start), durations, list(guesses.values()), window.unit)
    return Descent(system, jnp.asarray(start), window, NEVER, steps=steps).solve_from(guesses)


def polished(system, start, window, values):
    knots = np.linspace(0.0, window.length, N + 1)
    arcs = read_arcs(window.bounds, knots, values[:, None])
    pieces, begin = cut(arcs.joint.knots, arcs.joint.levels, N), jnp.asarray(start)
    steps = choose_steps(system, begin, pieces.durations, [pieces.levels], window.unit, FINE_AGREEMENT)
    fixed = {"length": window.length, "unit": window.unit, "most": N, "steps": steps, "deadline": NEVER}
    return polish(SweptEngine(system, begin, **fixed), arcs, INSERTIONS)


def simulated(system, start, knots, levels):
    """φ(x(T)) by SciPy: Dormand–Prince of order 8, arc by arc."""
    state = np.asarray(start)
    for begin, end, u in zip(knots[:-1], knots[1:], levels[:, None], strict=True):
        found = solve_ivp(lambda _, x, u=u: system.field(x, u), (begin, end), state, "DOP853", rtol=1e-11, atol=1e-13)
        state = found.y[:, -1]
    return float(system.terminal(jnp.asarray(state)))


@pytest.mark.parametrize("method", ["shooting", "collocation", "adjoint"])
@pytest.mark.parametrize("T", KNOWN)
def test_catalyst_mixing(method, T):
    """Bang, singular, bang. The switches are those of steps that are exact to some 1e-8, and the cost is stationary."""
    start, window = np.array([1.0, 0.0]), MeshWindow(T, (0.0, 1.0), 0.1)
    (run,) = propose(method, CatalystMixing(), start, {"half way": np.full((N, 1), 0.5)}, window)
    assert run.success
    found = polished(CatalystMixing(), start, window, run.values)
    arcs = found.arcs
    # The structure and the switches of T = 1, which do not depend on T but for where it ends.
    (row,) = arcs.components
    assert row.free.tolist() == [False, True, False]
    # The cost is stationary, so the switches are known to the root of its error: 1e-9 relative gives 3e-6 at best.
    np.testing.assert_allclose(arcs.times, [0.136299034594555, T - 1.0 + 0.725230107591655], atol=1e-5)
    np.testing.assert_allclose(row.levels[1:-1], 0.227142082708498, atol=1e-4)
    assert simulated(CatalystMixing(), start, *arcs.knots_and_levels) == pytest.approx(KNOWN[T], rel=3e-9)
    # Its own cost is that of steps chosen for the arcs it started from: it may be off by more.
    assert found.cost == pytest.approx(KNOWN[T], rel=1e-7)
    assert found.second_order.least_curvature > 0.0


def least_distance(T):
    """How near (1, 0) can be come to in time T, from rest at 0 with |u| ≤ 1."""
    start, window = np.zeros(2), MeshWindow(T, (-1.0, 1.0), 0.01)
    (run,) = propose("shooting", DoubleIntegrator(), start, {"none": np.zeros((N, 1))}, window)
    arcs = polished(DoubleIntegrator(), start, window, run.values).arcs
    assert arcs.components[0].levels.tolist() == [1.0, -1.0]
    return np.sqrt(2.0 * simulated(DoubleIntegrator(), start, *arcs.knots_and_levels))


def test_double_integrator_needs_time_two():
    """The least distance falls to zero at T = 2, with a slope, so that its square root continues it from below.

    Where it is small the cost, its square, has half its digits: the zero is extrapolated from distances near 1e-2.
    """
    ts = np.array([1.95, 1.97, 1.99])
    quadratic = np.polyfit(ts, [least_distance(T) for T in ts], 2)
    # The third difference of a function with derivatives of order one, over 0.05³.
    assert brentq(lambda T: np.polyval(quadratic, T), 1.9, 2.1) == pytest.approx(2.0, abs=1e-5)
