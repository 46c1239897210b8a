"""Where rows are computed: in this process, in a pool of processes, or on a Dask cluster. The rows are the same.

A runner turns groups of rows into groups of outcomes, in any order; the store keeps each group when it arrives. How a
group is computed, as a stack or one by one, is a second, independent choice.
"""

import abc
import concurrent.futures
import contextlib
import multiprocessing
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .._core import InputError, install_command
from ._compute import Method, compute
from ._errors import StoreError
from ._rows import Outcome, Row
from ._specification import Specification
from ._worker import serve

Groups = Sequence[Sequence[Row]]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
"""Workers share the machine: each takes one core."""
ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://.+:\d+|inproc://.+")
"""What Dask's schedulers listen at."""


class Runner(abc.ABC):
    """Computes groups of rows somewhere.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> isinstance(ef.studies.Here(), ef.studies.Runner), study.run(runner="here").done
        (True, 3)
    """

    @abc.abstractmethod
    def __call__(self, specification: Specification, groups: Groups, method: Method) -> Iterator[list[Outcome]]:
        """Outcomes of every group, group by group, in any order."""


@dataclass(frozen=True)
class Here(Runner):
    """In this process, one group after another.

    Example:
        >>> study = ef.Study("tiny", problems=[{"kind": "random", "draws": 3}], s=[1.0], T=[6.0])
        >>> study.run(runner=ef.studies.Here()).done
        3
    """

    def __call__(self, specification: Specification, groups: Groups, method: Method) -> Iterator[list[Outcome]]:
        """As `Runner`."""
        text = specification.to_json()
        for group in groups:
            yield compute(text, group, method)


@dataclass(frozen=True)
class Processes(Runner):
    """In a pool of processes on this machine, each with one thread.

    Example:
        >>> ef.studies.Processes(workers=2)
        Processes(workers=2)

    Attributes:
        workers: how many; default: one per core.
    """

    workers: int | None = None

    def __call__(self, specification: Specification, groups: Groups, method: Method) -> Iterator[list[Outcome]]:
        """As `Runner`.

        Raises:
            StoreError: a worker died (killed, or out of memory); what was kept before is kept.
        """
        # Fresh interpreters: JAX and its threads do not survive a fork.
        context, text = multiprocessing.get_context("spawn"), specification.to_json()
        others, complete = set(multiprocessing.active_children()), False
        with _environment(ONE_THREAD):
            pool = concurrent.futures.ProcessPoolExecutor(self.workers, context, initializer=serve)
            try:
                futures = [pool.submit(compute, text, group, method) for group in groups]
                for future in concurrent.futures.as_completed(futures):
                    yield future.result()
                complete = True
            except concurrent.futures.process.BrokenProcessPool as error:
                raise StoreError(
                    "a worker process died; the rows kept so far are intact. Run it again; in a script, below "
                    "`if __name__ == '__main__':`, because every worker imports the script."
                ) from error
            finally:
                pool.shutdown(wait=complete, cancel_futures=True)
                for worker in () if complete else set(multiprocessing.active_children()) - others:
                    worker.terminate()  # what is in flight is computed again; waiting for it would not be stopping


@dataclass(frozen=True)
class Dask(Runner):
    """On a Dask cluster: a scheduler's address, or a local cluster. Work of a worker that dies goes to another one.

    Example:
        >>> ef.studies.Dask(workers=2)
        Dask(address=None, workers=2)
        >>> ef.studies.Dask("my-cluster")
        Traceback (most recent call last):
            ...
        epsflow.InputError: 'my-cluster' is not the address of a Dask scheduler; write …

    Where JAX sees several devices, each worker computes on one of them.

    Attributes:
        address: of a scheduler, such as "tcp://10.0.0.1:8786"; None for a local cluster that lives as long as the run.
        workers: of the local cluster; default: one per core.
    """

    address: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        """Refuse an address at which there cannot be a scheduler, which distributed takes 20 s to find out."""
        if self.address is not None and not ADDRESS.fullmatch(self.address):
            raise InputError(
                f"{self.address!r} is not the address of a Dask scheduler; write dask:tcp://HOST:PORT, or dask alone "
                "for a local cluster."
            )

    def __call__(self, specification: Specification, groups: Groups, method: Method) -> Iterator[list[Outcome]]:
        """As `Runner`.

        Raises:
            InputError: Dask is not installed, or no scheduler answers at the address.
            StoreError: a group's workers died again and again.
        """
        distributed = _distributed()
        text = specification.to_json()
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(self._client(distributed, stack))
            futures = [
                client.submit(compute_on_own_device, text, group, method, pure=False, retries=3) for group in groups
            ]
            for future in distributed.as_completed(futures, loop=client.loop):
                try:
                    outcomes = future.result()
                except distributed.KilledWorker as error:
                    raise StoreError(f"workers died on the same rows again and again ({error}).") from error
                future.release()
                yield outcomes

    def _client(self, distributed: Any, stack: contextlib.ExitStack) -> Any:
        if self.address is None:
            stack.enter_context(_environment(ONE_THREAD))
            options = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
            cluster = distributed.LocalCluster(n_workers=self.workers or os.cpu_count(), **options)
            return distributed.Client(stack.enter_context(cluster), set_as_default=False)
        try:
            return distributed.Client(self.address, timeout="10s", set_as_default=False)
        except (OSError, ValueError) as error:
            raise InputError(f"no Dask scheduler answers at {self.address!r} ({error}).") from error


def compute_on_own_device(text: str, group: Sequence[Row], method: Method) -> list[Outcome]:
    """As `compute`, in a Dask worker, on the JAX device that is the worker's own where there are several."""
    import distributed
    import jax

    with jax.default_device(device_of(distributed.get_worker().name, jax.devices())):
        return compute(text, group, method)


def device_of(name: object, devices: Sequence[Any]) -> Any:
    """The device of a worker: workers numbered by their cluster take turns, others are told by their names."""
    number = name if isinstance(name, int) else zlib.crc32(str(name).encode())
    return devices[number % len(devices)]


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise InputError(f"the Dask runner needs dask and distributed: {install_command('studies')}.") from error
    return distributed


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that child processes are to see; what was set before stays, and comes back afterwards."""
    added = {key: value for key, value in values.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def runner_of(name: str, workers: int | None = None) -> Runner:
    """A runner by its name: "here", "processes", "dask", or "dask:ADDRESS".

    Raises:
        InputError: another name, or a number of workers below 1.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; at least one is needed.")
    if name == "here":
        return Here()
    if name == "processes":
        return Processes(workers)
    if name == "dask" or name.startswith("dask:"):
        return Dask(name[5:] or None, workers)
    raise InputError(f"unknown runner {name!r}; choose here, processes, dask, or dask:tcp://HOST:PORT.")
