"""Linear regression on a mesh of panels, under any weight that is smooth inside each of them.

In the eigenbasis of H_{-D}, with c absorbed (x_j ← √c Qᵀx_j), δ = Qᵀ(θ − target) and e_j = x_jᵀδ − r_j, the flow is

    δ̇ = −Λδ + f − Σ_j x_j w_j,   w_j = ε_j(t) e_j(t).

On a panel [a, a + h] the force w is a polynomial of degree q − 1, and δ follows from it exactly, whatever λh is:

    δ(a + ch) = e^{−zc}δ(a) + h ∫₀ᶜ e^{−z(c−σ)} (f − Σ_j x_j w_j(σ)) dσ,   z = λh,

so that only a small system is to be solved for w at the q Gauss–Legendre nodes (collocation of a Volterra equation):
w = ε·(Xδ − r) there. Its matrix needs the panel's length alone, and serves all members of a family that share it.

δ is then the exact flow of a problem whose force differs by the defect g = w − ε·(Xδ − r), which is zero at the nodes.
Its error η obeys η̇ = −H_ε η − Xᵀg, so that over a panel without negative weights, where H_ε ⪰ μ ≥ 0,

    ‖η(a + h)‖ ≤ e^{−μh}‖η(a)‖ + ∫‖Xᵀg‖ dt   and   ‖η(a + h)‖² ≤ e^{−2μh}‖η(a)‖² + ∫ Σ_j g_j²/(2ε_j) dt;

the second from d‖η‖²/dt = −2ηᵀΛη − 2Σ_j (ε_j u_j² + g_j u_j), u = Xη. It is the sharper one of stiff points, where the
first would count every rounding for as long as the panel lasts. Both integrals are taken by Gauss's rule on the q + 1
nodes between those where the defect is zero.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

MARGINS = (8, 20, 40)
"""Moments beyond those wanted that are carried where z ≤ 1, q and 4q, so that cutting the recurrence there is not seen:
what is cut decays by z/4q a moment at first, and by 0.6 at worst."""
TABLE = 2_000_000
"""Numbers in the tables of the panels that are prepared together."""


class LinearSystem(NamedTuple):
    """The controlled flow of linear regression in the eigenbasis of H_{-D}; leading axes are for a stack of them.

    Attributes:
        rates: Λ ≥ 0, shape (*lead, d).
        rows: x_j, shape (*lead, m, d).
        residuals: r_j, shape (*lead, m).
        drift: f, shape (*lead, d).
    """

    rates: Float[np.ndarray, "*lead d"]
    rows: Float[np.ndarray, "*lead m d"]
    residuals: Float[np.ndarray, "*lead m"]
    drift: Float[np.ndarray, "*lead d"]


class Rule(NamedTuple):
    """Gauss–Legendre collocation with q nodes on [0, 1].

    Attributes:
        nodes: shape (q,).
        checks, weights: the q + 1 nodes between and around them where the defect is looked at, and their weights.
        transform: from values at the nodes to Legendre coefficients, shape (q, q).
        between: from values at the nodes to values at the checks, shape (q, q + 1).
    """

    nodes: Float[np.ndarray, " q"]
    checks: Float[np.ndarray, " c"]
    weights: Float[np.ndarray, " c"]
    transform: Float[np.ndarray, "q q"]
    between: Float[np.ndarray, "q c"]


@lru_cache(maxsize=8)
def rule(order: int) -> Rule:
    """The rule with `order` nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    checks, lengths = np.polynomial.legendre.leggauss(order + 1)
    degrees = np.arange(order)
    transform = np.polynomial.legendre.legvander(nodes, order - 1) * weights[:, None] * (degrees + 0.5)
    between = transform @ np.polynomial.legendre.legvander(checks, order - 1).T
    return Rule(0.5 + 0.5 * nodes, 0.5 + 0.5 * checks, 0.5 * lengths, transform, between)


def moments(
    z: Float[np.ndarray, "*shape"], points: Float[np.ndarray, "*lead c"], order: int
) -> Float[np.ndarray, "*shape c q"]:
    """J_l(c) = ∫₀ᶜ e^{−z(c−σ)} P_l(2σ−1) dσ for l < q, to rounding for every z ≥ 0.

    P'_{l+1} − P'_{l−1} = (2l+1)P_l and an integration by parts give, with x = 2c − 1,

        z J_{l+1} + (4l+2) J_l − z J_{l−1} = P_{l+1}(x) − P_{l−1}(x),   J_0 = (1 − e^{−zc})/z.

    J_l is the solution that does not grow where 4l + 2 > z: there the recurrence is solved as a tridiagonal system
    (Olver); where z is larger than all of them, it is stable as it stands.

    Args:
        z: λh.
        points: c in [0, 1], the same for all z, or with leading axes that broadcast against those of z.
        order: q.
    """
    shape, count = np.shape(z), points.shape[-1]
    if points.ndim > 1:
        points = np.broadcast_to(points, (*shape, count)).reshape(-1, count)
    flat = np.ravel(z)
    values = np.moveaxis(np.polynomial.legendre.legvander(2.0 * points - 1.0, order + MARGINS[-1] + 1), -1, 0)
    sides = values[2:] - values[:-2]
    result = np.empty((order, len(flat), count))
    band = np.searchsorted([1.0, order, 4.0 * order], flat)
    for number in np.unique(band):
        part = band == number
        kept = sides[: order + MARGINS[number]] if number < len(MARGINS) else sides
        chosen = result if part.all() else np.empty((order, np.count_nonzero(part), count))
        at, edges = (points, kept) if points.ndim == 1 else (points[part], kept[:, part])
        (_decaying if number < len(MARGINS) else _recurred)(flat[part], at, edges, chosen)
        if chosen is not result:
            result[:, part] = chosen
    return np.moveaxis(result, 0, -1).reshape(*shape, count, order)


def _decaying(z: np.ndarray, points: np.ndarray, sides: np.ndarray, result: np.ndarray) -> None:
    order, column = len(result), z[:, None]
    reach = column * points
    result[0] = np.where(reach > 0.0, -np.expm1(-reach) / np.where(column > 0.0, column, 1.0), points)
    above, rows = np.zeros_like(column), np.empty((len(sides) + 1, *reach.shape))
    rows[0], factors = result[0], []
    for degree, side in enumerate(sides, 1):
        inverse = 1.0 / (4.0 * degree + 2.0 + column * above)
        row = np.multiply(rows[degree - 1], column, out=rows[degree])
        row += side
        row *= inverse
        above = column * inverse
        factors.append(above)
    for degree in range(len(sides) - 1, 0, -1):
        rows[degree] -= factors[degree - 1] * rows[degree + 1]
    result[1:] = rows[1:order]


def _recurred(z: np.ndarray, points: np.ndarray, sides: np.ndarray, result: np.ndarray) -> None:
    column = z[:, None]
    result[0] = -np.expm1(-column * points) / column
    result[1] = (2.0 * points - (column + 2.0) * result[0]) / column
    for degree in range(1, len(result) - 1):
        result[degree + 1] = result[degree - 1] + (sides[degree - 1] - (4 * degree + 2) * result[degree]) / column


class Panels(NamedTuple):
    """What the panels of a mesh do, whatever the weight; leading axes as those of the mesh.

    Attributes:
        lengths: h, shape (*lead, n).
        fade: e^{−zc} at the nodes, the checks and the end, shape (*lead, n, d, p).
        drift: what f alone adds there, shape (*lead, n, d, p).
        coupling: from w at the nodes to −Xδ at the nodes and checks, shape (*lead, n, q·m, (p − 1)·m).
        push: from w at the nodes to −δ at the end, shape (*lead, n, q·m, d).
    """

    lengths: np.ndarray
    fade: np.ndarray
    drift: np.ndarray
    coupling: np.ndarray
    push: np.ndarray


def panels(system: LinearSystem, lengths: Float[np.ndarray, "*lead n"], order: int) -> Panels:
    """Prepare panels of the given lengths.

    Args:
        system: its leading axes must broadcast against those of `lengths`.
        lengths: h of one panel after the other.
        order: q.
    """
    given = rule(order)
    points = np.concatenate([given.nodes, given.checks, [1.0]])
    rows = system.rows[..., None, :, :]
    z = system.rates[..., None, :] * lengths[..., None]
    legendre = moments(z, points, order)
    scaled = lengths[..., None, None]
    fade = np.exp(-z[..., None] * points)
    drift = scaled * legendre[..., 0] * system.drift[..., None, :, None]
    m, d = system.rows.shape[-2:]
    shape = z.shape[:-1]
    legendre = legendre @ given.transform.T  # now from values at the nodes
    # Σ_k x_ik x_jk h J(z_k), as one matrix product.
    pairs = (rows[..., :, None, :] * rows[..., None, :, :]).reshape(*rows.shape[:-2], m * m, d)
    inner = legendre[..., :-1, :].reshape(*shape, d, -1)
    coupling = (scaled * (pairs @ inner)).reshape(*shape, m, m, len(points) - 1, order)
    # (i, j, p, l) → (l, j; p, i): w of point j at node l, seen by point i at point p.
    coupling = np.moveaxis(coupling, (-1, -3, -2, -4), (-4, -3, -2, -1)).reshape(*shape, order * m, -1)
    push = scaled[..., None] * legendre[..., -1, :, None] * np.swapaxes(rows, -1, -2)[..., None, :]
    push = np.moveaxis(push, -3, -1).reshape(*shape, order * m, d)
    return Panels(lengths, fade, drift, coupling, push)


class March(NamedTuple):
    """The flow over a mesh.

    Attributes:
        states: δ at every edge, shape (*lead, k, n + 1, d).
        forces: w at the nodes, shape (*lead, k, n, q, m).
        defects: of each panel the mean and the largest ‖Xᵀg‖, shape (2, *lead, k, n).
        squares: and those of Σ_j g_j²/(2ε_j), ∞ where a weight is negative, shape (2, *lead, k, n).
    """

    states: np.ndarray
    forces: np.ndarray
    defects: np.ndarray
    squares: np.ndarray


def march(
    system: LinearSystem,
    mesh: Panels,
    order: int,
    start: Float[np.ndarray, "*#lead #k d"],
    weights: Float[np.ndarray, "*#lead k n p #m"],
) -> March:
    """δ at the edges of a mesh, for k members that share it.

    Args:
        system: the problem, as it was given to `panels`.
        mesh: from `panels`.
        order: q.
        start: δ at the first edge.
        weights: ε at the q nodes and then at the q + 1 checks; one column per point, or a single one for all.
    """
    m, count = system.rows.shape[-2], mesh.lengths.shape[-1]
    lead = np.broadcast_shapes(start.shape[:-1], weights.shape[:-3], (*mesh.lengths.shape[:-1], 1))
    size = order * m
    weights = np.broadcast_to(weights, (*lead, *weights.shape[-3:-1], m)).reshape(*lead, count, -1)
    delta = np.broadcast_to(start, (*lead, start.shape[-1]))
    seen = mesh.fade[..., None, :-1] * np.swapaxes(system.rows, -1, -2)[..., None, :, :, None]
    seen = np.swapaxes(seen, -1, -2).reshape(*mesh.fade.shape[:-1], -1)  # (…, n, d, (p − 1)·m)
    offset = system.rows[..., None, :, :] @ mesh.drift[..., :-1] - system.residuals[..., None, :, None]
    offset = np.swapaxes(offset, -1, -2).reshape(*mesh.fade.shape[:-2], -1)
    identity, states, forces, defects = np.eye(size), [delta], [], []
    for panel in range(count):
        free = delta @ seen[..., panel, :, :] + offset[..., panel, None, :]
        eps, coupling = weights[..., panel, :], mesh.coupling[..., None, panel, :, :]
        # e = free − coupling·(ε e), for row vectors.
        matrix = identity + np.swapaxes(coupling[..., :size], -1, -2) * eps[..., None, :size]
        force = eps[..., :size] * np.linalg.solve(matrix, free[..., :size, None])[..., 0]
        push = mesh.push[..., panel, :, :]
        end = delta * mesh.fade[..., None, panel, :, -1] + mesh.drift[..., None, panel, :, -1] - force @ push
        residual = free[..., size:] - force @ mesh.coupling[..., panel, :, size:]
        defects.append(_defects(system, order, force, eps[..., size:], residual))
        delta = end
        states.append(end)
        forces.append(force.reshape(*lead, order, m))
    norms, squares = np.stack(defects, -1)
    return March(np.stack(states, -2), np.stack(forces, -3), norms, squares)


def _defects(
    system: LinearSystem, order: int, force: np.ndarray, eps: np.ndarray, residual: np.ndarray
) -> Float[np.ndarray, "2 2 *lead k"]:
    """Of ‖Xᵀg‖, and of Σ_j g_j²/(2ε_j): the mean over a panel, by Gauss's rule on the checks, and the largest there."""
    given, shape = rule(order), (*force.shape[:-1], -1, system.rows.shape[-2])
    held = np.swapaxes(given.between.T @ force.reshape(shape), -1, -2)
    eps = np.swapaxes(eps.reshape(shape), -1, -2)
    gaps = held - eps * np.swapaxes(residual.reshape(shape), -1, -2)
    if gaps.shape[-2] == 1:
        norms = np.abs(gaps[..., 0, :]) * np.linalg.norm(system.rows, axis=-1)[..., None]
    else:
        norms = np.linalg.norm(np.swapaxes(gaps, -1, -2) @ system.rows[..., None, :, :], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        squares = np.square(np.where(gaps == 0.0, 0.0, gaps / np.sqrt(2.0 * np.maximum(eps, 0.0)))).sum(axis=-2)
    return np.stack([[values @ given.weights, values.max(axis=-1)] for values in (norms, squares)])
