"""Where a number came from: the versions that made it."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version


def provenance() -> dict[str, str]:
    """Versions of epsflow and of the libraries its numbers depend on, the machine, and the time (UTC)."""
    packages = ("epsflow", "numpy", "scipy", "jax", "diffrax", "equinox", "lineax", "optimistix", "casadi")
    return {
        **{name: _version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "not installed"
