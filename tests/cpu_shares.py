"""CPU seconds of every room's tests, below the slowest tests of a run with `--durations=N`."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest


def used() -> float:
    """CPU seconds of this process so far, all threads, and of those it has waited for."""
    return sum(os.times()[:4])


class CpuShares:
    """A plugin; a process of pytest-xdist measures, and sends what it measures with its reports."""

    def __init__(self) -> None:
        self.tests: dict[str, float] = defaultdict(float)
        self.workers: list[float] = []
        self.last = used()

    def pytest_collection_finish(self) -> None:
        self.last = used()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Iterator[Any]:
        report = yield
        self.last, since = used(), self.last
        report.cpu_seconds = self.last - since
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.tests[report.nodeid] += report.cpu_seconds

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["cpu_seconds"] = used()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.workers.append(getattr(node, "workeroutput", {}).get("cpu_seconds", 0.0))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if terminalreporter.config.option.durations is None:
            return
        rooms: dict[str, list[tuple[float, str]]] = defaultdict(list)
        for nodeid, seconds in self.tests.items():
            rooms[PurePosixPath(nodeid.partition("::")[0]).parent.as_posix()].append((seconds, nodeid))
        # What this process has waited for are its workers, where it has any.
        total = sum(self.workers) + sum(os.times()[:2]) if self.workers else used()
        sums = {room: sum(seconds for seconds, _ in tests) for room, tests in rooms.items()}
        terminalreporter.write_sep("=", "CPU seconds by room")
        for room in sorted(sums, key=sums.__getitem__, reverse=True):
            dearest, nodeid = max(rooms[room])
            terminalreporter.write_line(
                f"{sums[room]:7.1f} {sums[room] / total:5.1%} {len(rooms[room]):5} {room}; {dearest:.1f} {nodeid}"
            )
        rest = total - sum(sums.values())
        terminalreporter.write_line(f"{rest:7.1f} {rest / total:5.1%}       imports and collection")
        terminalreporter.write_line(f"{total:7.1f}       {len(self.tests):5} in all")
