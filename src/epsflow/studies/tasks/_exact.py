"""The task "exact": whether, and how soon, the leave-out optimum can be reached exactly in finite time."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array, ConvergenceError
from ...control import exact_unlearning_time
from ...flow import equilibrium, gradient_flow
from ...problem import Problem
from ...schedules import Constant
from .._rows import Row, Value
from .._specification import Specification
from .._statistics import bootstrap
from ._findings import NOTE, Drawing, Findings, Groups, Table, column, everything, picked, share_of, units
from ._task import AbstractTask, Answer


class Exact(AbstractTask[Specification]):
    """How often a point can be forgotten exactly."""

    def one(self, specification: Specification, row: Row, problem: Problem, theta0: Float[Array, " d"]) -> Answer:
        """As `AbstractTask`."""
        s, T = float(row.inputs["s"]), float(row.inputs["T"])
        answer = exact_unlearning_time(problem, theta0, s=s, bounds=specification.bounds, horizon=T)
        if np.isnan(answer.time):
            raise ConvergenceError(answer.reason, answer)
        at_s = gradient_flow(problem, Constant(1.0), theta0, ts=np.array([s])).end if s > 0.0 else theta0
        outputs: dict[str, Value] = {
            "time": float(answer.time),
            "not_before": float(answer.not_before),
            "reached": bool(np.isfinite(answer.time)),
            "certified": bool(answer.certified),
            "distance": float(answer.distance),
            "distance_at_s": float(jnp.linalg.norm(at_s - equilibrium(problem, eps=0.0).theta)),
        }
        return Answer(outputs)

    def summarise(self, specification: Specification, groups: Groups) -> Findings:
        """As `AbstractTask`: how often it is reached, and the time that takes."""
        body, shares = [], {}
        for name, rows in groups.items():
            reached = column(rows, "reached") > 0.5
            some = picked(rows, reached)
            waited = column(some, "time") - np.array([float(row.inputs["s"]) for row in some])
            time = bootstrap(waited, np.nanmedian, units(some))
            share = share_of(rows, reached)
            body.append((name, len(rows), share, share_of(rows, column(rows, "certified") > 0.5), time))
            shares[name] = tuple(share)
        rows = everything(groups)
        share = share_of(rows, column(rows, "reached") > 0.5)
        caption = "Share of runs in which the leave-out optimum can be reached exactly within T (95 % intervals)."
        arguments = {"values": shares, "label": "share of runs that reach it exactly"}
        columns = ("problems", "runs", "reached exactly", "certified", "median time after s")
        return Findings(
            answer=(f"The leave-out optimum is reached exactly, in finite time, in {share} of {len(rows)} runs.",),
            tables=(Table(title="Exact unlearning", columns=columns, rows=tuple(body), note=NOTE),),
            drawings=(Drawing(name="exact", kind="intervals", caption=caption, arguments=arguments),),
        )
