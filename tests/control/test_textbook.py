"""The transcriptions on problems of others, whose optima are known.

Costs are simulated again by SciPy. None of the problems is a gradient flow; all are `AbstractSystem`s like it.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from epsflow.control.polish._polish import polish
from epsflow.control.polish._swept import INSERTIONS, SweptEngine
from epsflow.control.programs._transcription import transcribe
from epsflow.control.systems._descent import Descent
from epsflow.control.systems._rollout import FINE_AGREEMENT, choose_steps, swept
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
        return transcribe(system, start, window, NEVER, intervals=N, substeps=substeps).solve_from(guesses)
    durations = np.full(N, window.length / N)
    steps = choose_steps(system, jnp.asarray(start), durations, list(guesses.values()), window.unit)
    return Descent(swept(system, jnp.asarray(start), window.length, steps), window, NEVER).solve_from(guesses)


def polished(system, start, window, values):
    knots = np.linspace(0.0, window.length, N + 1)
    arcs = read_arcs(window.bounds, knots, values[:, None])
    pieces, begin = cut(arcs.joint.knots, arcs.joint.levels, N), jnp.asarray(start)
    steps = choose_steps(system, begin, pieces.durations, [pieces.levels], window.unit, FINE_AGREEMENT)
    return polish(SweptEngine(system, begin, window, most=N, steps=steps, deadline=NEVER), arcs, INSERTIONS)


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
    assert found.objective == pytest.approx(KNOWN[T], rel=1e-7)
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


class LotkaVolterra(AbstractSystem):
    """Fishing, from mintOC: ẋ₁ = x₁ − x₁x₂ − 0.4x₁u, ẋ₂ = −x₂ + x₁x₂ − 0.2x₂u, φ = ∫(x₁ − 1)² + (x₂ − 1)²."""

    dim = 3
    controls = 1

    def field(self, x, u):
        prey, predator = x[0] - x[0] * x[1] - 0.4 * x[0] * u[0], -x[1] + x[0] * x[1] - 0.2 * x[1] * u[0]
        return jnp.stack([prey, predator, (x[0] - 1.0) ** 2 + (x[1] - 1.0) ** 2])

    def terminal(self, x):
        return x[2]


class VanDerPol(AbstractSystem):
    """Van der Pol's oscillator, the variant of mintOC: ẋ = y, ẏ = u(1 − x²)y − x, φ = ∫x² + y²."""

    dim = 3
    controls = 1

    def field(self, x, u):
        return jnp.stack([x[1], u[0] * (1.0 - x[0] ** 2) * x[1] - x[0], x[0] ** 2 + x[1] ** 2])

    def terminal(self, x):
        return x[2]


class Turnpike(AbstractSystem):
    """ẋ = u, φ = ∫x² − ¼x(T): −¼ is the multiplier of x(2) = ½, so that the free end is there."""

    dim = 2
    controls = 1

    def field(self, x, u):
        return jnp.stack([u[0], x[0] ** 2])

    def terminal(self, x):
        return x[1] - 0.25 * x[0]


class Fuller(AbstractSystem):
    """ẋ₁ = x₂, ẋ₂ = u, φ = ∫x₁²."""

    dim = 3
    controls = 1

    def field(self, x, u):
        return jnp.stack([x[1], u[0], x[0] ** 2])

    def terminal(self, x):
        return x[2]


def best(system, start, window, guesses):
    """The cheapest of the programs from several guesses, and its polished arcs."""
    runs = propose("shooting", system, start, guesses, window)
    knots = np.linspace(0.0, window.length, N + 1)
    run = min(runs, key=lambda each: simulated(system, start, knots, np.ravel(each.values)))
    return run, polished(system, start, window, run.values)


@pytest.mark.slow
def test_lotka_volterra_fishing():
    """Bang, singular, bang. mintOC gives 1.34408, to as many digits; the singular arc has eight levels here."""
    start, window = np.array([0.5, 0.7, 0.0]), MeshWindow(12.0, (0.0, 1.0), 1.0)
    _, found = best(LotkaVolterra(), start, window, {"none": np.zeros((N, 1)), "half way": np.full((N, 1), 0.5)})
    cost = simulated(LotkaVolterra(), start, *found.arcs.knots_and_levels)
    assert found.arcs.components[0].free.any()
    # Six digits are published; a level for each eighth of an arc is off by second order in its length.
    assert cost == pytest.approx(1.34408, abs=2e-4)
    assert cost >= 1.34408 - 1e-5


@pytest.mark.slow
def test_van_der_pol():
    """mintOC gives 1.30167 on 60 intervals, which is beaten by what a first-order integrator of 6,000 steps errs by.

    By explicit and implicit Euler the control found here would cost 1.3008 and 1.2934. Shooting and collocation agree
    on it, and free of the mesh it costs less.
    """
    start, window = np.array([1.0, 0.0, 0.0]), MeshWindow(20.0, (-2.0, 0.75), 1.0)
    costs = []
    for substeps in (8, None):
        program = transcribe(VanDerPol(), start, window, NEVER, intervals=60, substeps=substeps)
        (run,) = program.solve_from({"low": np.full((60, 1), -2.0)})
        assert run.success
        costs.append(simulated(VanDerPol(), start, np.linspace(0.0, 20.0, 61), np.ravel(run.values)))
    assert 1.30167235 * (1.0 - 5e-3) < costs[0] < 1.30167235
    # Collocation of order 5 on intervals of a third, and a cost that is stationary in the control.
    assert costs[1] == pytest.approx(costs[0], rel=1e-5)
    _, found = best(VanDerPol(), start, window, {"low": np.full((N, 1), -2.0)})
    assert simulated(VanDerPol(), start, *found.arcs.knots_and_levels) < costs[0]


def test_turnpike():
    """u = −1 until x = 0, 0 on the turnpike, +1 for the last half: ∫x² = 3/8."""
    start, window = np.array([1.0, 0.0]), MeshWindow(2.0, (-1.0, 1.0), 1.0)
    _, found = best(Turnpike(), start, window, {"none": np.zeros((N, 1))})
    (row,) = found.arcs.components
    assert row.free.tolist() == [False, True, False]
    # The cost is stationary: 1e-9 of it leave 3e-5 of times and levels.
    np.testing.assert_allclose(found.arcs.times, [1.0, 1.5], atol=1e-3)
    np.testing.assert_allclose(row.levels[1:-1], 0.0, atol=1e-2)
    cost = simulated(Turnpike(), start, *found.arcs.knots_and_levels)
    assert cost + 0.25 * 0.5 == pytest.approx(0.375, abs=1e-6)
    assert cost >= 0.25 - 1e-9


def fuller_cost():
    """∫x₁² from (1, 0) to the origin, and the first switch: on x₁ = −Cx₂|x₂|, C² = (√33 − 1)/24, for ever faster.

    After the first switch every arc is the one before, mirrored and scaled: times by r, lengths by r², costs by r⁵.
    """
    c = np.sqrt((np.sqrt(33.0) - 1.0) / 24.0)
    first = 1.0 / np.sqrt(0.5 + c)
    # From (c, −1) with u = 1 to (−c r², r): c − σ + σ²/2 = −c(σ − 1)², r = σ − 1.
    sigma = max(np.roots([0.5 + c, -(1.0 + 2.0 * c), 2.0 * c]).real)
    ratio = sigma - 1.0
    beginning, arc = np.poly1d([-0.5, 0.0, 1.0]), np.poly1d([0.5, -1.0, c])
    costs = (beginning**2).integ()(first), (arc**2).integ()(sigma) * first**5
    return costs[0] + costs[1] / (1.0 - ratio**5), first, first * (1.0 + sigma / (1.0 - ratio))


@pytest.mark.slow
def test_fuller_switches_ever_faster():
    """The origin is reached after infinitely many switches; what a mesh leaves of them costs next to nothing."""
    exact, switch, arrival = fuller_cost()
    start, window = np.array([1.0, 0.0, 0.0]), MeshWindow(3.0, (-1.0, 1.0), 1.0)
    assert arrival < window.length
    _, found = best(Fuller(), start, window, {"none": np.zeros((N, 1))})
    cost = simulated(Fuller(), start, *found.arcs.knots_and_levels)
    # A switch off by h = 0.06 costs its square times the curvature that is left there, r⁵ with r = 0.24.
    assert exact - 1e-9 <= cost <= exact * (1.0 + 1e-4)
    assert found.arcs.times[0] == pytest.approx(switch, abs=1e-2)
