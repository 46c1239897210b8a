"""What every test stands on: float64, no display, checked shapes, fixed seeds."""

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jaxtyping
import numpy as np
import pytest
from hypothesis import settings

import type_checks
from cpu_shares import CpuShares

# Before any array is made, and before epsflow is imported: the hook wraps a module as it is loaded.
jax.config.update("jax_enable_x64", True)
# Tests run each compiled function a few times, so compiling quickly matters more than running quickly.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
os.environ["MPLBACKEND"] = "Agg"
jaxtyping.install_import_hook("epsflow", "beartype.beartype")
jaxtyping.jaxtyped = type_checks.once_per_kind  # which the hook writes before every definition

# The first example of a property compiles, which takes longer than any sensible deadline.
settings.register_profile("epsflow", deadline=None, derandomize=True)
settings.load_profile("epsflow")

CHECKOUT = Path(__file__).parents[1]


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(CpuShares())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def network():
    """A network of 13 parameters on 23 points, of which two are deleted, for trainings."""
    import epsflow as ef  # not before the hook

    rng = np.random.default_rng(3)
    x = rng.standard_normal((23, 2))
    data = ef.Dataset(x, np.sin(x[:, 0]) + 0.1 * rng.standard_normal(23))
    return ef.Problem(ef.MLP((2, 3, 1)), ef.SquaredLoss(), data, delete=[4, 11], l2=0.05, reduction="mean")


@pytest.fixture(scope="session")
def theta0(network):
    """Where its training begins."""
    return network.model.init(jax.random.key(0))


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """The list of what XLA compiles while the test runs."""
    events: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(f"{duration:.3f} s")

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data sets that are not part of the repository."""
    named = os.environ.get("EPSFLOW_SHARED_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"EPSFLOW_SHARED_DATA={named!r} is not a folder; correct it or unset it")
    pytest.skip(f"no shared data: {folder} does not exist and EPSFLOW_SHARED_DATA is not set")
