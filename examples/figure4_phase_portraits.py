"""Figure 4 of the notes: phase portraits for twenty points and two parameters, from several starts.

(a) ε is dropped far too late; (b) kept until the right moment, the point speeds the flow up; (c) every ε > 0 is a
detour; (d) linear decay is slower than the best step; (e), not in the notes: from another start it is faster.
Costs 𝓔 stand in the legends, and the optimal schedule is added to each panel. Writes figure4-a.png to figure4-e.png.
"""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

s, T = 0.5, 6.0

# One outlier (point 0) pulls the fit; it is what has to be forgotten.
rng = np.random.default_rng(4)
x = rng.standard_normal((20, 2))
x[:, 1] = 0.6 * x[:, 0] + 0.5 * x[:, 1]
y = x @ np.array([1.0, -0.5]) + 0.3 * rng.standard_normal(20)
x[0], y[0] = [1.5, -2.0], 5.0
problem = ef.linear_regression(ef.Dataset(x, y), delete=[0], reduction="mean")
target = np.asarray(ef.equilibrium(problem, eps=0.0).theta)

panels = {
    "a": ("dropped too late", 30.0, lambda best: {"ε = 1 until 0.8 T": ef.Step(0.8 * T), "best step": best.schedule}),
    "b": ("ε > 0 is faster", 120.0, lambda best: {"1 until s": ef.Step(s), "best step": best.schedule}),
    "c": ("every ε > 0 is a detour", 240.0, lambda best: {"1 until s": ef.Step(s), "1 until T/2": ef.Step(0.5 * T)}),
    "d": ("linear decay is slower than the step", 300.0, lambda best: {"best step": best.schedule}),
    "e": ("but not always: here it is faster", 180.0, lambda best: {"best step": best.schedule}),
}
for name, (title, angle, choose) in panels.items():
    turn = np.radians(angle)
    start = target + 2.0 * np.array([np.cos(turn), np.sin(turn)])
    best = ef.best_in_family(problem, ef.Step, start, s=s, T=T)
    schedules = choose(best)
    if name in "de":
        schedules["best linear decay"] = ef.best_in_family(problem, ef.LinearDecay, start, s=s, T=T).schedule
    optimum = ef.optimal_schedule(problem, start, s=s, T=T)
    schedules["optimal schedule"] = optimum.schedule
    print(f"({name}) {title}")
    paths = {}
    for label, schedule in schedules.items():
        path = ef.gradient_flow(problem, schedule, start, ts=T * np.linspace(0.0, 1.0, 400) ** 2)
        cost = 0.5 * float(np.sum((np.asarray(path.end) - target) ** 2))
        paths[f"{label}, $\\mathcal{{E}}$ = {cost:.4g}"] = path
        print(f"    {label:20} 𝓔 = {cost:.4g}")
    print(f"    the optimum is {optimum.status.value}, {optimum.scope.value}")
    axes = ef.plots.phase_portrait(problem, paths)
    axes.set_title(f"({name}) {title}", loc="left", pad=86.0)
    ef.plots.save(axes, f"figure4-{name}.png")
