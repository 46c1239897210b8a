"""A CSV file of your own: read it, find the points that matter, and ask which of them are hard to forget."""

import jax
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

# Stands for your file: a header, one point per line, the target in the column that is named below.
rng = np.random.default_rng(1)
speed, load = rng.uniform(0.0, 3.0, 60), rng.normal(size=60)
wear = 0.8 * speed + 0.3 * load + 0.2 * rng.normal(size=60)
wear[[7, 30]] += (3.0, -2.5)  # two entries somebody mistyped
lines = [f"{a:.6f},{b:.6f},{c:.6f}" for a, b, c in zip(speed, load, wear, strict=True)]
with open("wear.csv", "w", encoding="utf-8") as file:
    file.write("\n".join(["speed,load,wear", *lines]) + "\n")

data = ef.read_csv("wear.csv", target="wear")  # standardised
distances = ef.leverage(ef.linear_regression(data)).cooks_distance
suspects = np.argsort(-distances)[:4]
print("largest Cook's distances:", ", ".join(f"{j} ({distances[j]:.3f})" for j in suspects))

for j in suspects:
    problem = ef.linear_regression(data, [int(j)], reduction="mean")
    best = ef.optimal_schedule(problem, np.zeros(problem.dim), s=1.0, T=6.0)
    at_once = ef.certify(problem, ef.Step(1.0), np.zeros(problem.dim), s=1.0, T=6.0)
    arcs = ", ".join(f"ε = {arc.level:g} until {arc.end:.4g}" for arc in best.arcs)
    print(f"point {j:2}: dropping it at once costs {at_once.cost / best.cost:.4f} × the optimum ({arcs})")
