"""Independent reference for flows and control, in NumPy and SciPy only.

Written by another hand than the library, from the definitions in the notes; numbers like (0.12) are theirs.
Nothing here imports the package. One convention: eps = 1 trained with, eps = 0 removed, and

    R_eps = c [sum_{i not in D} l_i + sum_{j in D} eps_j l_j] + l2/2 |theta|^2,  l = 1/2 (f - y)^2,

with c = 1 (reduction "sum") or c = 1/n ("mean").
"""

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.optimize import LinearConstraint, least_squares, minimize

Array = np.ndarray
RTOL, ATOL = 1e-12, 1e-13  # near the smallest rtol that solve_ivp accepts (100 machine epsilons)


class System(NamedTuple):
    """Flow theta' = -(H theta - b) - sum_j eps_j x_j (x_j.theta - y_j); c and l2 are absorbed (rows carry sqrt(c))."""

    H: Array  # (d, d) Hessian without the deleted points
    b: Array  # (d,)
    x: Array  # (m, d) deleted rows times sqrt(c)
    y: Array  # (m,) deleted targets times sqrt(c)

    @property
    def target(self) -> Array:
        """Leave-out optimum H^+ b (least norm where H is singular)."""
        return np.linalg.pinv(self.H, hermitian=True) @ self.b

    @property
    def r(self) -> Array:
        """Residual target r_j = y_j - x_j.target, so that e_j = x_j.delta - r_j."""
        return self.y - self.x @ self.target

    def at(self, eps: float | Array) -> tuple[Array, Array]:
        """H_eps and b_eps."""
        w = np.broadcast_to(eps, self.y.shape)
        return self.H + (self.x.T * w) @ self.x, self.b + self.x.T @ (w * self.y)


class BangBang(NamedTuple):
    """A schedule: levels[k] on the k-th interval between s, the switch times and T."""

    cost: float
    switch_ts: Array
    levels: tuple[float, ...]


def data_weights(n: int, delete: Sequence[int], eps: float | Array, reduction: str = "sum") -> Array:
    """Weight of each row in the risk: c, times eps_j for the deleted ones."""
    w = np.ones(n)
    w[list(delete)] = eps
    return w / {"sum": 1, "mean": n}[reduction]


def weighted_system(
    X: Array, y: Array, delete: Sequence[int], eps: float | Array, l2: float = 0.0, reduction: str = "sum"
) -> tuple[Array, Array]:
    """H_eps = c sum_i w_i x_i x_i^T + l2 I and b_eps = c sum_i w_i x_i y_i, summed row by row."""
    H, b = l2 * np.eye(X.shape[1]), np.zeros(X.shape[1])
    for wi, xi, yi in zip(data_weights(len(y), delete, eps, reduction), X, y, strict=True):
        H += wi * np.outer(xi, xi)
        b += wi * xi * yi
    return H, b


def split_system(X: Array, y: Array, delete: Sequence[int], l2: float = 0.0, reduction: str = "sum") -> System:
    """The retained system and the deleted rows, both scaled by c."""
    root_c = np.sqrt({"sum": 1.0, "mean": 1.0 / len(y)}[reduction])
    index = list(delete)
    return System(*weighted_system(X, y, delete, 0.0, l2, reduction), root_c * X[index], root_c * y[index])


def rows_of(H: Array, b: Array) -> tuple[Array, Array]:
    """Rows and targets with X^T X = H and X^T y = b (Cholesky), to state a problem by its Hessian."""
    L = np.linalg.cholesky(H)
    return L.T, np.linalg.solve(L, b)


def linear_flow(H: Array, b: Array, theta0: Array, t: float) -> Array:
    """Solution theta(t) of theta' = -H theta + b: expm of [[-H, b], [0, 0]] t, also for singular H."""
    d = len(b)
    A = np.zeros((d + 1, d + 1))
    A[:d, :d], A[:d, d] = -H, b
    return (expm(A * t) @ np.append(theta0, 1.0))[:d]


def limit(H: Array, b: Array, theta0: Array) -> Array:
    """Limit theta(infinity) = H^+ b + (I - H^+ H) theta0 (Lemma 0.0.1)."""
    pinv = np.linalg.pinv(H, hermitian=True)
    return pinv @ b + theta0 - pinv @ (H @ theta0)


def leave_out_optimum(X: Array, y: Array, delete: Sequence[int], l2: float = 0.0, reduction: str = "sum") -> Array:
    """Leave-out optimum argmin R_0 by least squares, the ridge as d more rows; least norm if not unique."""
    keep = np.setdiff1d(np.arange(len(y)), list(delete))
    ridge = np.sqrt(l2 * {"sum": 1, "mean": len(y)}[reduction]) * np.eye(X.shape[1])
    return np.linalg.lstsq(np.vstack([X[keep], ridge]), np.append(y[keep], np.zeros(len(ridge))), rcond=None)[0]


def propagate(system: System, theta: Array, ts: Sequence[float], levels: Sequence[float | Array]) -> Array:
    """Path at every time of ts, eps = levels[k] on [ts[k], ts[k+1]]: products of expm maps; shape (len(ts), d)."""
    path = [np.asarray(theta, float)]
    for a, b, eps in zip(ts[:-1], ts[1:], levels, strict=True):
        path.append(linear_flow(*system.at(eps), path[-1], b - a))
    return np.array(path)


def piecewise_flow(
    X: Array,
    y: Array,
    delete: Sequence[int],
    switch_ts: Sequence[float],
    levels: Sequence[float | Array],
    theta0: Array,
    T: float,
    l2: float = 0.0,
    reduction: str = "sum",
) -> Array:
    """State theta(T) from theta(0) = theta0 under a piecewise-constant weight."""
    return propagate(split_system(X, y, delete, l2, reduction), theta0, [0.0, *switch_ts, T], levels)[-1]


def ivp_flow(
    gradient: Callable[[Array, float | Array], Array],
    eps: Callable[[float], float | Array],
    theta0: Array,
    ts: Sequence[float],
    jumps: Sequence[float] = (),
    method: str = "DOP853",
) -> Array:
    """Flow theta' = -gradient(theta, eps(t)), any weight, at every ts (ts[0] is the start); restarted at jumps and ts.

    The weight is read strictly inside each piece, so it does not matter which side of a jump eps(jump) belongs to.
    """
    stops = np.unique(np.append(ts, [t for t in jumps if ts[0] < t < ts[-1]]))
    theta, path = np.asarray(theta0, float), {float(stops[0]): np.asarray(theta0, float)}
    for a, b in pairwise(stops):
        inside = (np.nextafter(a, b), np.nextafter(b, a))
        solution = solve_ivp(
            lambda t, z, inside=inside: -gradient(z, eps(float(np.clip(t, *inside)))),
            (a, b), theta, method=method, rtol=RTOL, atol=ATOL,
        )  # fmt: skip
        if not solution.success:
            raise RuntimeError(f"solve_ivp stopped on [{a}, {b}]: {solution.message}")
        theta = path[float(b)] = solution.y[:, -1]
    return np.array([path[float(t)] for t in ts])


def linear_gradient(system: System) -> Callable[[Array, float | Array], Array]:
    """Gradient of R_eps: H theta - b + sum_j eps_j x_j (x_j.theta - y_j), for ivp_flow."""
    return lambda theta, eps: system.H @ theta - system.b + system.x.T @ (eps * (system.x @ theta - system.y))


# --- control of the linear flow ---


def cost(theta: Array, target: Array) -> float:
    """1/2 |theta - target|^2 (0.12)."""
    return 0.5 * float((theta - target) @ (theta - target))


def costate(system: System, p_T: Array, ts: Sequence[float], levels: Sequence[float | Array]) -> Array:
    """Costate p' = H_u p, p(ts[-1]) = p_T, at every time of ts: p(a) = expm(-H_u (b - a)) p(b)."""
    path = [np.asarray(p_T, float)]
    for a, b, eps in reversed(list(zip(ts[:-1], ts[1:], levels, strict=True))):
        path.append(expm(-system.at(eps)[0] * (b - a)) @ path[-1])
    return np.array(path[::-1])


def switching(system: System, theta: Array, p: Array) -> Array:
    """S_j = -(p.x_j)(x_j.theta - y_j); eps_j is 1 where S_j < 0 and 0 where S_j > 0. Shape (m,)."""
    return -(system.x @ p) * (system.x @ theta - system.y)


def hamiltonian(system: System, theta: Array, p: Array, eps: float | Array) -> float:
    """p.theta', constant in time along an extremal."""
    H, b = system.at(eps)
    return float(p @ (b - H @ theta))


def step_cost(system: System, theta0: Array, tau: float, T: float) -> float:
    """Cost at T of 1_[0, tau]."""
    return cost(propagate(system, theta0, [0.0, tau, T], [1.0, 0.0])[-1], system.target)


def step_cost_derivative(system: System, theta0: Array, tau: float, T: float) -> float:
    """Derivative d cost / d tau = -(p(tau).x_j)(x_j.theta(tau) - y_j), summed over j (corrects Lemma 0.0.2)."""
    path = propagate(system, theta0, [0.0, tau, T], [1.0, 0.0])
    p = costate(system, path[-1] - system.target, [tau, T], [0.0])[0]
    return float(switching(system, path[1], p).sum())


def schedule_cost(system: System, theta_s: Array, ts: Sequence[float], levels: Sequence[float]) -> tuple[float, Array]:
    """Cost at ts[-1] and its derivative by the inner times: the jump (u_- - u_+) sum_j S_j of the Hamiltonian."""
    path = propagate(system, theta_s, ts, levels)
    p = costate(system, path[-1] - system.target, ts, levels)
    S = np.array([switching(system, path[k], p[k]).sum() for k in range(1, len(ts) - 1)])
    return cost(path[-1], system.target), (np.array(levels[:-1]) - np.array(levels[1:])) * S


def _grid_costs(
    system: System, theta_s: Array, length: float, levels: Sequence[float], grid: int, index: Array
) -> Array:
    """Costs of all schedules whose switch times are grid points; index (k, number) rises down each column."""
    d = len(theta_s)
    state = np.broadcast_to(np.append(theta_s, 1.0), (index.shape[1], d + 1))
    edges = np.vstack([np.zeros(index.shape[1], int), index, np.full(index.shape[1], grid)])
    for level, steps in zip(levels, np.diff(edges, axis=0), strict=True):
        H, b = system.at(level)
        A = np.zeros((d + 1, d + 1))
        A[:d, :d], A[:d, d] = -H, b
        powers = expm(A[None] * (np.arange(grid + 1) * length / grid)[:, None, None])
        state = np.einsum("nij,nj->ni", powers[steps], state)
    return 0.5 * ((state[:, :d] - system.target) ** 2).sum(axis=1)


def _polish(system: System, theta_s: Array, ts: Sequence[float], levels: tuple[float, ...]) -> BangBang:
    """Descend in the switch times (SLSQP), then solve 'derivative = 0' by least squares; the cheaper of the two."""
    s, T, z, n = ts[0], ts[-1], np.array(ts[1:-1]), len(ts) - 2
    scale = schedule_cost(system, theta_s, ts, levels)[0]
    if n == 0 or scale == 0.0:
        return BangBang(scale, z, levels)

    def scaled(v: Array) -> tuple[float, Array]:
        value, slope = schedule_cost(system, theta_s, [s, *np.clip(v, s, T), T], levels)
        return value / scale, slope / scale

    order = () if n == 1 else LinearConstraint(np.diff(np.eye(n), axis=0), 0.0, np.inf)
    options = {"ftol": 1e-15, "maxiter": 200}
    found = minimize(scaled, z, jac=True, method="SLSQP", bounds=[(s, T)] * n, constraints=order, options=options)
    z = np.sort(np.clip(found.x, s, T))
    if np.diff([s, *z, T]).min() > 0.0:  # all arcs open: an inner stationary point
        root = least_squares(lambda v: scaled(v)[1], z, bounds=(s, T), xtol=1e-15, ftol=1e-15, gtol=1e-15).x
        if np.all(np.diff(root) > 0.0) and scaled(root)[0] <= scaled(z)[0] * (1.0 + 1e-12):
            z = root
    return BangBang(schedule_cost(system, theta_s, [s, *z, T], levels)[0], z, levels)


def bang_bang_optimum(
    system: System,
    theta0: Array,
    s: float,
    T: float,
    max_switches: int = 3,
    grid: int = 24,
    starts: int = 3,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> BangBang:
    """Brute force over schedules with up to max_switches switches: all grid combinations, the best ones polished.

    Fewer switches win unless one more lowers the cost by more than 1e-9 relative (or 1e-30 absolute).
    """
    theta_s = linear_flow(*system.at(1.0), theta0, s)
    best: BangBang | None = None
    for n in range(max_switches + 1):
        chosen = list(combinations(range(1, grid), n))
        index = np.array(chosen, int).reshape(len(chosen), n).T
        for first in (0, 1):
            levels = tuple(float(bounds[(first + k) % 2]) for k in range(n + 1))
            costs = _grid_costs(system, theta_s, T - s, levels, grid, index)
            for column in np.argsort(costs)[: starts if n else 1]:
                z = s + index[:, column] * (T - s) / grid
                found = _polish(system, theta_s, [s, *z, T], levels)
                if best is None or found.cost < best.cost * (1.0 - 1e-9) - 1e-30:
                    best = found
    return best


def settled_sign(system: System, theta_s: Array, length: float, eps_max: float = 1.0, points: int = 400) -> int:
    """Sign of e = x.theta - y for all controls in [0, eps_max], or 0 when it is not settled (one deleted point).

    e keeps its sign under all admissible controls iff it does under u = eps_max; read on a grid of points.
    """
    H, b = system.at(eps_max)
    e = [float((system.x @ linear_flow(H, b, theta_s, t) - system.y)[0]) for t in np.linspace(0.0, length, points)]
    return int(np.sign(e[0])) if min(e) * max(e) > 0.0 else 0


def dual_bound(
    system: System,
    theta_s: Array,
    length: float,
    pi: Array,
    sigma: Sequence[int],
    bounds: tuple[float, float] = (0.0, 1.0),
) -> float:
    """D(pi) = -1/2 |pi|^2 + p(s).delta(s) + int sum_j alpha_j r_j p.x_j dt: a lower bound on the cost of every control.

    p(T) = pi, p' = H p + sum_j x_j alpha_j (p.x_j), alpha_j = bounds[1] where sigma_j p.x_j > 0, else bounds[0], and
    sigma_j is the settled sign of e_j. Sign changes of p.x_j are events; after one, the slope of p.x_j tells the side.
    """
    a, b = bounds
    sigma, r = np.asarray(sigma), system.r
    size = float(np.linalg.norm(pi))
    if size == 0.0:
        return 0.0
    elapsed, z = 0.0, np.append(pi / size, 0.0)  # the rule does not see the scale of p
    side = np.sign(system.x @ pi)
    for _ in range(1000):
        alpha = np.where(sigma * side > 0, b, a)

        def field(_t: float, z: Array, alpha: Array = alpha) -> Array:
            px = system.x @ z[:-1]
            return np.append(-(system.H @ z[:-1] + system.x.T @ (alpha * px)), (alpha * r) @ px)

        events = []
        for j, row in enumerate(system.x):

            def crossing(_t: float, z: Array, row: Array = row) -> float:
                return float(row @ z[:-1])

            crossing.terminal, crossing.direction = True, -side[j]
            events.append(crossing)
        solution = solve_ivp(field, (elapsed, length), z, method="DOP853", rtol=RTOL, atol=1e-15, events=events)
        elapsed, z = solution.t[-1], solution.y[:, -1]
        if solution.status == 0:
            return size * float(-0.5 * size + z[:-1] @ (theta_s - system.target) + z[-1])
        for j, hits in enumerate(solution.t_events):
            if len(hits):
                side[j] = np.sign(system.x[j] @ field(elapsed, z)[:-1])
    raise RuntimeError("the backward path changed sign 1000 times")


# --- linear decay and worked examples ---


def linear_decay_flow(system: System, theta_s: Array, s: float, t1: float) -> Array:
    """theta(t1) while eps falls linearly from 1 at s to 0 at t1, through the autonomous system in (theta, r).

    theta' = -(H + (1 - s q) xx^T) theta - q r xx^T theta + b + (1 - s q) x y + q r x y, r' = 1, r(s) = s,
    q = 1/(s - t1), which corrects (0.14).
    """
    q = 1.0 / (s - t1)
    H_s, b_s = system.at(1.0 - s * q)
    G, g = system.x.T @ system.x, system.x.T @ system.y

    def field(_t: float, z: Array) -> Array:
        theta, r = z[:-1], z[-1]
        return np.append(-H_s @ theta - q * r * (G @ theta) + b_s + q * r * g, 1.0)

    solution = solve_ivp(field, (s, t1), np.append(theta_s, s), method="DOP853", rtol=RTOL, atol=ATOL)
    return solution.y[:-1, -1]


def linear_decay_cost(system: System, theta0: Array, s: float, t1: float, T: float) -> float:
    """Cost at T of: 1 on [0, s], linear to 0 on [s, t1], 0 after."""
    theta = linear_decay_flow(system, linear_flow(*system.at(1.0), theta0, s), s, t1)
    return cost(linear_flow(system.H, system.b, theta, T - t1), system.target)


def exact_two_row_example(
    t: float, eps: float = 1.0, y: tuple[float, float] = (2.0, 1.0), theta0: float = 0.0
) -> float:
    """X = (1, 1)^T, j = 1: theta(t) = e^{-kt} theta0 + (1 - e^{-kt})(eps y1 + y2)/k, k = 1 + eps."""
    k = 1.0 + eps
    return float(np.exp(-k * t) * theta0 + (1.0 - np.exp(-k * t)) * (eps * y[0] + y[1]) / k)


def identity_step_cost(d: int, tau: float, T: float) -> float:
    """X = I, y = 1, theta0 = 0: 1/2 [(d - 1) e^{-2T} + (1 - e^{-tau})^2], increasing in tau."""
    return 0.5 * float((d - 1) * np.exp(-2.0 * T) + (1.0 - np.exp(-tau)) ** 2)
