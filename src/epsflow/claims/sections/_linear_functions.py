"""The claim of the paragraph "Linear functions": the decay as an autonomous system."""

import numpy as np

from ...schedules import LinearDecay
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import INTEGRATED, TWO, System, integrate, relative, system_of
from .._trial import Trial
from ._epsilon_dynamic import end

SECTION = "Epsilon dynamic: linear functions"


def as_written(system: System, s: float, t1: float, r: float, theta: np.ndarray) -> np.ndarray:
    """The right-hand side of (0.14)."""
    q, pull = 1.0 / (s - t1), system.x * (system.x @ theta)
    return -system.h @ theta + q * r * pull + system.b + (1.0 - s * q) * system.y * system.x


def autonomous(system: System, s: float, t1: float, r: float, theta: np.ndarray) -> np.ndarray:
    """The right-hand side of (0.13) with ε = (1 − sq) + qr."""
    q = 1.0 / (s - t1)
    h, b = system.weighted(1.0 - s * q)
    return b - h @ theta - q * r * system.x * (system.x @ theta - system.y)


@claim(
    id="linear-decay-system",
    section=SECTION,
    source="(0.14)",
    statement="Under a linear decay (0.13) is a polynomial system without closed form.",
    as_written="θ̇ = −(Σ_{i≠j} x_ix_iᵀ)θ + x_jx_jᵀθ r/(s − t₁) + Σ_{i≠j} x_iy_i + (1 − s/(s − t₁))x_jy_j, ṙ = 1",
    corrected=(
        "θ̇ = −(H_{-j} + (1 − sq)x_jx_jᵀ)θ − qr x_jx_jᵀθ + b_{-j} + (1 − sq)x_jy_j + qr x_jy_j, ṙ = 1, "
        "with q = 1/(s − t₁). With X = I and in one dimension it has a closed form."
    ),
    expected=Kind.REFUTED,
)
def linear_decay_system(trial: Trial) -> Evidence:
    """Both systems, by SciPy's integrator, against the flow under a linear decay."""
    written, corrected, s, t1 = [], [], 0.2, 0.9
    for name, problem, start in trial.regressions():
        system = system_of(problem)
        found, error = end(problem, LinearDecay(s, t1), start, t1)
        h, b = system.weighted(1.0)
        at_s = integrate(lambda _, theta, h=h, b=b: b - h @ theta, start, [0.0, s])
        for field, samples in ((as_written, written), (autonomous, corrected)):
            ends = integrate(lambda t, theta, f=field, z=system: f(z, s, t1, t, theta), at_s, [s, t1])
            samples.append(Sample(relative(ends, found), error + INTEGRATED, name))
    two = System(np.ones((1, 1)), np.ones(1), np.ones(1), 2.0, np.ones(1))
    example = {
        **TWO,
        "s, t₁": [0, 1],
        "θ̇ at θ = 1, r = 0, as written": float(as_written(two, 0.0, 1.0, 0.0, np.ones(1))[0]),
        "θ̇ there with ε = 1": float(autonomous(two, 0.0, 1.0, 0.0, np.ones(1))[0]),
    }
    remark = (
        "The system is polynomial, so that its solution is analytic: the library's collocation follows it to rounding."
    )
    reason = "relative; bound: 1e-10 of SciPy's integrator"
    return Evidence(
        written=worst(written, reason), corrected=worst(corrected, reason), counterexample=example, remarks=(remark,)
    )
