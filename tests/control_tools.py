"""The wings of `control`, asked about a task: what stands in them takes the linear problem."""

import numpy as np

from epsflow.control import ControlTask
from epsflow.control._task import linear_of
from epsflow.control.bounds import _ascent, _branching, _dual
from epsflow.control.bounds._paths import Paths
from epsflow.control.bounds._sets import Reach
from epsflow.control.bounds._together import run
from epsflow.control.polish import _exact, _optimum, _reach
from epsflow.control.terms._levels import arcs_of


def certify_signs(task: ControlTask):
    return _dual.certify_signs(Paths([linear_of(task)]))


def dual_bound(task: ControlTask, miss):
    """D(Lz) for z = `miss`, in the coordinates of θ."""
    linear = linear_of(task)
    signs = _dual.settled_signs(linear, "the dual bound")
    return _dual.evaluate_dual(Paths([linear]), image(linear, miss), signs)


def maximise_dual(task: ControlTask, miss):
    linear = linear_of(task)
    return _ascent.maximise_dual(Paths([linear]), image(linear, miss), certify_signs(task).signs)


def mixed_bound(task: ControlTask, cost: float, miss, **limits):
    linear = linear_of(task)
    search = _branching.branching(Reach.of(0, linear), certify_signs(task), cost, image(linear, miss), **limits)
    return run(search, Paths([linear]))


def polish(task: ControlTask, schedule, **limits):
    return _exact.polish_linear(linear_of(task), *arcs_of(schedule, task.s, task.T), **limits)


def linear_optimum(task: ControlTask):
    return _optimum.linear_optimum(linear_of(task))


def exact_schedule(task: ControlTask):
    return _reach.reach(linear_of(task))


def image(linear, miss):
    return linear.form.image(np.asarray(miss) @ linear.basis)


def converged(polished: _exact.Polished) -> bool:
    """The PMP gap is rounding, and the Hessian is not indefinite."""
    hessian, extremal = polished.derivatives.hessian, polished.extremal
    least = np.linalg.eigvalsh(hessian)[0] if hessian.size else 0.0
    # What is left of a gap when every switch is off by rounding: S' h² summed over the switches.
    settled = extremal.pmp_gap <= 1e-9 * polished.survey.cost + extremal.cost_error
    return polished.exact or bool(settled and least >= -1e-9 * np.abs(hessian).max(initial=0.0))
