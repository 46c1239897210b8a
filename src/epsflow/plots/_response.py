"""How the optimum answers to the weight of the deleted points, and how the loss falls in training."""

import numpy as np
from matplotlib.axes import Axes

from .._core import InputError, as_count
from ..analysis import ResponsePath
from ..flow import Training
from ._doors import drawn
from ._layout import legend_above
from ._style import BASELINE, LOOKS, panel, styled


@drawn
def response(result: ResponsePath, *, most: int = 3, ax: Axes | None = None) -> Axes:
    """Draw the path θ_k(ε) of the parameters that move most, and what influence functions make of it: its tangent.

    Example:
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> ef.plots.response(ef.response_path(line)).lines[0].get_label()
        'tangent at the first weight'

    Args:
        result: of `epsflow.response_path`.
        most: how many parameters are drawn.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: a path that broke down at once.
    """
    reached = np.isfinite(result.thetas).all(axis=1)
    if reached.sum() < 2:
        raise InputError("this path broke down before its second weight: there is nothing to draw.")
    eps, thetas = result.eps[reached], result.thetas[reached] - result.thetas[0]
    chosen = np.argsort(-np.abs(thetas).max(axis=0), kind="stable")[: as_count(most, "most")]
    with styled():
        drawn = panel(ax)
        for k, parameter in enumerate(chosen.tolist()):
            tangent = result.theta_dot[0, parameter] * (eps - eps[0])
            label = None if k else "tangent at the first weight"
            drawn.plot(eps, tangent, label=label, **BASELINE.line())
            look = LOOKS[k % len(LOOKS)].line()
            drawn.plot(eps, thetas[:, parameter], label=f"$\\theta_{{{parameter}}}$", **look)
        drawn.set_xlim(eps[0], eps[-1])
        drawn.set_xlabel("weight of the deleted points $\\varepsilon$")
        drawn.set_ylabel("change of the optimum\n(units of $\\theta$)")
        legend_above(drawn, columns=4)
    return drawn


@drawn
def losses(result: Training, *, ax: Axes | None = None) -> Axes:
    """Draw the loss of each step's batch, on a logarithmic axis where all are positive.

    Example:
        >>> import optax
        >>> line = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0]], [1.0, 2.0, 3.0]), delete=[0])
        >>> run = ef.train_with(line, ef.Constant(1.0), np.zeros(1), optimiser=optax.sgd(0.1), steps=5)
        >>> ef.plots.losses(run).get_yscale()
        'log'

    Args:
        result: of `epsflow.train_with`.
        ax: where to draw. Default: a new figure.

    Raises:
        InputError: no step was taken.
    """
    if not len(result.losses):
        raise InputError("this training took no step: there is no loss to draw.")
    with styled():
        drawn = panel(ax)
        drawn.plot(np.arange(len(result.losses)), result.losses, **LOOKS[1]._replace(dashes="-", width=1.0).line())
        if result.losses.min() > 0.0:
            drawn.set_yscale("log")
        drawn.set(xlabel="step", ylabel="$R_\\varepsilon$ of the batch, before the step")
    return drawn
