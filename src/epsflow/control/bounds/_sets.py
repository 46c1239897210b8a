"""Sets of controls, by when the residuals change their signs, and what holds for all controls of a set.

Every question to a set is a lower bound on a linear functional (`_paths`); the methods here are searches
(`_together`) that ask such questions.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..linear._exponentials import ExponentialSum, resolving_grid
from ..linear._pencil import coordinates
from ..linear._task import LinearTask
from ._paths import Request, Stretch, stretch
from ._together import Search

TAIL_WINDOWS, MAX_STEPS = 4, 150
SHORTEST = 1e-4
OVERFLOW = 300.0
"""Exponent beyond which a growth bounds nothing that matters, and only need not be infinite."""
MULTIPLIERS = np.array([1.0, 0.5, 2.0, 4.0, 16.0, 64.0, 0.0])
MOST_AT_ONCE, STEADY = 8, 0.95
"""Steps that are taken side by side, and their length in units of the one before."""
PROBES = np.array([0.0, 0.25, 0.5, 1.0])
"""Where the crossing is examined first, in units of what is left of the window: a set that fails does so soon."""


class Pattern(NamedTuple):
    """When one residual changes its sign.

    Attributes:
        changes: a window (start, end) for each of the first changes, ascending; between them it keeps its sign.
        open_from: from then on anything may happen; T where no further change follows.
    """

    changes: tuple[tuple[float, float], ...]
    open_from: float


class Node(NamedTuple):
    """A set of controls.

    Attributes:
        patterns: one for each point.
        mu: the best μ known for it.
        stretches: what is known about the residuals.
    """

    patterns: tuple[Pattern, ...]
    mu: Float[np.ndarray, " k"]
    stretches: tuple[Stretch, ...] = ()


class Reach(NamedTuple):
    """A control problem, and what holds for every admissible control.

    Attributes:
        problem: its number among those that are searched together.
        task: the problem.
        signs: σ_j of e_j(s).
        residuals: |e_j| ≤ residuals_j on [s, T], shape (m,).
        speeds: |dδ_k/dt| ≤ speeds_k there, shape (d,).
        rounding: of a lower bound on pᵀδ, in units of ‖p‖.
    """

    problem: int
    task: LinearTask
    signs: np.ndarray
    residuals: Float[np.ndarray, " m"]
    speeds: Float[np.ndarray, " d"]
    rounding: float

    @staticmethod
    def of(problem: int, task: LinearTask) -> "Reach":
        """By norms, and for one point by how far e moves under ε ≡ ε_min."""
        low, high = task.bounds
        most, length, r = max(abs(low), abs(high)), task.length, np.abs(task.residuals)
        f, start = float(np.linalg.norm(task.drift)), float(np.linalg.norm(task.start))
        x = np.linalg.norm(task.rows, axis=1)
        if low >= 0.0:  # d½‖δ‖²/dt ≤ ‖f‖‖δ‖ − Σ u(e² + re) ≤ ‖f‖‖δ‖ + Σ u r²/4
            radius = np.sqrt(start**2 + 0.5 * high * float(r @ r) * length) + f * length
        else:  # Gronwall's inequality
            radius = (start + length * (f + most * float(x @ r))) * np.exp(most * float(x @ x) * length)
        residuals = x * radius + r
        if low >= 0.0 and task.points == 1:
            residuals = np.minimum(residuals, _variation(task))
        # dδ_k/dt = −λ_k δ_k + f_k − Σ u_j x_jk e_j, and a force F on δ_k moves λ_k δ_k by F(1 − e^{−λ_k t}) at most.
        force = np.abs(task.drift) + most * (residuals @ np.abs(task.rows))
        speeds = np.abs(task.rates * task.start) + force * (1.0 - np.expm1(-task.rates * length))
        signs = np.where(task.residual(task.start) < 0.0, -1, 1)
        rate = float(np.abs(task.rates).max()) + most * float(x @ x)
        rounding = len(task.rates) * np.finfo(np.float64).eps * (1.0 + rate * task.T) * float(radius)
        return Reach(problem, task, signs, residuals, speeds, rounding)

    def least(self, functionals: np.ndarray, stretches: Sequence[Stretch]) -> Search[Float[np.ndarray, " k"]]:
        """Lower bounds on cᵀδ at the end of the stretches, over all controls that respect them, for each row c."""
        (answer,) = yield [Request(self.problem, functionals, stretches)]
        return answer.least - self.rounding * np.linalg.norm(functionals, axis=1)

    # -- what is assumed ------------------------------------------------------------------------------------------

    def assume(self, node: Node) -> Search[Node | None]:
        """The node with its stretches up to T; None where no control agrees with it.

        For one point: where e cannot change back, nothing is open.
        """
        T = self.task.T
        closed = node._replace(patterns=tuple(pattern._replace(open_from=T) for pattern in node.patterns))
        single = self.task.points == 1
        stretches = yield from self._stretches(closed if single else node, ())
        if stretches is None:
            return None
        if single and node.patterns[0].open_from < T:
            changes = node.patterns[0].changes
            if not (changes and (yield from self._stays(node.patterns[0], stretches))):
                known = tuple(each for each in stretches if each.end <= node.patterns[0].open_from)
                stretches = yield from self._stretches(node, known)
                return None if stretches is None else node._replace(stretches=stretches)
        return (closed if single else node)._replace(stretches=stretches)

    def _stretches(self, node: Node, known: tuple[Stretch, ...]) -> Search[tuple[Stretch, ...] | None]:
        """Bounds on all residuals; None where no control agrees with the node."""
        found, slack = list(known), {}
        for start, stop in itertools.pairwise(self._edges(node)):
            if found and stop <= found[-1].end:
                continue
            spans = []
            for j, pattern in enumerate(node.patterns):
                low, high = yield from self._span(j, pattern, start, stop, found, slack)
                if low > high:
                    return None
                spans.append((low, high))
            found.append(stretch(start, stop, *zip(*spans, strict=True)))
        return tuple(found)

    def _edges(self, node: Node) -> list[float]:
        s, T = self.task.s, self.task.T
        edges = {s, T}
        for pattern in node.patterns:
            edges.update(itertools.chain.from_iterable(pattern.changes))
            if pattern.open_from < T:
                edges.update(np.linspace(pattern.open_from, T, TAIL_WINDOWS + 1).tolist())
        return sorted(edge for edge in edges if s <= edge <= T)

    def _span(
        self, j: int, pattern: Pattern, start: float, stop: float, before: list[Stretch], slack: dict[object, float]
    ) -> Search[tuple[float, float]]:
        """Bounds on e_j between two neighbouring edges; (1, −1) where there are none."""
        sign = int(self.signs[j])
        for left, right in pattern.changes:
            if stop <= left:
                break
            if start < right:
                if (j, left) not in slack:
                    slack[j, left] = yield from self._slack(j, sign, right - left, before)
                eta = slack[j, left]
                return (-eta, eta) if eta >= 0.0 else (1.0, -1.0)
            sign = -sign
        if stop <= pattern.open_from:
            return (0.0, np.inf) if sign > 0 else (-np.inf, 0.0)
        return (yield from self._loose(j, stop - start, before))

    def _later(
        self, j: int, length: float, sides: Sequence[int], before: Sequence[Stretch]
    ) -> Search[tuple[list[float], float]]:
        """The least ±e_j after the stretches, and how far e_j moves within `length` from then on, but for u_j.

        That is |ė_j + u_j‖x_j‖²e_j| = |x_jᵀ(f − Λδ) − Σ_{i≠j} u_i (x_jᵀx_i) e_i| at its largest, times `length`.
        """
        task = self.task
        x, most = task.rows[j], max(map(abs, task.bounds))
        pull, signs = task.rates * x, np.array(sides)
        bounds = yield from self.least(np.vstack([pull, -pull, signs[:, None] * x]), before)
        push, across = float(x @ task.drift), np.abs(task.rows @ x)
        across[j] = 0.0
        steepest = max(push - float(bounds[0]), -push - float(bounds[1]))
        bend = float(np.abs(pull) @ self.speeds)
        move = length * (steepest + length * bend + most * float(across @ self.residuals))
        return (bounds[2:] - signs * task.residuals[j]).tolist(), move

    def _growth(self, j: int, length: float, rate: float) -> float:
        """What u_j‖x_j‖² ≥ −rate·‖x_j‖² makes of it at most."""
        x = self.task.rows[j]
        return float(np.exp(min(float(x @ x) * rate * length, OVERFLOW)))

    def _slack(self, j: int, sign: int, length: float, before: Sequence[Stretch]) -> Search[float]:
        """η: e_j vanishes within `length` after the stretches, so |e_j| ≤ η there; negative where it cannot vanish."""
        if length == 0.0:
            return 0.0
        (away,), move = yield from self._later(j, length, [sign], before)
        move *= self._growth(j, length, max(map(abs, self.task.bounds)))
        return -1.0 if away > move else min(move, float(self.residuals[j]))

    def _loose(self, j: int, length: float, before: Sequence[Stretch]) -> Search[tuple[float, float]]:
        """Bounds on e_j within `length` after the stretches, whatever the controls do."""
        (below, above), move = yield from self._later(j, length, [1, -1], before)
        growth, most = self._growth(j, length, max(-self.task.bounds[0], 0.0)), float(self.residuals[j])
        return max((min(below, 0.0) - move) * growth, -most), min((max(-above, 0.0) + move) * growth, most)

    # -- can a residual come back? --------------------------------------------------------------------------------

    def _stays(self, pattern: Pattern, stretches: tuple[Stretch, ...]) -> Search[bool]:
        """Can e not change its sign again? Not where de/dt has one sign when e = 0, from the last change's window on.

        At e = 0, −σ de/dt = σxᵀΛδ − σxᵀf whatever u is, σ being the sign before the last change. Adding −νσe, which
        vanishes there, is free. Each evaluation holds for as long as the functional cannot have moved to zero; from
        several times at once, until the spans meet.
        """
        T, left = self.task.T, pattern.changes[-1][0]
        sign = int(self.signs[0]) * (-1) ** (len(pattern.changes) - 1)
        asked, spans = (left + (T - left) * PROBES).tolist(), {}
        while asked:
            if len(spans) + len(asked) > MAX_STEPS:
                return False
            steps = yield from self._holds_for(sign, asked, stretches)
            if steps is None:
                return False
            spans.update(zip(asked, steps, strict=True))
            ordered = sorted(spans.items())
            nexts = [*(time for time, _ in ordered[1:]), T]
            asked = []
            for (t, step), then in zip(ordered, nexts, strict=True):
                # What is left up to the next, in steps that are hopefully as long as this one.
                if t + step < then:
                    count = min(MOST_AT_ONCE, math.ceil((then - t - step) / (STEADY * step)))
                    asked += np.linspace(t + step, then, count, endpoint=False).tolist()
            covered = sum(min(step, then - t) for (t, step), then in zip(ordered, nexts, strict=True))
            if len(spans) > 2 * len(PROBES) and covered * MAX_STEPS < 0.5 * len(spans) * (T - left):
                return False  # it would take more steps than there are
        return True

    def _holds_for(self, sign: int, times: list[float], stretches: tuple[Stretch, ...]) -> Search[list[float] | None]:
        """How long −σ de/dt > 0 at e = 0 holds from each time on; None where it does not, or hardly does."""

        def short(steps: np.ndarray) -> np.ndarray:
            return (steps <= SHORTEST * self.task.length) & (np.array(times) + steps < self.task.T)

        steps = yield from self._steps(sign, times, stretches, MULTIPLIERS[:1])
        again = np.flatnonzero(short(steps))
        if again.size:
            steps[again] = yield from self._steps(sign, [times[k] for k in again.tolist()], stretches, MULTIPLIERS[1:])
        return None if short(steps).any() else steps.tolist()

    def _steps(
        self, sign: int, times: list[float], stretches: tuple[Stretch, ...], multiples: Float[np.ndarray, " k"]
    ) -> Search[Float[np.ndarray, " times"]]:
        """How long −σ de/dt > 0 at e = 0 holds from each time on, by the best ν; 0 where it does not.

        cᵀδ + offset = margin stays positive while margin − A h − ½K h² does, A ≥ −d(cᵀδ)/dt now, K ≥ its change.
        """
        task, most = self.task, max(map(abs, self.task.bounds))
        rates, x, r = task.rates, task.rows[0], float(task.residuals[0])
        nu = multiples * float(x @ (rates * x) / (x @ x))
        c = sign * (rates - nu[:, None]) * x
        sizes = np.maximum(np.linalg.norm(c, axis=1), 1e-300)
        c, offsets = c / sizes[:, None], sign * (nu * r - float(x @ task.drift)) / sizes
        functionals = np.concatenate([x[None], -x[None], c, -rates * c])
        answers = yield [Request(self.problem, functionals, _until(stretches, t)) for t in times]
        found = np.array([answer.least for answer in answers])
        found = found - self.rounding * np.linalg.norm(functionals, axis=1)
        below, above, margins, pulled = np.split(found, [1, 2, 2 + len(nu)], axis=1)
        margins = np.maximum(margins + offsets, 0.0)
        now = np.minimum(np.maximum(np.abs(below - r), np.abs(above + r)), self.residuals[0])
        force = most * np.abs(c @ x)
        fall = np.maximum(0.0, -pulled - c @ task.drift + force * now)
        bend = np.abs(rates * c) @ self.speeds + force * float(np.abs(x) @ self.speeds)
        slowest = fall + np.sqrt(fall**2 + 2.0 * bend * margins)
        still = slowest == 0.0
        return np.where(still & (margins > 0.0), np.inf, 2.0 * margins / np.where(still, 1.0, slowest)).max(axis=1)


def _until(stretches: tuple[Stretch, ...], time: float) -> list[Stretch]:
    """The stretches up to a time."""
    return [each if each.end <= time else each._replace(end=time) for each in stretches if each.start < time]


def _variation(task: LinearTask) -> float:
    """|e| under every control with ε ≥ ε_min ≥ 0, for one point: |e(s)| and the variation of e under ε ≡ ε_min.

    e_u = e_min − ∫k(t−τ)(u−ε_min)e_u dτ, k(t) = Σ x_k² e^{−μ_k t}. What a jump of e_min does to e_u stays between 0 and
    that jump: while it is positive ∫k(u−ε_min)e_u only reduces it, and at zero its derivative Σ μ_k x_k z_k, with
    z_k = ∫x_k e^{−μ_k(t−τ)}(u−ε_min)e_u dτ, is not negative.
    """
    spectrum = task.spectrum(task.bounds[0])
    start, row = spectrum.to_basis(task.start), spectrum.rows[0]
    slope = ExponentialSum(row * (spectrum.drift - spectrum.rates * start), spectrum.rates)
    turns = slope.sign_changes(resolving_grid(spectrum.rates, task.length))
    times = np.concatenate([[0.0], turns, [task.length]])
    values = coordinates(spectrum, start, times) @ row - task.residuals[0]
    return float(abs(values[0]) + np.abs(np.diff(values)).sum())
