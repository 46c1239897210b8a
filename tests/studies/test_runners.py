"""The same rows wherever they are computed."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import epsflow as ef
from epsflow.studies import Here, Study
from epsflow.studies._runners import Processes, device_of, runner_of
from study_tables import table


class Interrupted(Here):
    """Ctrl-C after the first group."""

    def __call__(self, *arguments):
        groups = super().__call__(*arguments)
        yield next(groups)
        raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_done_and_frees_the_store(make, finished: Study, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("epsflow.studies._study.STACK", 10)
    study = make()
    with pytest.raises(KeyboardInterrupt):
        study.run(runner=Interrupted())
    assert study.status()["done"] == 10
    study.run()
    assert table(study) == table(finished)


def test_progress_is_told(make):
    seen = []
    make().run(progress=seen.append, limit=12)
    assert (seen[-1].done, seen[-1].left) == (12, 12)
    assert seen[-1].throughput > 0.0
    assert seen[-1].seconds_left == pytest.approx(12 / seen[-1].throughput)


@pytest.mark.slow
def test_a_pool_of_processes(make, finished: Study):
    study = make()
    study.run(runner="processes", workers=2)
    assert table(study) == table(finished)


@pytest.mark.slow
def test_one_by_one_fills_the_same_table(make, finished: Study):
    """Costs to 1e-9 (see test_batch); inputs, keys and status exactly."""
    study = make()
    study.run(method="one by one", limit=3)
    for mine, theirs in zip(table(study), table(finished)[:3], strict=True):
        assert mine[:4] == theirs[:4]
        for name in ("cost_Step", "cost_LinearDecay", "cost_optimum"):
            assert mine[4][name] == pytest.approx(theirs[4][name], rel=1e-9, abs=1e-18)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # distributed warns of workers that die, which is what this test is about
def test_a_dask_cluster_whose_worker_is_killed(make, finished: Study, monkeypatch: pytest.MonkeyPatch):
    """Two workers; one is killed after the first group. Dask starts it again, and no row is lost."""
    import distributed

    monkeypatch.setattr("epsflow.studies._study.STACK", 4)
    options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=2, **options) as cluster:
        victim = next(iter(cluster.workers.values())).pid
        killed = []

        def kill_once(state) -> None:
            if not killed:
                killed.append(victim)
                os.kill(victim, signal.SIGKILL)

        study = make()
        study.run(runner=f"dask:{cluster.scheduler_address}", progress=kill_once)
    assert killed
    assert table(study) == table(finished)


@pytest.mark.slow
def test_workers_take_turns_on_the_devices():
    assert [device_of(worker, "abc") for worker in range(5)] == ["a", "b", "c", "a", "b"]
    assert device_of("tcp://10.0.0.1:4000", "abc") == device_of("tcp://10.0.0.1:4000", "abc")


def test_a_pool_whose_worker_dies_says_so(make):
    """The rows kept before stay; the run ends with a clear error instead of waiting for ever."""
    study = make(problems=[{"kind": "random", "d": 10, "n": 40, "draws": 400}])
    before = set(_children())
    stop = threading.Thread(target=_kill_a_child, args=(before,))
    stop.start()
    with pytest.raises(ef.studies.StoreError, match="a worker process died"):
        study.run(runner=Processes(1))
    stop.join()


def _children() -> list[int]:
    import psutil  # of distributed

    return [process.pid for process in psutil.Process().children(recursive=True)]


def _kill_a_child(before: set[int]) -> None:
    for _ in range(600):
        time.sleep(0.1)
        for pid in _children():
            if pid not in before and "spawn_main" in _command(pid):
                os.kill(pid, signal.SIGKILL)
                return


def _command(pid: int) -> str:
    import psutil

    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""


PARENT = """
import multiprocessing, os, time
from epsflow.studies._worker import serve

def work():
    serve()
    print(os.getpid(), flush=True)
    time.sleep(60.0)

multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(60.0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the worker is a fork, which is quick")
def test_a_worker_outlives_ctrl_c_and_not_its_parent():
    """Killed by `kill -9`, a parent cannot stop its workers: they stop themselves."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(worker, signal.SIGINT)
    time.sleep(0.1)
    os.kill(worker, 0)
    parent.kill()
    # The pipe is the worker's as well: it is at its end when both are gone.
    assert parent.stdout.read() == ""
    parent.wait()
    parent.stdout.close()


@pytest.mark.parametrize(
    ("name", "workers", "reason"),
    [
        ("dask:foo", None, "'foo' is not the address of a Dask scheduler; write dask:tcp://HOST:PORT"),
        ("dask:xyz://a:1", None, "'xyz://a:1' is not the address"),
        ("threads", None, "unknown runner 'threads'"),
        ("processes", 0, "workers is 0; at least one"),
    ],
)
def test_a_runner_that_is_none(name: str, workers: int | None, reason: str):
    with pytest.raises(ef.InputError, match=reason):
        runner_of(name, workers)


def test_a_method_that_is_none(make):
    with pytest.raises(ef.InputError, match="method is 'fast'; choose 'stack' or 'one by one'"):
        make().run(method="fast")


def test_no_rows_at_all_is_no_limit(make):
    with pytest.raises(ef.InputError, match="limit is 0; at least one row is needed"):
        make().run(limit=0)
