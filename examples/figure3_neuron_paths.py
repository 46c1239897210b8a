"""Figure 3 of the notes: how a three-neuron network moves as the weight ε of one of its points goes from 1 to 0.

A network with one hidden layer of three tanh neurons, trained on 20 points y_i = f_*(x_i) + ξ_i, where f_* is another
network of the same kind and ξ_i has variance 0.1. Left: the data, the deleted point and f_*. Right: the first neuron's
weight and bias along θ(ε), with the straight line between the two ends. The notes remark that the distance from f_*
does not decide how straight the path is; here it is measured, by the path's largest distance from its chord.

Writes figure3.png.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import epsflow as ef

jax.config.update("jax_enable_x64", True)

blank = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7F7F7F"
model = ef.MLP((1, 3, 1))
rng = np.random.default_rng(6)
x = np.sort(rng.uniform(-2.5, 2.5, 20))[:, None]
teacher = ef.Predictions(model, x)
theta_star = jnp.asarray(1.5 * rng.standard_normal(model.dim))
curve = np.asarray(teacher(theta_star))
y = curve + np.sqrt(0.1) * rng.standard_normal(20)

# A small penalty keeps the optimum isolated; training starts at the target's own parameters, for both points.
distances = np.abs(y - curve)
order = np.argsort(distances[4:16]) + 4
near, far = int(order[0]), int(order[-1])


def bend(path: np.ndarray) -> float:
    """The largest distance from the chord, in per cent of its length."""
    chord = path[-1] - path[0]
    away = path - path[0] - np.outer((path - path[0]) @ chord / (chord @ chord), chord)
    return 100.0 * float(np.linalg.norm(away, axis=1).max() / np.linalg.norm(chord))


figure, axes = plt.subplots(2, 2, figsize=(7.5, 6.0), layout="constrained")
for row, (j, words) in enumerate(((near, "near the target"), (far, "far from it"))):
    problem = ef.Problem(model, ef.SquaredLoss(), ef.Dataset(x, y), delete=[j], l2=0.05)
    trained = ef.equilibrium(problem, theta0=theta_star).theta
    path = np.asarray(ef.response_path(problem, trained, eps=np.linspace(1.0, 0.0, 41)).thetas)[:, [0, 3]]
    print(f"point {j}, {words}: |y − f_*(x)| = {distances[j]:.3f}, the path bends by {bend(path):.3f} % of its chord")
    data, neuron = axes[row]
    grid = np.linspace(-2.6, 2.6, 200)[:, None]
    data.plot(grid, ef.Predictions(model, grid)(theta_star), color=GREEN, label="target $f_*$")
    data.plot(grid, ef.Predictions(model, grid)(trained), color=GREY, linestyle="--", label="trained network")
    data.plot(x, y, "o", color=BLUE, markersize=4.0, label="data")
    data.plot(x[j], y[j], "D", color=ORANGE, markersize=7.0, label="deleted point")
    data.set(xlabel="$x$", ylabel="$y$", title=f"({'ac'[row]}) point {j}, {words}")
    neuron.plot(*path.T, color=BLUE, label=r"$\theta(\varepsilon)$")
    neuron.plot(*path[[0, -1]].T, color=GREY, linestyle="--", label="chord")
    for place, name, marker in (
        (0, r"$\varepsilon=1$", "s"),
        (20, r"$\varepsilon=0.5$", "o"),
        (-1, r"$\varepsilon=0$", "*"),
    ):
        neuron.plot(*path[place], marker, color=ORANGE, markersize=8.0)
        neuron.annotate(name, path[place], xytext=(-8, 8), textcoords="offset points", ha="right", bbox=blank)
    neuron.margins(0.25)
    neuron.locator_params(nbins=5)
    neuron.set(xlabel="weight of the first neuron", ylabel="bias of the first neuron")
    neuron.set_title(f"({'bd'[row]}) bends by {bend(path):.2g} % of its chord")
    neuron.legend()
axes[0, 0].legend(fontsize=8.0)
ef.plots.save(figure, "figure3.png")
