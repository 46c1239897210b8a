"""δ(T) of linear regression under the schedules of a family, and of one schedule, with bounds on the error."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...flow._decays import PROOF, Precision, integrate
from ...flow._panels import LinearSystem
from ...schedules import Members
from ._pencil import advance
from ._task import LinearTask

FEW = 4
"""Different levels up to which several piecewise-constant members go by the spectra of H_u; more of them by panels."""


class MemberEnds(NamedTuple):
    """Where the members of a family end.

    Attributes:
        states: δ(T), shape (k, d).
        errors: bounds on the errors ‖·‖₂ of `states`, shape (k,).
        sizes: the largest ‖δ‖ on the way, shape (k,).
    """

    states: Float[np.ndarray, "k d"]
    errors: Float[np.ndarray, " k"]
    sizes: Float[np.ndarray, " k"]


def member_ends(task: LinearTask, members: Members, precision: Precision = PROOF) -> MemberEnds:
    """δ(T) from δ(s): exact where the members are piecewise constant with few levels, else by panels.

    Args:
        task: the problem.
        members: smooth between their jumps.
        precision: of the panels.
    """
    if members(np.full(members.size, task.s)).ndim == 1:
        task = task.grouped
    knots = np.clip(members.jump_ts, task.s, task.T)
    knots = np.concatenate([np.full((members.size, 1), task.s), knots, np.full((members.size, 1), task.T)], axis=1)
    if members.piecewise_constant:
        levels = members.levels()
        distinct = np.unique(levels.reshape(members.size * levels.shape[1], -1), axis=0)
        if len(distinct) <= FEW or members.size == 1:
            return _by_spectra(task, knots, levels, distinct)
    times, order = _groups(knots)
    groups, shared = len(times), members.size // len(times)

    def weights(t: np.ndarray) -> np.ndarray:
        each = np.empty((members.size, t.shape[-1]))
        each[order] = np.repeat(t, shared, axis=0)
        values = members(each)[order]
        return values.reshape(groups, shared, t.shape[-1], -1)

    pencil = task.pencil
    system = LinearSystem(pencil.rates, pencil.rows, pencil.residuals, pencil.drift)
    flow = integrate(system, task.start[None, None], times, weights, precision=precision)
    found = MemberEnds(np.empty((members.size, len(task.rates))), np.empty(members.size), np.empty(members.size))
    for target, values in zip(found, (flow.states, flow.errors, flow.size), strict=True):
        target[order] = values.reshape(target.shape)
    return found


def _groups(knots: Float[np.ndarray, "k j"]) -> tuple[Float[np.ndarray, "g j"], np.ndarray]:
    """The distinct rows, and the members in the order of theirs, if as many share each; else each row by itself."""
    rows, inverse, counts = np.unique(knots, axis=0, return_inverse=True, return_counts=True)
    if (counts == counts[0]).all():
        return rows, np.argsort(inverse.ravel(), kind="stable")
    return knots, np.arange(len(knots))


def _by_spectra(task: LinearTask, knots: np.ndarray, levels: np.ndarray, distinct: np.ndarray) -> MemberEnds:
    """Arc by arc, all members with one level together."""
    k, arcs = levels.shape[:2]
    states = np.tile(task.start, (k, 1))
    sizes = np.linalg.norm(states, axis=1)
    flat = levels.reshape(k, arcs, -1)
    for arc, elapsed in enumerate(np.diff(knots, axis=1).T):
        # Of one member only its own level occurs.
        for level in distinct if k > 1 else flat[:, arc]:
            here = (flat[:, arc] == level).all(axis=1) & (elapsed > 0.0)
            if here.any():
                spectrum = task.spectrum(level if len(level) > 1 else float(level[0]))
                states[here] = advance(spectrum, states[here], elapsed[here])
        sizes = np.maximum(sizes, np.linalg.norm(states, axis=1))
    return MemberEnds(states, arcs * len(task.rates) * np.finfo(np.float64).eps * sizes, sizes)
