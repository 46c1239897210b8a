"""The wings of `control`, asked about a task: what stands in them takes the linear problem."""

import numpy as np

from epsflow.control import ControlTask
from epsflow.control._task import control_of
from epsflow.control.bounds import _branching, _dual
from epsflow.control.polish import _linear, _optimum, _reach
from epsflow.control.terms._levels import arcs_of


def certify_signs(task: ControlTask):
    return _dual.certify_control(control_of(task))


def dual_bound(task: ControlTask, miss):
    """D(Lz) for z = `miss`, in the coordinates of θ."""
    control = control_of(task)
    signs = _dual.settled_signs(control, "the dual bound")
    return _dual.evaluate_dual(control, image(control, miss), signs)


def maximise_dual(task: ControlTask, miss):
    control = control_of(task)
    return _dual.maximise_control(control, image(control, miss), certify_signs(task).signs)


def mixed_bound(task: ControlTask, cost: float, miss, **limits):
    control = control_of(task)
    return _branching.branch(control, cost, image(control, miss), **limits)


def polish(task: ControlTask, schedule, **limits):
    return _linear.polish_control(control_of(task), *arcs_of(schedule, task.s, task.T), **limits)


def linear_optimum(task: ControlTask):
    return _optimum.linear_optimum(control_of(task))


def exact_schedule(task: ControlTask):
    return _reach.reach(control_of(task))


def image(control, miss):
    return control.form.image(np.asarray(miss) @ control.basis)
