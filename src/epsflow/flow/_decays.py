"""Linear regression under schedules that are smooth between jumps: decays, to rounding, with a bound on the error.

Between two jumps a mesh of panels (`_panels.py`) resolves three things: the layer that fast rates leave behind the
first jump, by panels that grow geometrically from it; the layer, or the fractional power, before a second at which ε
vanishes, by panels that shrink towards it; and whatever else ε does, by halving panels until ε is a polynomial on each.
The number of panels grows with the logarithm of the stiffness λ_max·(T − s) only. Then panels are halved until the
bound on the error meets the tolerance, or until rounding is all that is left of it.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ._panels import TABLE, LinearSystem, March, march, moments, panels, rule

Weights = Callable[[Float[np.ndarray, "*lead n"]], Float[np.ndarray, "*lead k n c"]]
"""ε of k members at their common times, not at a jump; one column per deleted point (c = m), or one for all (c = 1)."""


class Precision(NamedTuple):
    """How finely a mesh resolves.

    Attributes:
        order: q, nodes per panel.
        growth: ratio of the lengths of neighbouring panels near a jump.
        depth: λh on the shortest of them.
        singular: where the panels that shrink towards a fractional power stop, in units of the stretch.
        smooth: the last Legendre coefficients of ε on a panel, in units of the largest ε, that count as none.
        tolerance: bound on the error, in units of the largest ‖δ‖, at which panels are no longer halved.
    """

    order: int
    growth: float
    depth: float
    singular: float
    smooth: float
    tolerance: float


PROOF = Precision(order=20, growth=4.0, depth=4.0, singular=1e-14, smooth=1e-14, tolerance=1e-13)
"""For numbers that are reported: the bound is near rounding."""
SCAN = Precision(order=6, growth=6.0, depth=3.0, singular=1e-4, smooth=1e-5, tolerance=1e-4)
"""For searches. δ(T) is an integral of w, by Gauss's rule, and far closer than the bound: some 1e-8."""

UNKNOWNS, FEWEST = 1_000, 8
"""Unknowns per panel, q·m, beyond which it gets fewer nodes; and the fewest, unless `order` says less."""
HALVINGS = 40
"""Most times that panels are halved because of ε itself."""
NOISE = 8.0
"""Roundings of the largest force that a panel's defect may consist of."""
PANELS = 200
"""Panels between two jumps from which none is halved any more: rounding may keep the bound of stiff points up."""


class Flow(NamedTuple):
    """Where δ is, and how exactly that is known.

    Attributes:
        states: δ, shape (*lead, k, d).
        defects: bound on the error ‖·‖₂ that polynomial forces have made in it, shape (*lead, k).
        rounding: bound on that of the arithmetic, to first order, shape (*lead, k).
        worst: the largest sum of both on the way.
        size: the largest ‖δ‖ on the way, shape (*lead, k).
        panels: how many panels there were.
        passed: δ at the times that were asked for, shape (n, d); none of a stack.
    """

    states: np.ndarray
    defects: np.ndarray
    rounding: np.ndarray
    worst: np.ndarray
    size: np.ndarray
    panels: int
    passed: Float[np.ndarray, "n d"]

    @property
    def errors(self) -> Float[np.ndarray, "*lead k"]:
        """Bound on the error ‖·‖₂ of `states`."""
        return self.defects + self.rounding


class Stretch(NamedTuple):
    """The time between two jumps: a problem, when it begins (*lead), how long it is (*lead), and ε."""

    system: LinearSystem
    begin: np.ndarray
    length: np.ndarray
    weights: Weights

    def eps(self, fractions: Float[np.ndarray, " n"]) -> Float[np.ndarray, "*lead k n c"]:
        """ε at fractions of the stretch."""
        return self.weights(self.begin[..., None] + self.length[..., None] * fractions)

    @property
    def strength(self) -> Float[np.ndarray, "*lead"]:
        """Σ‖x_j‖²·length."""
        return np.asarray(np.square(self.system.rows).sum(axis=(-1, -2)) * self.length)

    @property
    def blur(self) -> Float[np.ndarray, "*lead"]:
        """What the rounding of times makes of ε, which may fall from 1 to 0 on the stretch."""
        unit = np.finfo(np.float64).eps
        # A stretch shorter than the rounding of its beginning is all blur, however short.
        length = np.maximum(self.length, np.maximum(unit * np.abs(self.begin), np.finfo(np.float64).tiny))
        return np.asarray(64.0 * unit * (np.abs(self.begin) + length) / length)


def integrate(
    system: LinearSystem,
    start: Float[np.ndarray, "*#lead #k d"],
    knots: Float[np.ndarray, "*#lead j"],
    weights: Weights,
    *,
    precision: Precision = PROOF,
    ts: Float[np.ndarray, " n"] | None = None,
) -> Flow:
    """δ at the last knot, for k members of a family that jump at the same times, and for a stack of these.

    Args:
        system: the problem; its leading axes broadcast against those of `knots`.
        start: δ at the first knot.
        knots: ascending times, two or more; ε is smooth between them.
        weights: ε.
        precision: how finely the mesh resolves.
        ts: ascending times from the first knot to the last at which δ is wanted as well: of one problem, one member.
    """
    precision = _affordable(precision, min(system.rows.shape[-2:]))
    nodes = rule(precision.order).nodes
    stretches = [Stretch(system, left, right - left, weights) for left, right in itertools.pairwise(_last_first(knots))]
    samples = stretches[0].eps(nodes)
    *_, k, _, columns = samples.shape
    lead = np.broadcast_shapes(start.shape[:-2], knots.shape[:-1], system.rates.shape[:-1])
    states = np.broadcast_to(start, (*lead, k, start.shape[-1]))
    if columns == 1 and system.rows.shape[-2] > system.rows.shape[-1]:
        system = _condensed(system)
        stretches = [stretch._replace(system=system) for stretch in stretches]
    times, size = np.empty(0) if ts is None else ts, np.linalg.norm(states, axis=-1)
    zero = np.zeros_like(size)
    at_once = np.count_nonzero(times <= knots.flat[0])
    passed = np.repeat(states.reshape(-1, states.shape[-1])[:1], at_once, axis=0)
    flow = Flow(states=states, defects=zero, rounding=zero, worst=zero, size=size, panels=0, passed=passed)
    for j, stretch in enumerate(stretches):
        if stretch.length.any():
            inside = times[(times > knots[..., j].flat[0]) & (times <= knots[..., j + 1].flat[0])]
            flow = _advance(stretch, samples if j == 0 else stretch.eps(nodes), flow, inside, precision)
    return flow


def _affordable(precision: Precision, points: int) -> Precision:
    """Fewer nodes per panel, and so more panels, where many points make the systems of a panel large."""
    return precision._replace(order=min(precision.order, max(FEWEST, UNKNOWNS // points)))


def _last_first(knots: Float[np.ndarray, "*lead j"]) -> Float[np.ndarray, "j *lead"]:
    return np.moveaxis(knots, -1, 0)


def _condensed(system: LinearSystem) -> LinearSystem:
    """The same flow by d points, for one ε that all points share: X = USVᵀ, so Xᵀ(Xδ − r) = (SVᵀ)ᵀ(SVᵀδ − Uᵀr)."""
    turn, sizes, rows = np.linalg.svd(system.rows, full_matrices=False)
    residuals = (system.residuals[..., None, :] @ turn)[..., 0, :]
    return system._replace(rows=sizes[..., None] * rows, residuals=residuals)


def _advance(
    stretch: Stretch,
    samples: Float[np.ndarray, "*lead k q c"],
    flow: Flow,
    ts: Float[np.ndarray, " n"],
    precision: Precision,
) -> Flow:
    """The flow at the end of a stretch, and at the times `ts` on the way; `samples`: ε at q nodes of all of it."""
    samples = np.abs(samples)
    level = float(samples.max())
    edges = np.array([0.0, 1.0])
    if level > 0.0:
        falls = float(samples[..., -1, :].min()) < 0.5 * level
        edges = _mesh(stretch, level, falls, precision)
    while True:
        marched = _march(stretch, flow, edges, ts, precision)
        allowed = precision.tolerance * marched.flow.size[..., None]
        late = marched.worst[..., None] - flow.defects[..., None] > allowed
        wide = np.asarray(late & (marched.added > np.maximum(marched.noise, allowed / (2.0 * len(edges)))))
        wide = np.any(wide.reshape(-1, len(edges) - 1), axis=0)
        if not wide.any() or len(edges) > PANELS:
            return marched.flow
        edges = _halved(edges, np.asarray(wide))


def _mesh(stretch: Stretch, level: float, falls: bool, precision: Precision) -> Float[np.ndarray, " n"]:
    """Edges in fractions of a stretch, for a weight of size `level` that falls towards its end, or does not."""
    rates = stretch.system.rates.max(axis=-1) * stretch.length
    rate = float(rates.max()) + level * float(stretch.strength.max())
    edges = _behind(rate, precision)
    if not falls and not _unresolved(stretch, edges[-2:], level, precision)[0]:
        return edges
    left = 0.5 * edges
    *wide, singular = _unresolved(stretch, np.append(left, 1.0), level, precision)
    right = _before(precision) if singular else 1.0 - 0.5 * edges[-2::-1]
    for _ in range(HALVINGS):
        if not any(wide) or len(left) > PANELS:
            break
        left = _halved(left, np.array(wide))
        wide = _unresolved(stretch, left, level, precision)
    return np.concatenate([left, right])


def _unresolved(
    stretch: Stretch, edges: Float[np.ndarray, " n"], level: float, precision: Precision
) -> Bool[np.ndarray, " panels"]:
    """Where ε is no polynomial of degree q − 1, to the tolerance, and it matters."""
    given, widths = rule(precision.order), np.diff(edges)
    values = stretch.eps((edges[:-1, None] + widths[:, None] * given.nodes).ravel())
    values = np.moveaxis(values, -1, -2).reshape(*stretch.length.shape, -1, len(widths), precision.order)
    tails = np.abs(values @ given.transform[:, -2:]).max(axis=(-1, -3))
    strengths = stretch.strength[..., None] * widths
    found = (tails > level * (precision.smooth + stretch.blur[..., None])) & (strengths * tails > precision.smooth)
    return found.reshape(-1, len(widths)).any(axis=0)


class _Marched(NamedTuple):
    """A stretch with one mesh.

    Attributes:
        flow: at its end.
        worst: the largest bound on the defects' error on the way, shape (*lead, k).
        added: what each panel adds to it, shape (*lead, k, n).
        noise: how much of that may be rounding.
    """

    flow: Flow
    worst: np.ndarray
    added: np.ndarray
    noise: np.ndarray


def _march(
    stretch: Stretch, flow: Flow, edges: Float[np.ndarray, " n"], ts: np.ndarray, precision: Precision
) -> _Marched:
    order, given, widths = precision.order, rule(precision.order), np.diff(edges)
    inside = np.concatenate([given.nodes, given.checks])
    eps = stretch.eps((edges[:-1, None] + widths[:, None] * inside).ravel())
    eps = eps.reshape(*eps.shape[:-2], len(widths), len(inside), -1)
    system, lengths = stretch.system, stretch.length[..., None] * widths
    rates = np.broadcast_to(system.rates, (*stretch.length.shape, system.rates.shape[-1]))
    coupled = max(1, rates.size // rates.shape[-1]) * (order * system.rows.shape[-2]) ** 2
    together = max(1, TABLE // max(rates.size * (len(inside) + 1) * order, 2 * coupled))
    states, parts, passed = [flow.states[..., None, :]], [], [flow.passed]
    for first in range(0, len(widths), together):
        part = slice(first, first + together)
        mesh = panels(system, lengths[..., part], order)
        marched = march(system, mesh, order, states[-1][..., -1, :], eps[..., part, :, :])
        states.append(marched.states[..., 1:, :])
        parts.append(np.stack([marched.defects, marched.squares]))
        if len(ts):
            passed.append(_between(stretch, edges[first : first + together + 1], marched, ts, order))
    states, defects = np.concatenate(states, axis=-2), np.concatenate(parts, axis=-1)
    size = np.maximum(flow.size, np.linalg.norm(states, axis=-1).max(axis=-1))
    moved = size + _drifted(system, lengths)[..., None]
    rates, unit = _slowest(system, eps), np.finfo(np.float64).eps
    bound, worst, added = _bounds(flow.defects, defects, rates, lengths[..., None, :])
    stiff = np.abs(eps).max(axis=(-1, -2)) * np.square(system.rows).sum(axis=(-1, -2))[..., None, None]
    stiff = np.sqrt(stiff * lengths[..., None, :])
    made = unit * moved * (4.0 * len(widths) + np.sqrt(np.square(stiff).sum(axis=-1)))
    rounding = flow.rounding * np.exp(-(rates * lengths[..., None, :]).sum(axis=-1)) + made
    done = Flow(
        states=states[..., -1, :],
        defects=bound,
        rounding=rounding,
        worst=np.maximum(flow.worst, worst + rounding),
        size=size,
        panels=flow.panels + len(widths),
        passed=np.concatenate(passed),
    )
    return _Marched(done, worst, added, NOISE * unit * moved[..., None] * np.minimum(stiff, stiff**2))


def _drifted(system: LinearSystem, lengths: Float[np.ndarray, "*lead n"]) -> np.ndarray:
    """What f alone would move on the longest panel, and the force then takes back: f·∫₀ʰ e^{−λt} dt ≤ f·min(h, 1/λ)."""
    longest = np.maximum(lengths.max(axis=-1), np.finfo(np.float64).tiny)[..., None]
    return np.asarray(np.linalg.norm(system.drift / np.maximum(system.rates, 1.0 / longest), axis=-1))


def _bounds(
    before: np.ndarray, defects: np.ndarray, rates: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bound on the error after all panels, the largest on the way, and what each panel adds.

    Args:
        before: the bound before the first of them.
        defects: mean and largest ‖Xᵀg‖ and Σ_j g_j²/(2ε_j) of each, shape (2, 2, *lead, k, n).
        rates: below λ_min(H_ε) on each.
        lengths: of each.
    """
    grown, fades = np.exp(np.maximum(-rates * lengths, 0.0)), np.exp(-rates * lengths)
    effects = []
    for (mean, largest), times in zip(defects, (1.0, 2.0), strict=True):
        # ∫ e^{−μ(h−t)} dt times the largest, where that is less; the largest at the checks may miss some of it.
        every, rate = mean * lengths, times * rates
        # Compared before it is divided: a tiny rate would overflow, where the other bound is the less anyhow.
        with np.errstate(invalid="ignore"):  # an effect without a bound, at the rate 0
            short = every * rate > 2.0 * largest
        whole = np.divide(2.0 * largest, rate, out=np.array(every), where=short)
        effects.append(whole * grown**times)
    pushed, squared = effects
    bound, worst = before, before
    for fade, grow, push, square in zip(*(np.moveaxis(a, -1, 0) for a in (fades, grown, pushed, squared)), strict=True):
        worst = np.maximum(worst, np.minimum(grow * bound + push, np.sqrt((grow * bound) ** 2 + square)))
        bound = np.minimum(fade * bound + push, np.sqrt((fade * bound) ** 2 + square))
    return bound, worst, np.minimum(pushed, np.sqrt(squared))


def _slowest(system: LinearSystem, eps: Float[np.ndarray, "*lead k n p c"]) -> Float[np.ndarray, "*lead k n"]:
    """A bound below λ_min(H_ε) on each panel: λ_min(H_{-D}) where ε ≥ 0, else less Σ|ε_j|‖x_j‖²."""
    negative = np.minimum(eps.min(axis=-2), 0.0)
    sizes = np.square(system.rows).sum(axis=-1)
    lost = (negative * sizes[..., None, None, :]).sum(axis=-1)
    return system.rates.min(axis=-1)[..., None, None] + lost


def _between(
    stretch: Stretch, edges: Float[np.ndarray, " n"], marched: March, ts: Float[np.ndarray, " k"], order: int
) -> Float[np.ndarray, "k d"]:
    """δ at those of the times that lie on these panels."""
    fractions = np.minimum((ts - stretch.begin) / stretch.length, 1.0)
    fractions = fractions[(fractions > edges[0]) & (fractions <= edges[-1])]
    panel = np.clip(np.searchsorted(edges, fractions) - 1, 0, len(edges) - 2)
    lengths = np.diff(edges)[panel]
    points = ((fractions - edges[panel]) / lengths)[:, None]
    system, lengths = stretch.system, lengths[:, None] * stretch.length
    z = system.rates * lengths
    legendre = moments(z, points[:, None], order)[:, :, 0]
    states = marched.states[..., :-1, :].reshape(-1, z.shape[-1])[panel]
    forces = marched.forces.reshape(len(edges) - 1, order, -1)[panel]
    pushes = (rule(order).transform.T @ forces) @ system.rows  # coefficients of Xᵀw, (k, q, d)
    moved = legendre[:, :, 0] * system.drift - np.einsum("kdq,kqd->kd", legendre, pushes)
    return np.exp(-z * points) * states + lengths * moved


def _behind(rate: float, precision: Precision) -> Float[np.ndarray, " n"]:
    """Edges on [0, 1] for what a jump at 0 starts at a rate, and at all slower ones, in geometric progression."""
    first = precision.depth / max(rate, precision.depth)
    count = int(np.ceil(np.log(1.0 / first) / np.log(precision.growth)))
    return np.array([0.0, *(precision.growth ** -np.arange(count, -1.0, -1.0))])


def _before(precision: Precision) -> Float[np.ndarray, " n"]:
    """Edges on (½, 1] for a power at 1 with any exponent above −1."""
    edges, rest = [], 0.5
    while rest > 0.0:
        # On [rest/R, rest] the ellipse that touches 1 has ρ = (√R + 1)/(√R − 1), and what is lost there counts by rest.
        rho = (rest / precision.singular) ** (1.0 / precision.order)
        rest = rest * ((rho - 1.0) / (rho + 1.0)) ** 2 if rest > 4.0 * precision.singular else 0.0
        edges.append(1.0 - rest)
    return np.array(edges)


def _halved(edges: Float[np.ndarray, " n"], wide: np.ndarray) -> Float[np.ndarray, " m"]:
    """Edges with the panels of a mask cut in two."""
    return np.sort(np.concatenate([edges, 0.5 * (edges[:-1] + edges[1:])[wide]]))
