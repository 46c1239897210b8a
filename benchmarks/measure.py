"""What the benchmarks share: warm times, peak memory, and how both grow with n and d."""

import argparse
import contextlib
import ctypes
import gc
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

M_ARENA_MAX = -8  # glibc's malloc.h
STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

# One arena for all threads, of which `malloc_trim` can return everything: what was freed does not hide what is used.
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def best(work: Callable[[], Any], repeat: int) -> tuple[float, Any]:
    """The shortest of `repeat` runs, after one that warms up (and compiles)."""
    result, times = work(), []
    for _ in range(repeat):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return min(times), result


def peak_memory(work: Callable[[], Any]) -> float:
    """MB that a run of `work` takes at most, beyond what the process held before; NaN where the system is not Linux.

    Run it warm: compiling takes memory too. The largest of three runs counts.
    """
    peaks = []
    for _ in range(3):
        gc.collect()
        try:
            ctypes.CDLL(None).malloc_trim(0)
            RESET.write_text("5")  # the high-water mark falls to what is held
        except (OSError, AttributeError):
            return math.nan
        before = _held("VmRSS")
        work()
        peaks.append(max(0.0, _held("VmHWM") - before))
    return max(peaks)


def _held(name: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(name))
    return float(line.split()[1]) / 1e3


class Size(NamedTuple):
    """One row of a growth table."""

    n: int
    d: int
    seconds: float
    memory: float


def growth(
    console: Console,
    title: str,
    make: Callable[[int, int], tuple[Callable[[], Any], int]],
    operations: tuple[str, Callable[[int, int], float]],
    by_n: Iterable[tuple[int, int]],
    by_d: Iterable[tuple[int, int]],
    plot: str | None,
) -> None:
    """Time and peak memory against n and against d, as a table and, where `plot` names a file, as a log–log plot.

    Args:
        console: where the table goes.
        title: what is measured.
        make: from n and the number of features (or neurons) to the work and the number of parameters d.
        operations: what the time should be proportional to, in words and as a function of n and d.
        by_n, by_d: sizes, arguments of `make`, for the two panels.
        plot: a file, or None.
    """
    name, count = operations
    table = Table("n", "d", "ms", f"ns per {name}", "peak memory, MB", title=title)
    panels: list[list[Size]] = []
    for sizes in (by_n, by_d):
        made = [(n, *make(n, other)) for n, other in sizes]
        times = [best(work, 3)[0] for _, work, _ in made]
        peaks = [peak_memory(work) for _, work, _ in made]
        panels.append([Size(n, d, *cost) for (n, _, d), *cost in zip(made, times, peaks, strict=True)])
        for row in panels[-1]:
            unit = 1e9 * row.seconds / count(row.n, row.d)
            cells = f"{row.n:,}", f"{row.d:,}", f"{1e3 * row.seconds:.2f}", f"{unit:.3f}", f"{row.memory:.1f}"
            table.add_row(*cells)
        table.add_section()
    console.print(table)
    if plot:
        _draw(title, panels, plot)


def _draw(title: str, panels: list[list[Size]], path: str) -> None:
    import matplotlib.pyplot as plt  # only where a plot is asked for

    figure, axes = plt.subplots(2, 2, figsize=(7.5, 5.5), sharex="col", sharey="row", layout="constrained")
    for column, (rows, field, fixed) in enumerate(zip(panels, ("n", "d"), ("d", "n"), strict=True)):
        places = [getattr(row, field) for row in rows]
        axes[0, column].loglog(places, [row.seconds for row in rows], "o-", color="#0072B2")
        # No memory beyond what was held has no logarithm.
        axes[1, column].loglog(places, [max(row.memory, 0.1) for row in rows], "s-", color="#D55E00")
        axes[0, column].set_title(f"{fixed} = {getattr(rows[0], fixed):,}", fontsize=10)
        axes[1, column].set_xlabel("points n" if field == "n" else "parameters d")
        for axis in axes[:, column]:
            axis.set_xticks(places, [f"{place:,}" for place in places])
            axis.minorticks_off()
            axis.grid(visible=True, alpha=0.3)
    axes[0, 0].set_ylabel("time  (s)")
    axes[1, 0].set_ylabel("peak memory  (MB)")
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def arguments(description: str | None) -> argparse.Namespace:
    """The options that these benchmarks have in common."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--plot", metavar="FILE", help="write a log–log plot of time and memory against n and d")
    parser.add_argument("--no-growth", action="store_true", help="compare with the peers only")
    return parser.parse_args()
