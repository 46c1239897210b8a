"""The stacks agree with the routes that take one problem at a time, and with plain SciPy."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import epsflow as ef
from epsflow.control import LinearBatch, best_linear_decays, best_steps, certified_optima, linear_batch, rewound
from epsflow.control.linear._exponentials import Table, resolving_grids, sign_changes
from epsflow.control.polish._optimum import linear_optimum
from epsflow.control.stacks._families import decay_ends, single_switch_ends
from epsflow.studies import Specification, Study
from epsflow.studies._compute import run_rows, run_stack, statistics
from epsflow.studies._plan import plan
from epsflow.studies._problems import question


@pytest.fixture(scope="module")
def stack(small: Specification):
    asked = [question(small, row) for row in plan(small)[:12]]
    known = [statistics(small, row, one) for row, one in zip(plan(small), asked, strict=False)]
    parts = ("hessian", "moment", "rows", "targets", "theta0")
    stacked = (np.stack([getattr(one, name) for one in known]) for name in parts)
    return asked, linear_batch(*stacked, np.full(12, 1.0), np.full(12, 6.0))


def test_one_by_one_gives_the_same_rows(small: Specification):
    """Costs to 1e-9: both searches stop within 1e-7 of the range, where a cost is flat to 1e-12."""
    rows = plan(small)[:12]
    # Where the stack's own test certifies; the others take the same route in both.
    several = [outcome.row for outcome in run_stack(small, rows) if outcome.outputs["found_by"] == "stack"][:2]
    assert len(several) == 2
    for together, alone in zip(run_stack(small, several), run_rows(small, several), strict=True):
        assert (together.status, alone.status) == ("done", "done")
        assert together.outputs.keys() == alone.outputs.keys()
        for name in ("cost_baseline", "cost_Step", "cost_LinearDecay", "cost_optimum"):
            assert together.outputs[name] == pytest.approx(alone.outputs[name], rel=1e-9, abs=1e-18)
        assert [together.outputs[name] for name in ("kind", "switches")] == [
            alone.outputs[name] for name in ("kind", "switches")
        ]
        for name in ("tau_Step", "t1_LinearDecay"):
            # A minimum of relative curvature 1 is located to the square root of the rounding of its cost.
            assert together.outputs[name] == pytest.approx(alone.outputs[name], abs=1e-5)


def test_neighbours_in_a_stack_do_not_change_a_row(small: Specification):
    rows = plan(small)
    whole = {outcome.row.place: outcome.outputs for outcome in run_stack(small, rows[:12])}
    alone = {row.place: run_stack(small, [row])[0].outputs for row in rows[:12:5]}
    assert all(whole[place] == outputs for place, outputs in alone.items())


def test_a_decay_is_the_one_that_an_integrator_finds(stack):
    asked, batch = stack
    fraction, k = 0.6, 3
    x, y = asked[k].x, asked[k].y
    t1 = 1.0 + fraction * 5.0

    def velocity(t: float, theta: np.ndarray) -> np.ndarray:
        eps = 1.0 if t <= 1.0 else max(0.0, (t1 - t) / (t1 - 1.0))
        weights = np.ones(len(y)) / len(y)
        weights[0] *= eps
        return -x.T @ (weights * (x @ theta - y))

    theta = np.zeros(2)
    for a, b in ((0.0, 1.0), (1.0, t1), (t1, 6.0)):
        theta = solve_ivp(velocity, (a, b), theta, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    end = decay_ends(batch, np.full((12, 1), fraction), 8)[k, 0]
    # DOP853 at rtol 1e-12 over three pieces.
    assert batch.target[k] + batch.basis[k] @ end == pytest.approx(theta, abs=1e-10)


def test_a_zero_fraction_is_the_step_at_s(stack):
    _, batch = stack
    decays = decay_ends(batch, np.zeros((12, 1)), 4)[:, 0]
    assert decays == pytest.approx(np.exp(-batch.rates * 5.0) * batch.start, rel=1e-14)


def test_no_family_is_cheaper_than_the_certified_bound(stack):
    _, batch = stack
    steps, decays, optimum = best_steps(batch), best_linear_decays(batch), certified_optima(batch)
    assert decays.resolved.all()
    for best in (steps, decays):
        # Both numbers are exact up to the rounding they state.
        assert (best.costs >= optimum.lower_bounds - best.errors - optimum.errors).all()
    assert (optimum.costs >= optimum.lower_bounds).all()


def test_the_batched_certificate_is_that_of_optimal_schedule(stack):
    asked, batch = stack
    batched = certified_optima(batch)
    polished = [linear_optimum(batch.task(k)) for k in range(12)]
    assert "stack" in batched.methods
    # Both gaps are at most 1e-6 of the cost.
    assert batched.costs == pytest.approx([one.extremal.cost for one in polished], rel=1e-9, abs=1e-18)
    assert batched.lower_bounds == pytest.approx([one.lower_bound for one in polished], rel=2e-6, abs=1e-18)
    assert set(batched.scopes) == {ef.Scope.GLOBAL}
    k = batched.methods.index("stack")
    problem = ef.linear_regression(ef.Dataset(asked[k].x, asked[k].y), [0], reduction="mean")
    best = ef.optimal_schedule(problem, np.zeros(2), s=1.0, T=6.0)
    assert best.scope is ef.Scope.GLOBAL
    assert batched.costs[k] == pytest.approx(best.cost, rel=1e-9)
    assert batched.lower_bounds[k] == pytest.approx(best.lower_bound, rel=2e-6)


def ten_parameters(seeds: list[int]) -> LinearBatch:
    parts = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((40, 10)) * np.sqrt(np.geomspace(1.0, 0.1, 10))
        y = x @ rng.standard_normal(10) + 0.5 * rng.standard_normal(40)
        kept, r = (x[1:].T @ x[1:] / 40, x[1:].T @ y[1:] / 40), np.sqrt(1.0 / 40)
        parts.append((*kept, r * x[:1], r * y[:1], np.zeros(10)))
    return linear_batch(*map(np.stack, zip(*parts, strict=True)), np.full(len(seeds), 2.0), np.full(len(seeds), 8.0))


def test_mixed_signs_and_several_switches_side_by_side():
    """Two of mixed sign, one with two switches, one with both, and one of no kind: as when each is searched alone."""
    batch = ten_parameters([3, 6, 32, 52, 0])
    together = certified_optima(batch, nodes=100)
    assert together.methods == ("one by one",) * 4 + ("stack",)
    assert together.switches.tolist()[:4] == [1, 1, 2, 2]
    assert set(together.scopes) == {ef.Scope.GLOBAL}
    alone = [linear_optimum(batch.task(k)) for k in range(5)]
    assert together.costs == pytest.approx([one.extremal.cost for one in alone], rel=1e-9)
    assert together.switches.tolist() == [len(one.polished.arcs.times) for one in alone]
    # Gaps of 1e-6 at most, on both sides.
    assert together.lower_bounds == pytest.approx([one.lower_bound for one in alone], rel=1e-6)
    for k in range(5):
        one = certified_optima(batch.take(np.array([k])), nodes=100)
        assert one.costs[0] == together.costs[k]
        # Tables of other widths are multiplied in another order.
        assert one.lower_bounds[0] == pytest.approx(together.lower_bounds[k], rel=1e-12)


def test_one_weight_for_two_points_is_certified_in_a_stack():
    """As for one problem, by a quadratic function of the state; for two points of different sign."""
    rng, parts = np.random.default_rng(2), []
    for push in (3.0, -3.0):
        x = rng.standard_normal((20, 2))
        y, r = x @ [1.0, -1.0] + np.r_[push, -push, 0.3 * rng.standard_normal(18)], np.sqrt(1.0 / 20)
        parts.append((x[2:].T @ x[2:] / 20, x[2:].T @ y[2:] / 20, r * x[:2], r * y[:2], np.zeros(2)))
    batch = linear_batch(*map(np.stack, zip(*parts, strict=True)), np.full(2, 0.5), np.full(2, 3.0))
    found = certified_optima(batch)
    assert set(found.scopes) == {ef.Scope.GLOBAL}
    # Each grid point is a schedule; the optimum is no dearer than the best of them, its bound no higher.
    times = np.linspace(0.0, 2.5, 26)
    for late in (False, True):
        tried = [single_switch_ends(batch, np.full(2, time), np.full(2, late)) for time in times]
        least = 0.5 * np.square(tried).sum(axis=2).min(axis=0)
        assert (found.lower_bounds <= least).all()
        assert (found.costs <= least + found.errors).all()
    assert (found.lower_bounds >= (1.0 - 1e-6) * found.costs).all()


def test_bounds_lie_below_all_schedules_with_two_switches(stack):
    """By matrix exponentials in the original coordinates, with both switches on a grid."""
    asked, batch = stack
    bounds, grid = certified_optima(batch).lower_bounds, 21
    for problem, bound, target in zip(asked, bounds, batch.target, strict=True):
        x, y, n = problem.x, problem.y, len(problem.y)
        steps = []
        for eps in (0.0, 1.0):
            weights = np.r_[eps, np.ones(n - 1)] / n
            generator = np.zeros((3, 3))
            generator[:2] = np.column_stack([-(x.T * weights) @ x, (x.T * weights) @ y])
            steps.append(expm(generator * 5.0 * np.arange(grid)[:, None, None] / (grid - 1)))
            trained = expm(generator) @ np.r_[problem.theta0, 1.0]  # the last one is ε = 1, until s
        i, j = np.array([(i, j) for i in range(grid) for j in range(grid - i)]).T
        # 1 or 0 for i steps, the other for j, and the first again.
        ends = [(steps[a][grid - 1 - i - j] @ steps[1 - a][j] @ steps[a][i] @ trained)[:, :2] for a in (0, 1)]
        best = 0.5 * np.square(np.concatenate(ends) - target).sum(axis=1).min()
        assert bound <= best * (1.0 + 1e-9)


@pytest.mark.parametrize(("T", "status"), [(0.56, ef.Status.EXACT), (0.54, ef.Status.BANG_BANG)])
def test_exact_unlearning_in_a_stack(T, status):
    """X = (1, 1)ᵀ, y = (2, 1), θ(0) = 0: possible from T = ½ log 3 = 0.5493 on."""
    one = np.ones((1, 1, 1)), np.ones((1, 1)), np.ones((1, 1, 1)), np.full((1, 1), 2.0), np.zeros((1, 1))
    found = certified_optima(linear_batch(*one, np.zeros(1), np.array([T])))
    assert found.statuses == (status,)
    assert found.scopes == (ef.Scope.GLOBAL,)
    if status is ef.Status.EXACT:
        assert found.costs[0] <= found.errors[0]


def test_exact_unlearning_in_the_plane():
    """From a start that "0 for 0.3, then 1 for 0.4" takes to the target, and from another one, which needs longer."""
    h, x, r = np.diag([1.0, 0.4]), np.array([[1.0, -0.8]]), np.array([1.5])
    generator = np.zeros((2, 3, 3))
    for eps in (0, 1):
        generator[eps, :2] = np.column_stack([-(h + eps * x.T @ x), eps * (x.T @ r)])
    start = (expm(-0.3 * generator[0]) @ expm(-0.4 * generator[1]) @ np.array([0.0, 0.0, 1.0]))[:2]
    parts = (np.stack([h, h]), np.zeros((2, 2)), np.stack([x, x]), np.stack([r, r]), np.stack([start, -start]))
    found = certified_optima(linear_batch(*parts, np.zeros(2), np.ones(2)))
    assert found.statuses == (ef.Status.EXACT, ef.Status.BANG_BANG)
    assert found.switches[0] == 2
    assert found.costs[0] <= found.errors[0]


def test_rewinding_everything_is_retraining(stack):
    """K = T is the flow without the point from θ(0) on; K = 0 is no unlearning, for both."""
    _, batch = stack
    back, onwards = rewound(batch, np.array([0.0, 2.0, 6.0]))
    retrained = np.linalg.norm(np.exp(-batch.rates * 6.0) * batch.origin, axis=1)
    assert back[:, -1] == pytest.approx(retrained, rel=1e-13)
    assert back[:, 0] == pytest.approx(onwards[:, 0], rel=1e-14)


def test_rewind_rows_one_by_one(rewinds: Study):
    rows = rewinds.plan()[:2]
    specification = rewinds.specification
    for together, alone in zip(run_stack(specification, rows), run_rows(specification, rows), strict=True):
        for name in ("rewound", "descended"):
            assert together.arrays[name] == pytest.approx(alone.arrays[name], rel=1e-11)


def first_changes(coefficients, rates):
    table = Table.of(rates, resolving_grids(rates, np.full(3, 5.0), 97))
    return sign_changes(table, coefficients[:, None, :], np.ones((3, 1), dtype=int), first=True)


def test_the_first_zero_of_sums_of_exponentials():
    """e^{−t} − e^{−2}: at 2. 2e^{−2t} − e^{−t}: at ln 2. One that stays positive: never."""
    coefficients = np.array([[1.0, -np.exp(-2.0)], [-1.0, 2.0], [1.0, 0.5]])
    rates = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 0.0]])
    found = first_changes(coefficients, rates)
    assert found.first[:, 0] == pytest.approx([2.0, np.log(2.0), np.inf], rel=1e-14)
    assert found.clear.all()


def test_a_dip_between_two_points_of_the_grid():
    """(e^{−t} − ½)² + c: above zero, through it at e^{−t} = ½ + √−c, and down to it, which rounding cannot tell."""
    coefficients = np.array([[1.0, -1.0, 0.25 + 1e-9], [1.0, -1.0, 0.25 - 1e-9], [1.0, -1.0, 0.25]])
    rates = np.broadcast_to([2.0, 1.0, 0.0], (3, 3))
    found = first_changes(coefficients, rates)
    assert found.clear[:, 0].tolist() == [True, True, False]
    assert np.isinf(found.first[0, 0])
    # Where the slope is 3e-5, the rounding of three terms of size 1 moves a zero by 1e-11.
    assert found.first[1, 0] == pytest.approx(-np.log(0.5 + np.sqrt(1e-9)), abs=1e-10)


def test_bad_stacks_are_refused():
    one = np.eye(2)[None], np.zeros((1, 2)), np.ones((1, 1, 2)), np.ones((1, 1)), np.zeros((1, 2))
    with pytest.raises(ef.InputError, match="every window needs"):
        linear_batch(*one, np.array([2.0]), np.array([1.0]))
    with pytest.raises(ef.InputError, match="NaN or infinity"):
        linear_batch(np.full((1, 2, 2), np.nan), *one[1:], np.array([0.0]), np.array([1.0]))
    singular = linear_batch(np.ones((1, 2, 2)), *one[1:], np.array([0.0]), np.array([1.0]))
    assert not singular.determined[0]
