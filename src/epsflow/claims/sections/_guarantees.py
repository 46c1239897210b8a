"""Published guarantees of unlearning, and what public code makes of them: beyond the notes, which cite them."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import root_scalar
from scipy.special import expit, lambertw

from ...control import optimal_schedule
from ...unlearning import (
    DistanceLaw,
    clipped_sigma,
    d2d_sigma,
    gaussian_delta,
    gaussian_epsilon,
    gaussian_r,
    mixture_delta,
    noisy_sgd_epsilon,
    r2d_sensitivity,
)
from .._claim import Evidence, Kind, Sample, claim, worst
from .._tools import UNIT
from .._trial import Trial

SECTION = "Published guarantees of unlearning"

PRIVACY = (1.0, 1e-5)
"""ε_dp and δ_dp at which statements are held against the exact curve."""


class Logistic(NamedTuple):
    """Logistic regression in NumPy, the mean over its points plus (μ/2)‖θ‖², with its constants on a ball.

    Attributes:
        x, y: features (n, d) and labels (n,).
        mu: μ.
        radius: of the ball that every step is projected to.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    mu: float
    radius: float

    @staticmethod
    def drawn(rng: np.random.Generator, n: int, mu: float) -> "Logistic":
        """Random points of length at most one."""
        x = rng.standard_normal((n, 3))
        x /= np.maximum(1.0, np.linalg.norm(x, axis=1))[:, None]
        return Logistic(x, (rng.random(n) < expit(4.0 * x[:, 0])).astype(float), mu, 1.0 / mu if mu else math.inf)

    @property
    def smoothness(self) -> float:
        """L_s of every point."""
        return 0.25 * float(np.square(self.x).sum(axis=1).max()) + self.mu

    @property
    def lipschitz(self) -> float:
        """G of every point, on the ball."""
        return float(np.linalg.norm(self.x, axis=1).max()) + (self.mu * self.radius if self.mu else 0.0)

    def without(self, points: list[int]) -> "Logistic":
        """The mean over the others."""
        return self._replace(x=np.delete(self.x, points, axis=0), y=np.delete(self.y, points))

    def descend(self, theta: Float[np.ndarray, " d"], steps: int, eta: float) -> Float[np.ndarray, " d"]:
        """Projected gradient descent."""
        for _ in range(steps):
            theta = theta - eta * ((expit(self.x @ theta) - self.y) @ self.x / len(self.y) + self.mu * theta)
            theta = theta * min(1.0, self.radius / max(float(np.linalg.norm(theta)), 1e-300))
        return theta


@claim(
    id="d2d-theorem",
    section=SECTION,
    source="Neel, Roth and Sharifi-Malvajerdi (2020), secret state",
    statement="I steps per request end within (4G/μn)γ^I of the optimum, for every request of a stream.",
    as_written="‖θ_i − θ*_i‖ ≤ (4G/(μn)) γ^I, γ = (L_s − μ)/(L_s + μ), η = 2/(L_s + μ)",
    expected=Kind.HOLDS,
)
def d2d_theorem(trial: Trial) -> Evidence:
    """Streams of deletions from logistic regressions, each after I steps from the iterate before it."""
    rng, samples = trial.rng(), []
    for number in range(trial.count(4, 100)):
        data = Logistic.drawn(rng, 30, float(rng.choice([0.05, 0.2])))
        n, eta = len(data.y), 2.0 / (data.smoothness + data.mu)
        gamma = (data.smoothness - data.mu) / (data.smoothness + data.mu)
        for steps in (1, 5):
            theta, gone = data.descend(np.zeros(3), 400, eta), []
            for request in rng.permutation(n)[:5].tolist():
                gone = [*gone, request]
                left = data.without(gone)
                theta = left.descend(theta, steps, eta)
                optimum = left.descend(theta, 600, eta)
                bound = 4.0 * data.lipschitz / (data.mu * len(left.y)) * gamma**steps
                where = f"problem {number}, μ = {data.mu:g}, I = {steps}, request {len(gone)}"
                samples.append(Sample(float(np.linalg.norm(theta - optimum)), bound, where))
    return Evidence(written=worst(samples, "distance to the optimum against the bound", factor=1.0 + 1e-9))


@claim(
    id="r2d-theorem",
    section=SECTION,
    source="Mu and Klabjan (2024), Theorem 3.1",
    statement="Rewinding by K steps ends within 2mG h(K)/(L_s n) of retraining.",
    as_written="‖θ_R2D − θ_retrained‖ ≤ (2mG/(L_s n)) [(1 + ηL_s n/(n − m))^{T−K} − 1] (1 + ηL_s)^K",
    expected=Kind.HOLDS,
)
def r2d_theorem(trial: Trial) -> Evidence:
    """Exact distances of logistic regressions against the theorem's bound, and against the tighter one."""
    rng, published, tight = trial.rng(), [], []
    for number in range(trial.count(4, 2_500)):
        data, m = Logistic.drawn(rng, 30, 0.0), int(rng.integers(1, 4))
        n, gone = len(data.y), rng.permutation(30)[:m].tolist()
        eta, total = 0.5 * n / ((n - m) * 2.0 * data.smoothness), 20
        left, start = data.without(gone), rng.standard_normal(3)
        goal = left.descend(start, total, eta)
        for back in (0, 5, 15, 19):
            end = left.descend(data.descend(start, total - back, eta), back, eta)
            distance, constants = (
                float(np.linalg.norm(end - goal)),
                {
                    **{"n": n, "deleted": m, "smoothness": data.smoothness, "lipschitz": data.lipschitz},
                    **{"step_size": eta, "steps": total, "unlearning_steps": back},
                },
            )
            where = f"problem {number}, m = {m}, K = {back} of {total}"
            published.append(Sample(distance, r2d_sensitivity(**constants), where))
            tight.append(Sample(distance, r2d_sensitivity(**constants, tight=True), where))
    reason = "distance to retraining against the bound"
    return Evidence(
        written=worst(published, reason, factor=1.0 + 1e-9),
        corrected=worst(tight, f"{reason} (1 + ηL_s)^T − (1 + ηL_s)^K", factor=1.0 + 1e-9),
    )


@claim(
    id="noisy-sgd-factor",
    section=SECTION,
    source="public code of noisy SGD with projection (setting of arXiv 2403.17105)",
    statement="The Rényi divergence after K epochs is αZ²(1 − c²)c^{2N}/(2ησ²(1 − c^{2N})).",
    as_written="ε(α) = αZ²(1 − c²)c^{2N}/(2ησ²(1 − c^{2N}))",
    corrected="ε(α) = αZ²(1 − c²)c^{2N}/(4ησ²(1 − c^{2N})), attained by affine contractions: half as much.",
    expected=Kind.REFUTED,
)
def noisy_sgd_factor(trial: Trial) -> Evidence:
    """The exact law of affine contractions, and the (ε, δ) that the library proves from it."""
    rng, written, corrected, safe = trial.rng(), [], [], []
    for _ in range(trial.count(10, 300)):
        mu, smooth = np.sort(rng.uniform(0.05, 1.0, 2))
        eta, sigma, epochs, n, b = 0.9 / smooth, float(rng.uniform(0.01, 0.1)), int(rng.integers(1, 4)), 40, 10
        c, steps = 1.0 - eta * mu, epochs * n // b
        apart = 2.0 * eta / b / (1.0 - c ** (n // b))
        variance = 2.0 * eta * sigma**2 * sum(c ** (2 * j) for j in range(steps))
        exact = (c**steps * apart) ** 2 / (2.0 * variance)  # ε(α)/α of two Gaussians
        code = apart**2 * (1.0 - c**2) * c ** (2 * steps) / (2.0 * eta * sigma**2 * (1.0 - c ** (2 * steps)))
        where = f"μ = {mu:.3g}, η = {eta:.3g}, {epochs} epochs"
        written.append(Sample(abs(code / exact - 1.0), 1e3 * UNIT, where))
        corrected.append(Sample(abs(0.5 * code / exact - 1.0), 1e3 * UNIT, where))
        proved = noisy_sgd_epsilon(
            n=n, batch=b, strong_convexity=mu, smoothness=smooth, lipschitz=1.0, step_size=eta, epochs=epochs,
            sigma=sigma, delta=PRIVACY[1],
        )  # fmt: skip
        safe.append(float(gaussian_epsilon(PRIVACY[1], math.sqrt(2.0 * exact))) / max(proved, 1e-300))
    example = {"c": 0.5, "N": 1, "Z": 1, "2ησ²": 1, "exact ε(α)/α": 0.125, "code's": 0.25}
    return Evidence(
        written=worst(written, "relative excess of ε(α) over that of two affine runs; bound: rounding"),
        corrected=worst(corrected, "the same of half as much"),
        counterexample=example,
        remarks=(f"ε_dp of the exact curve is at most {max(safe):.4f} of what noisy_sgd_epsilon proves.",),
    )


@claim(
    id="clipped-noise-factor",
    section=SECTION,
    source="public code of clipped fine-tuning (setting of arXiv 2506.06985), no weight decay",
    statement="Noise of variance (2C₀ + 2ηC₁T)²/(4e_R T) in each step gives ε(α) = αe_R.",
    as_written="σ² = (2C₀ + 2ηC₁T)²/(4e_R T)",
    corrected="σ² = (2C₀ + 2ηC₁T)²/(2e_R T): √2 more noise.",
    expected=Kind.REFUTED,
)
def clipped_noise_factor(trial: Trial) -> Evidence:
    """Runs whose gradients vanish end with two Gaussians, whose exact ε_dp is known: above what is claimed, or not."""
    rng, written, corrected = trial.rng(), [], []
    for _ in range(trial.count(10, 300)):
        epsilon, delta = float(rng.uniform(0.2, 5.0)), float(10.0 ** -rng.uniform(3.0, 8.0))
        start, steps = float(rng.uniform(0.5, 2.0)), int(rng.integers(1, 50))
        sigma = clipped_sigma(
            clipping="gradient", initial_radius=start, radius=1e-12, steps=steps, epsilon=epsilon, delta=delta,
            step_size=1e-3,
        )  # fmt: skip
        where = f"ε_dp = {epsilon:.3g}, δ_dp = {delta:.2g}, T = {steps}"
        for samples, noise in ((written, sigma / math.sqrt(2.0)), (corrected, sigma)):
            r = 2.0 * start / (math.sqrt(steps) * noise)
            samples.append(Sample(float(gaussian_epsilon(delta, r)), epsilon, where))
    far = max(written, key=lambda each: each.residual / each.bound)
    example = {"instance": far.where, "claimed ε_dp": far.bound, "exact ε_dp": far.residual}
    return Evidence(
        written=worst(written, "exact ε_dp of the two ends against the claimed one", factor=1.0 + 1e-9),
        corrected=worst(corrected, "the same with √2 more noise", factor=1.0 + 1e-9),
        counterexample=example,
    )


@claim(
    id="noise-level-typed",
    section=SECTION,
    source="a public baseline: four of its 24 noise levels are a hundredth of what its theorem asks for",
    statement="The noise levels in the table give the ε_dp in its heading.",
    as_written="ε_dp(σ/100) ≤ ε_dp",
    corrected="With a hundredth of the noise ε_dp is above 100 where 0.5 is claimed.",
    expected=Kind.REFUTED,
)
def noise_level_typed(trial: Trial) -> Evidence:
    """The exact ε_dp of descend-to-delete's sensitivity at the theorem's σ, and at a hundredth of it."""
    n, mu, smooth = 11_982, 1e-6, 0.261982
    written, corrected = [], []
    for steps in (1, 2, 5):
        contraction = ((smooth - mu) / (smooth + mu)) ** steps
        sensitivity = 8.0 / (mu * n) * contraction / (1.0 - contraction)
        for epsilon in (0.5, 1.0):
            sigma = d2d_sigma(
                n=n, strong_convexity=mu, smoothness=smooth, lipschitz=1.0, steps=steps, epsilon=epsilon, delta=1.0 / n
            )
            where = f"I = {steps}, claimed ε_dp = {epsilon:g}"
            for samples, noise in ((written, 0.01 * sigma), (corrected, sigma)):
                samples.append(Sample(float(gaussian_epsilon(1.0 / n, sensitivity / noise)), epsilon, where))
    return Evidence(
        written=worst(written, "exact ε_dp at a hundredth of the noise against the claimed one", factor=1.0 + 1e-9),
        corrected=worst(corrected, "exact ε_dp at the noise itself", factor=1.0 + 1e-9),
        counterexample={each.where: each.residual for each in written[:2]},
        remarks=("Constants: n = 11,982, μ = 1e-6, L_s = 0.262, G = 1, δ_dp = 1/n.",),
    )


@claim(
    id="power-iteration-bound",
    section=SECTION,
    source="public code of certified removal: the residual bound's ‖X‖₂",
    statement="Twenty power iterations bound the spectral norm of the design.",
    as_written="‖X‖₂ ≤ ‖Xv₂₀‖/‖v₂₀‖",
    corrected="They bound it from below; √λ_max(XᵀX) + its rounding, or ‖X‖_F, bound it from above.",
    expected=Kind.REFUTED,
)
def power_iteration_bound(trial: Trial) -> Evidence:
    """Random designs, whose largest singular values lie close together."""
    rng, written, corrected = trial.rng(), [], []
    for number in range(trial.count(10, 300)):
        x = rng.standard_normal((60, 40))
        exact = float(np.linalg.svd(x, compute_uv=False)[0])
        v = rng.standard_normal(40)
        for _ in range(20):
            v = x.T @ (x @ v)
            v /= np.linalg.norm(v)
        where = f"60×40, number {number}"
        written.append(Sample(exact / float(np.linalg.norm(x @ v)) - 1.0, 60.0 * UNIT, where))
        gram = float(np.linalg.eigvalsh(x.T @ x)[-1]) * (1.0 + 1e3 * UNIT)
        corrected.append(Sample(max(exact / math.sqrt(gram), exact / float(np.linalg.norm(x))), 1.0, where))
    short = max(written, key=lambda each: each.residual)
    return Evidence(
        written=worst(written, "relative shortfall of the estimate; bound: rounding"),
        corrected=worst(corrected, "‖X‖₂ over its upper bounds", factor=1.0),
        counterexample={"instance": short.where, "‖X‖₂ is larger by": f"{short.residual:.2%}"},
    )


@claim(
    id="logistic-third-derivative",
    section=SECTION,
    source="public code of certified removal: γ₃ of Guo and others (2020)",
    statement="The Lipschitz constant of the logistic loss's second derivative is 1/4.",
    as_written="max|ℓ'''| = 1/4",
    corrected="max|ℓ'''| = 1/(6√3) = 0.0962250; 1/4 bounds ℓ'', and is safe but 2.6 times too much noise.",
    expected=Kind.REFUTED,
)
def logistic_third_derivative(trial: Trial) -> Evidence:
    """ℓ''' = p(1 − p)(1 − 2p) on a grid, and at its maximum p = ½(1 − 1/√3)."""
    p = expit(np.linspace(-20.0, 20.0, 200_001))
    largest = float(np.abs(p * (1.0 - p) * (1.0 - 2.0 * p)).max())
    exact = 1.0 / (6.0 * math.sqrt(3.0))
    return Evidence(
        # The grid's spacing, 2e-4, enters squared.
        written=worst([Sample(0.25 / largest - 1.0, 1e-8, "logit in [−20, 20]")], "relative excess; bound: the grid"),
        corrected=worst([Sample(abs(exact / largest - 1.0), 1e-8, "logit in [−20, 20]")], "relative"),
        counterexample={"logit": -math.log(2.0 + math.sqrt(3.0)), "ℓ'''": exact, "claimed": 0.25},
    )


@claim(
    id="expected-distance",
    section=SECTION,
    source="bounds on E‖Δ‖ of stochastic unlearning, read as sensitivities",
    statement="Noise for the expected distance to retraining gives (ε_dp, δ_dp).",
    as_written="σ = E‖Δ‖/r(ε_dp, δ_dp) hides a random Δ",
    corrected="δ_dp ≤ E δ_G(ε_dp; ‖Δ‖/σ) does: a bound on the law is needed, not on its mean.",
    expected=Kind.REFUTED,
)
def expected_distance(trial: Trial) -> Evidence:
    """Distances that are 0 but for a share of the runs; σ from their mean, and from their law."""
    epsilon, delta = PRIVACY
    r, written, corrected = float(gaussian_r(epsilon, delta)), [], []
    for share in (0.5, 0.1, 0.01):
        law = DistanceLaw(np.array([0.0, 1.0]), np.array([1.0 - share, share]))
        where = f"‖Δ‖ = 1 in {share:g} of the runs, else 0"
        # Where the output tells which batches were drawn, the divergence is the mean over them.
        exact = share * float(gaussian_delta(epsilon, r / share))
        written.append(Sample(exact, delta, where))
        corrected.append(Sample(float(np.max(mixture_delta(law, epsilon, 1.0 / r))), delta, where))
    return Evidence(
        written=worst(written, "δ_dp at σ = E‖Δ‖/r against the claimed one", factor=1.0 + 1e-9),
        corrected=worst(corrected, "E δ_G at σ = max‖Δ‖/r", factor=1.0 + 1e-9),
        counterexample={"share of runs": 0.01, "δ_dp": written[-1].residual, "claimed": delta},
    )


@claim(
    id="ascent-approaches",
    section=SECTION,
    source='gradient ascent on the deleted points ("NegGrad")',
    statement="Ascent on the deleted points brings the parameters nearer to those of retraining.",
    as_written="|w_DA − w_R| ≤ |w_D − w_R|",
    corrected=(
        "Exponential loss with ridge λ, one feature that a share f of the deleted and a of the retained points have: "
        "w_R = W(a/λ), w_D = W((|R|a + |F|f)/(λ|D|)), w_DA = W((a − f)/λ), W Lambert's. For a|F|/(|D| + |F|) < f < a "
        "ascent moves away from w_R, on the far side of w_D."
    ),
    expected=Kind.REFUTED,
)
def ascent_approaches(trial: Trial) -> Evidence:
    """The three minima by a root finder and by Lambert's function, for random shares; and on which side they lie."""
    rng, written, forms, moved = trial.rng(), [], [], 0
    for _ in range(trial.count(40, 1_000)):
        kept, gone, lam = int(rng.integers(20, 200)), int(rng.integers(1, 20)), float(rng.uniform(0.05, 1.0))
        a, f = rng.uniform(0.05, 1.0, 2)
        mean = (kept * a + gone * f) / (kept + gone)
        shares = {"retrained": a, "trained": mean, "ascended": a - f}
        found = {name: _minimum(share, lam) for name, share in shares.items() if share / lam > -1.0 / math.e}
        where = f"a = {a:.3f}, f = {f:.3f}, |R| = {kept}, |F| = {gone}, λ = {lam:.3f}"
        forms += [
            Sample(abs(found[name] - float(lambertw(shares[name] / lam).real)), 1e-9 * (1.0 + abs(found[name])), where)
            for name in found
            if shares[name] / lam > -0.3
        ]
        if "ascended" not in found:
            continue
        before, after = (abs(found[name] - found["retrained"]) for name in ("trained", "ascended"))
        written.append(Sample(after, before, where))
        away = (found["ascended"] - found["trained"]) * (found["trained"] - found["retrained"])
        inside = a * gone / (kept + 2 * gone) < f < a
        forms.append(Sample(-away if inside else 0.0, 1e-12, where))
        moved += after > before
    far = max(written, key=lambda each: each.residual / max(each.bound, 1e-300))
    return Evidence(
        written=worst(written, "distance to the retrained optimum after ascent, against before", factor=1.0 + 1e-9),
        corrected=worst(forms, "roots against Lambert's W, and the wrong side where f lies between", factor=1.0),
        counterexample={"instance": far.where, "before": far.bound, "after": far.residual},
        remarks=(f"Ascent moved away from the retrained optimum in {moved} of {len(written)} cases.",),
    )


def _minimum(share: float, lam: float) -> float:
    """The stationary point of share·e^{−w} + (λ/2)w² that is a minimum: λw = share·e^{−w}, w > −1."""
    low, high = (-1.0, 0.0) if share < 0.0 else (0.0, max(1.0, share / lam))
    return float(root_scalar(lambda w: lam * w * math.exp(w) - share, bracket=(low, high), xtol=1e-14).root)


@claim(
    id="steps-to-flow",
    section=SECTION,
    source="the limit of gradient descent, in which the notes work",
    statement="The least distance that a schedule leaves in T/η steps of gradient descent tends to the flow's as O(η).",
    as_written="|𝓔*_η − 𝓔*| ≤ Cη",
    expected=Kind.HOLDS,
)
def steps_to_flow(trial: Trial) -> Evidence:
    """Certified optima of gradient descent at η and η/2 beside the certified optimum of the flow."""
    samples = []
    for name, problem, start in trial.regressions(data=False)[: trial.count(3, 20)]:
        # Eigenvalues near 4: in half a unit of time neither training nor the deletion is over.
        flow = optimal_schedule(problem, start, s=0.1, T=0.5)
        costs = [
            optimal_schedule(problem, start, s=count // 5, T=count, step_size=0.5 / count).cost for count in (20, 40)
        ]
        first, second = (abs(cost - flow.cost) for cost in costs)
        # Halving η halves the difference, up to its next order: η·λ_max/2, a tenth here.
        samples.append(Sample(second, 0.65 * first + 1e-6 * flow.cost, name))
    return Evidence(written=worst(samples, "what halving η leaves of the difference", factor=1.0))
