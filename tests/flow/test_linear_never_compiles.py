"""Linear regression is NumPy: in a fresh process nothing of it is compiled."""

import os
import subprocess
import sys
import textwrap

import pytest

HEAR = """
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import epsflow as ef
compiled = []
def listen(event, duration, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(event)
jax.monitoring.register_event_duration_secs_listener(listen)
"""

QUESTIONS = """
rng = np.random.default_rng(0)
data = ef.Dataset(rng.standard_normal((30, 4)), rng.standard_normal(30))
ts, theta, schedules = np.linspace(0.0, 5.0, 11), np.ones(4), []
for delete in ([3], [3, 7]):
    problem = ef.linear_regression(data, delete, l2=0.1, reduction="mean")
    problem.undetermined_direction()
    for ask in (problem.value, problem.gradient, problem.hessian, problem.point_gradients):
        ask(theta)
    problem.point_gradients(theta, [0, 1]), problem.hvp(theta, theta, 0.3), problem.ggn_product(theta, theta)
    schedules = [
        ef.Constant(0.3), ef.Step(2.0), ef.BangBang(1.0, [2.0], 3.0), ef.PiecewiseConstant([1.0, 2.0], [0.4]),
        ef.LinearDecay(1.0, 3.0), ef.PolynomialDecay(1.0, 3.0, 0.5), ef.ExponentialDecay(1.0, 2.0, 3.0),
    ]
    for schedule in schedules:
        schedule(ts), schedule(2.0), schedule.jump_ts
        if not isinstance(schedule, ef.Constant):
            ef.check_admissible(schedule, float(schedule.start), 3.0)
            window = dict(s=float(schedule.start), T=3.0)
            ef.certify(problem, schedule, theta, **window)
            along = ef.extremal(problem, schedule, theta, **window)
            along.theta(ts[4:6]), along.costate(2.0), along.switching(2.0), along.hamiltonian(2.5)
        path = ef.gradient_flow(problem, schedule, theta, ts=ts)
        path.end, path.error
        if path.method == "exact":
            path(2.5)
    ef.equilibrium(problem), ef.equilibrium(problem, eps=0.0)
    ef.homotopy(problem, theta0=theta, eps=np.linspace(0.0, 1.0, 5), ts=ts)
    ef.rewind_surface(problem, theta0=theta, s=np.linspace(0.0, 3.0, 5), T=ts)
best = ef.optimal_schedule(problem, theta, s=1, T=5, step_size=0.1, momentum=0.2, per_point=True)
best.switching(2.0), ef.ScheduleSolution.from_json(best.to_json(), problem)
for family in (ef.Step, ef.LinearDecay, ef.PolynomialDecay, ef.ExponentialDecay):
    space = family.search_space(1.0, 3.0)
    ef.schedules.build_members(space, np.array([space.lower, space.upper]))(np.array([1.5, 2.5]))
"""


@pytest.fixture(scope="module")
def fresh():
    """How many programs XLA compiles while a piece of Python runs in a process of its own."""

    def count(code: str) -> int:
        source = textwrap.dedent(HEAR) + code + "\nprint(len(compiled))"
        # The tests' compiler flags are not a user's, and a compilation found in a cache would not be heard.
        environment = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")}
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return count


def test_a_compilation_is_heard(fresh):
    assert fresh("jax.numpy.arange(3.0) + 1.0") > 0


def test_linear_regression_compiles_nothing(fresh):
    assert fresh(QUESTIONS) == 0
