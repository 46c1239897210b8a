"""`epsflow doctor`: what it runs on."""

import importlib.metadata
import json
import platform
import re
from typing import Any

from .._core import install_command
from . import _options as options
from ._console import NOT_CONVERGED, Column, Row, Table, show

SOLVERS = {"nlp": ("ipopt", "sqpmethod"), "conic": ("osqp", "highs", "qpoases", "qrqp")}
"""CasADi's solvers that epsflow may use, by the kind of problem."""
FLOOR = re.compile(r"^([A-Za-z0-9_.-]+)\s*>=\s*([0-9.]+)")
"""A requirement with a least version."""


def doctor(as_json: options.AsJson = False, quiet: options.Quiet = False) -> int:
    """Versions, precision, devices, solvers; the exit status."""
    found = {**_python(), **_libraries(), **_jax(), **_casadi()}
    troubles = [f"{name}: {trouble}" for name, (_, trouble) in found.items() if trouble]
    said = "Everything that epsflow needs is there." if not troubles else f"Not well: {'; '.join(troubles)}."
    if as_json:
        print(json.dumps({"finding": said, "found": {name: words for name, (words, _) in found.items()}}, indent=2))
    else:
        rows = [
            Row((name, words, trouble or "ok"), marks={2: "bold red" if trouble else "green"})
            for name, (words, trouble) in found.items()
        ]
        show(
            Table("What epsflow runs on", [Column("part"), Column("found"), Column("state")], rows),
            said,
            [],
            quiet=quiet,
        )
    return NOT_CONVERGED if troubles else 0


Found = dict[str, tuple[str, str]]
"""Name → what was found, and what is wrong with it (empty: nothing)."""


def _python() -> Found:
    import os

    cores = os.cpu_count() or 1
    return {
        "epsflow": (importlib.metadata.version("epsflow"), ""),
        "Python": (f"{platform.python_version()} on {platform.system()} {platform.machine()}, {cores} cores", ""),
    }


def _libraries() -> Found:
    """Every requirement, required ones and extras, against its least version."""
    found: Found = {}
    for requirement in importlib.metadata.requires("epsflow") or ():
        match = FLOOR.match(requirement)
        if match is None:
            continue
        name, least = match.groups()
        extra = re.search(r"extra == ['\"]([a-z]+)['\"]", requirement)
        if extra is not None and extra.group(1) not in ("studies", "train", "bayes"):
            continue
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            absent = f"not installed, wanted by {install_command(extra.group(1))}" if extra else "not installed"
            found[name] = (absent, "" if extra else "missing")
            continue
        found[name] = (version, f"older than {least}, which it was tested with" if _older(version, least) else "")
    return found


def _older(version: str, least: str) -> bool:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)[:3]]

    return numbers(version) < numbers(least)


def _jax() -> Found:
    import jax
    import jax.numpy as jnp

    exact = float(jnp.float64(1.0) + jnp.float64(2.0**-52)) != 1.0
    devices = ", ".join(f"{device.platform} ({device.device_kind})" for device in jax.devices())
    return {
        "float64": (
            "on for this command; in Python: jax.config.update('jax_enable_x64', True)",
            "" if exact else "off",
        ),
        "devices": (devices, ""),
    }


def _casadi() -> Found:
    from ..control import available_solvers

    found: dict[str, Any] = available_solvers(SOLVERS)
    return {
        f"CasADi, {kind}": (", ".join(names) or "none", "" if names else "none of its solvers was found")
        for kind, names in found.items()
    }
