"""The notes in their own words: for every statement of theirs the sentence that is put to the test.

Quoted from "Weekly meetings", the notes on gradient flow and unlearning that this library works from; mathematics is
set in Unicode, and [...] marks what is left out. Claims about other work have no quotation here: their source names it.
"""

QUOTATIONS: dict[str, str] = {
    "if-closed-form": (
        "Assuming that L is strongly convex in θ, we can rewrite the previous quantities in the closed forms"
    ),
    "loss-closed-form": "It measures how much the training error changes when the data point z̄ is removed.",
    "if-is-newton": (
        "From this expression is also clear that the Influence Function estimator represents the parameter after one "
        "step of the Newton algorithm starting from θ̂"
    ),
    "response-taylor": "Since r̂ is differentiable at 0, we can expand with Taylor at first order",
    "ggn-pd": "Note that the damped GNH is always positive definite, as long as H_θ̂ is SPD.",
    "damped-linearisation": (
        "We can get the previous formula by linearizing the response function of the regularized loss"
    ),
    "bregman-nonneg": "This quantity is always non-negative as long as ℓ is convex.",
    "pbrf-linearisation": "The interesting property of this object is that the linearized PBRF satisfies",
    "pbrf-removes-gaps": "The PBRF formulation eliminates the first three gaps.",
    "fig1-largest": "The main focus is that the largest components are the first three.",
    "projection": "we call P = X(XᵀX)⁻¹Xᵀ, as it is an orthogonal projection on ran(X).",
    "leverage-vs-Q": (
        "if we consider X = JF(θ) as the X in our case, then the influence loss difference is approximately the same "
        "as the leverage."
    ),
    "gauss-newton-footnote": (
        "This is acceptable when the parameter is close to optimal, since the sum annihilates for optimal parameters."
    ),
    "leverage-loo": (
        "an expression of interest that involves both leverage and influence functions is the following (cf. [4])"
    ),
    "ols-if-sign": "Let's compute all the quantities we defined so far in the case of OLS with the euclidean loss.",
    "ols-pbrf": "note that in this case θ_s = θ̂ since we can compute it explicitly.",
    "implicit-derivative": "We can write I(j) explicitly as: I(j) = −H_{R_j}⁻¹ ∇_θ ℓ_j(θ*_{-j})",
    "q-derivatives": "The following formulae hold",
    "newton-vs-if": (
        "Unfortunately, I(j) and I_Nt(j) are close when the smallest eigenvalue of the hessian is big, which is not "
        "always the case."
    ),
    "jacobian-column": "Is there a link between θ̇^j and Jθ?",
    "flow-regularity": ("since we are assuming ℓ ∈ C², we know that at least ξ ∈ C²_t × C⁰_ε (even Lipschitz in ε)."),
    "flow-limit": "can be seen as a homotopy between the learning trajectories in the parameters' space",
    "second-derivative-bound": "Assuming θ(ε) is C², we can give the bound",
    "fig3-linearity": "the distance from the target function does not affect the linearity of the trajectory.",
    "rewind-limit": "If T = ∞, then for any s < ∞ it holds that θ(∞, s) = θ*_{-j}",
    "lrgf-closed-form": (
        "This is a linear ODE, so, when H is invertible, we can find an explicit solution, which reads"
    ),
    "lemma-0.0.1": "The system LRGF has a unique asymptotically stable equilibrium point",
    "eps-scaling": (
        "In order to extend this to the case of every other ε ∈ (0, 1), consider y_ε^j = (y_1, …, εy_j, …, y_n) and "
        "similarly X_ε^j"
    ),
    "step-cost": "Computed on our baseline (i.e., ε_s(t) = 1_[0,s](t)), this quantity is",
    "no-closed-form": "we cannot obtain a closed form solution anymore.",
    "lemma-0.0.2": "the τ that minimizes 𝓔(ε_τ) in [...] is either τ = s or the solution of",
    "trained-start": "for example if θ_0 = θ*, then clearly we have no solution.",
    "example-identity": ("the only time when this solution exists is for d = 1 and indeed yields τ = 0."),
    "theta0-or-y": "I think it's equivalent to study the problem fixing θ_0 or y",
    "corollary-switch": ("the optimal switch time τ* is greater than s if and only if 1 < ‖y‖² < 2/(1 + e^{−τ})."),
    "linear-decay-system": (
        "Note that this system is a special case of an inhomogeneous Lotka-Volterra system and it has no closed form "
        "solution."
    ),
    "greedy-substitution": (
        "Substituting t = 0 in 0.15 and computing explicitly the derivative of θ(t, ε) from 0.11 yields"
    ),
    "greedy-example": "then the biggest step is actually achieved by ε = 1.",
    "zero-is-best": "My hope is that we always get that optimality is achieved by setting ε = 0 for every instance.",
    "step-is-best": "is a step function really the best choice for ε(t)?",
    "bang-bang": "from my perspective the optimal solution should be a step function",
    "fig4-late": "changing ε too late in the training results in way worse results compared to (b)",
    "fig4-faster": "if chosen carefully, ε > 0 can be faster than LOO.",
    "fig4-zero": "choosing a different initial condition, as shown in (c), can lead to every ε > 0 to be suboptimal.",
    "fig4-linear": "Figure (d) shows that linear decay is slower than stepwise decay.",
    "d2d-convex-only": (
        "such guarantees only hold in the convex case and cannot be extended to the more general setting"
    ),
    "r2d-fewer-steps": "the iterations required are much less than the total training time T (required by LOO).",
    "d2d-tighter": "D2D provides tighter bounds for the undistinguishability",
    "shapley-vs-influence": (
        "the authors prove that their Shapley values-based method performs better on this task rather than influence "
        "function methods."
    ),
}
