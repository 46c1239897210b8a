"""The task "rewind": distances of rewind- and descend-to-delete to retraining, against the time K that both spend."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError
from ...analysis import descend_to_delete, rewind_to_delete
from ...control import LinearBatch, rewound as rewound_stack
from ...flow import equilibrium, gradient_flow
from ...problem import Problem
from ...schedules import Constant
from .._rows import Row, Value
from .._specification import Axis, Specification, Time
from ._findings import NOTE, Drawing, Findings, Groups, Table, column, everything, share_of
from ._task import AbstractStackedTask, Answer


class RewindSpecification(Specification):
    """A study of rewinding.

    Attributes:
        depths: K, ascending, at most the least T.
    """

    task: str = "rewind"
    depths: Axis[Time] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)


class Rewind(AbstractStackedTask[RewindSpecification]):
    """How far training must be rewound."""

    specification: ClassVar[type[Specification]] = RewindSpecification

    def check(self, specification: RewindSpecification) -> None:
        """As `AbstractTask`."""
        depths = list(specification.depths)
        if depths != sorted(depths) or depths[-1] > min(specification.T):
            raise InputError("depths must ascend and not exceed the least T: one cannot rewind past the start.")

    def one(self, specification: RewindSpecification, row: Row, problem: Problem, theta0: Float[Array, " d"]) -> Answer:
        """As `AbstractTask`."""
        T, depths = float(row.inputs["T"]), np.array(specification.depths)
        target = equilibrium(problem, eps=0.0, theta0=theta0).theta
        trained = gradient_flow(problem, Constant(1.0), theta0, ts=np.array([T])).end
        rewound = rewind_to_delete(problem, theta0, T=T, K=depths, target=target)
        descended = descend_to_delete(problem, trained, time=depths, target=target)
        return _answer(depths, np.asarray(rewound.distance), np.asarray(descended.distance))

    def stack(self, specification: RewindSpecification, rows: Sequence[Row], batch: LinearBatch) -> list[Answer | None]:
        """As `AbstractStackedTask`."""
        depths = np.array(specification.depths)
        return [_answer(depths, *curves) for curves in zip(*rewound_stack(batch, depths), strict=True)]

    def summarise(self, specification: RewindSpecification, groups: Groups) -> Findings:
        """As `AbstractTask`: both distances against K, and from which K on rewinding ends nearer."""
        depths = np.array(specification.depths)
        body, bands = [], {}
        for name, rows in groups.items():
            rewound, descended = (np.stack([row.arrays[key] for row in rows]) for key in ("rewound", "descended"))
            for k, depth in enumerate(depths):
                medians = [float(np.median(part[:, k])) for part in (rewound, descended)]
                nearer = share_of(rows, rewound[:, k] < descended[:, k] * (1.0 - 1e-9))
                body.append((name, len(rows), float(depth), *medians, nearer))
            if name != "all":
                for word, part in (("R2D", rewound), ("D2D", descended)):
                    bands[f"{word}: {name}"] = np.quantile(part, (0.25, 0.5, 0.75), axis=0)
        columns = ("problems", "runs", "K", "median distance, R2D", "median distance, D2D", "R2D nearer")
        title = "Distance to retraining after rewinding or descending for K"
        caption = "Distance to the leave-out optimum against K: medians, with quartiles shaded."
        arguments = {"x": depths, "values": bands, "xlabel": "K", "ylabel": "distance to the leave-out optimum"}
        return Findings(
            answer=(_sentence(column(everything(groups), "depth_rewind_wins")),),
            tables=(Table(title=title, columns=columns, rows=tuple(body), note=NOTE),),
            drawings=(Drawing(name="rewind-depth", kind="bands", caption=caption, arguments=arguments),),
        )


def _answer(depths: np.ndarray, rewound: np.ndarray, descended: np.ndarray) -> Answer:
    """The curves, and the least depth from which on rewinding ends nearer than descending."""
    behind = np.flatnonzero(rewound >= descended)
    first = int(behind[-1]) + 1 if behind.size else 0
    outputs: dict[str, Value] = {
        "distance_trained": float(descended[0]) if depths[0] == 0.0 else float("nan"),
        "distance_rewound": float(rewound[-1]),
        "distance_descended": float(descended[-1]),
        "depth_rewind_wins": float(depths[first]) if first < len(depths) else float("inf"),
    }
    return Answer(outputs, {"depth": depths, "rewound": rewound, "descended": descended})


def _sentence(wins: Float[np.ndarray, " n"]) -> str:
    finite = wins[np.isfinite(wins)]
    middle = f"the median least such K is {np.median(finite):g}" if len(finite) else "there is no such K"
    return (
        f"In {len(finite)} of {len(wins)} runs rewinding by some K in the study, and by all larger ones, ends nearer "
        f"to the leave-out optimum than descending for K; {middle}."
    )
