"""When do points matter? A deep linear network learns a tree of items from the broad to the fine.

    python examples/stagewise.py

Draws the influence density of every item on the loss of one, windows of training without an item, and a posterior
around checkpoints, one above the other (stagewise.png); and the influence of items on two modes at checkpoints, which
peaks at the transitions (modes.png). Needs the extra [bayes]; some minutes.
"""

import jax
import numpy as np

import epsflow as ef
from epsflow.attribution import tree_network

jax.config.update("jax_enable_x64", True)

TS = np.linspace(0.0, 4.0, 81)
WINDOWS = [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]
CHECKPOINTS = (20, 40, 60, 80)


def main() -> None:
    tree = tree_network(2)
    print(f"modes of strength {np.round(tree.strengths, 2)}")
    losses = ef.Losses(tree.problem.model, tree.problem.loss, tree.problem.data.x[:1], tree.problem.data.y[:1])
    setting = tree.problem, ef.Constant(1.0), tree.theta0
    density = ef.influence_density(*setting, ts=TS, functional=losses)
    stages = ef.stages(density)
    print(stages.summary())
    windows = [ef.windowed_removal(*setting, ts=TS[[0, -1]], functional=losses, window=window) for window in WINDOWS]
    for window in windows:
        print(window)
    posterior = {"functional": losses, "gamma": 10.0, "sampler": "nuts", "draws": 500, "chains": 4}
    bayesian = {
        float(TS[k]): ef.bayesian_influence(tree.problem, density.thetas[k], key=jax.random.key(k), **posterior)
        for k in CHECKPOINTS
    }
    axes = ef.plots.stagewise(density, windows=windows, bayesian=bayesian, stages=stages, points=[0, 1, 2])
    ef.plots.save(axes, "stagewise.png")

    upper, lower = ef.plots.panels(2)
    for ax, mode in ((upper, 0), (lower, 2)):
        known = ef.checkpoint_influence(*setting, ts=2.0 * TS[2::2], functional=tree.mode(mode))
        ef.plots.influence(known, stages=ef.stages(known), ax=ax)
    ef.plots.save((upper, lower), "modes.png")


if __name__ == "__main__":
    main()
