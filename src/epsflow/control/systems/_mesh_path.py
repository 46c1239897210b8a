"""Pontryagin's conditions for systems whose paths are too large to keep: S and 𝓗 sampled on a mesh.

One sweep of Runge–Kutta steps (`_rollout`) gives S at the ends of many pieces, and 𝓗 on each. In between S is
interpolated by Akima's cubics, which do not overshoot; θ and p are computed anew where they are asked for.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.interpolate import Akima1DInterpolator

from ..._core import Array
from ...schedules import AbstractPiecewiseConstant, AbstractSchedule
from ..terms._arcs import Pieces, cut, share_out
from ..terms._extremal import AbstractPath, Extremal, Point, Signals, conditions
from ..terms._levels import arcs_of
from ._rollout import AGREEMENT, choose_steps, sweep, trace
from ._system import RiskSystem

PIECES = 128
"""Pieces on which S and 𝓗 are sampled."""

CHUNK = 64
"""Times at which θ and p are computed in one go."""


@dataclass(frozen=True, eq=False)
class MeshPath(AbstractPath):
    """Samples of S and 𝓗, and what it takes to compute θ and p.

    Attributes:
        system: f and φ.
        start: θ(s).
        steps: Runge–Kutta steps per piece.
        pieces: when they begin and end, and their levels.
        switching: S at the ends of all pieces that have a length, shape (K + 1, controls).
        energy: 𝓗 on them, shape (K,).
    """

    system: RiskSystem
    start: Float[Array, " d"]
    steps: int
    pieces: Pieces
    switching: Float[np.ndarray, "knots controls"]
    energy: Float[np.ndarray, " K"]

    @property
    def knots(self) -> Float[np.ndarray, " knots"]:
        """The ends of all pieces that have a length, from s on."""
        return self.pieces.knots[: len(self.energy) + 1]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`. The mesh is refined by the times asked for, and θ and p integrated once more."""
        found = [self._at(ts[i : i + CHUNK]) for i in range(0, len(ts), CHUNK)]
        return Point(*(np.concatenate(part) for part in zip(*found, strict=True)))

    def _at(self, ts: Float[np.ndarray, " k"]) -> tuple[np.ndarray, np.ndarray]:
        # As many knots for any number of times, so that nothing compiles twice.
        knots = np.sort(np.concatenate([self.knots, np.pad(ts, (0, CHUNK - len(ts)), mode="edge")]))
        levels = self.pieces.levels[self._piece(0.5 * (knots[1:] + knots[:-1]))]
        durations = jnp.asarray(np.diff(knots))
        per_piece = jnp.asarray(float(self.steps))
        states, costates = trace(self.system, per_piece, self.start, durations, jnp.asarray(levels))
        here = np.searchsorted(knots, ts)
        return np.asarray(states[here]), np.asarray(costates[here])

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        switching = Akima1DInterpolator(self.knots, self.switching, extrapolate=True)(
            ts
        )  # a time may exceed T by rounding
        piece = self._piece(ts)
        levels = self.pieces.levels[piece]
        if self.system.shared:
            switching, levels = switching[:, 0], levels[:, 0]
        return Signals(switching, self.energy[piece], levels)

    def _piece(self, ts: np.ndarray) -> np.ndarray:
        return np.clip(np.searchsorted(self.knots, ts, side="left") - 1, 0, len(self.energy) - 1)


def mesh_extremal(
    system: RiskSystem,
    schedule: AbstractSchedule,
    theta_s: Float[Array, " d"],
    s: float,
    T: float,
    bounds: tuple[float, float],
    price: float,
) -> Extremal:
    """The extremal of a schedule in memory O(K d); a smooth schedule is replaced by its values at K middles.

    Raises:
        InputError: the flow is too stiff for explicit steps.
    """
    if isinstance(schedule, AbstractPiecewiseConstant):
        knots, levels = arcs_of(schedule, s, T)
    else:
        knots = np.linspace(s, T, PIECES + 1)
        levels = np.asarray(schedule(0.5 * (knots[1:] + knots[:-1])))
    rows = np.broadcast_to(levels.reshape(len(levels), -1), (len(levels), system.controls))
    count = PIECES * int(np.ceil(2 * len(rows) / PIECES))
    pieces = cut(knots, rows, share_out(knots, count), count)
    durations, controls = jnp.asarray(pieces.durations), jnp.asarray(pieces.levels)
    unit = float(system.terminal(theta_s))
    steps = choose_steps(system, theta_s, durations, [pieces.levels], unit)
    found = sweep(system, jnp.asarray(float(steps)), theta_s, durations, controls)
    last = np.count_nonzero(pieces.durations > 0.0)
    switching, energy = np.asarray(found.switching)[: last + 1], np.asarray(found.durations)[:last]
    path = MeshPath(system, theta_s, steps, pieces, switching, energy)
    cost = float(found.cost)
    gap, drift, zeros = conditions(path, path.knots, [0.0] * last, bounds, price)
    return Extremal(
        s=s,
        T=T,
        cost=cost,
        cost_error=AGREEMENT * max(cost, 1e-6 * unit),
        pmp_gap=gap,
        hamiltonian_drift=drift,
        zeros=zeros,
        method="adjoint",
        path=path,
    )
