"""What loads when: names on demand, and nothing that is not used."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "epsflow"
STUBS = sorted(PACKAGE.rglob("__init__.pyi"))


def package_of(stub: Path) -> str:
    return ".".join(stub.parent.relative_to(PACKAGE.parent).parts)


def each_stub() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stub", STUBS, ids=package_of)


def loaded_by(code: str) -> set[str]:
    """Top-level packages beyond the standard library that a fresh interpreter has loaded after running `code`."""
    report = "import sys; print(*sorted({name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # where this process finds epsflow
    # -S: what site-packages load by themselves is not ours.
    command = [sys.executable, "-S", "-c", f"{code}\n{report}"]
    ran = subprocess.run(command, env={**os.environ, **paths}, capture_output=True, text=True, check=True)
    return set(ran.stdout.split()) - {"__main__"}


def test_importing_the_package_loads_no_library():
    assert loaded_by("import epsflow") == {"epsflow", "lazy_loader"}


HEAVY = {
    *("jax", "equinox", "diffrax", "optimistix", "lineax", "optax", "scipy", "casadi", "sklearn", "matplotlib"),
    *("pandas", "xarray", "dask", "distributed", "rich", "typer", "pydantic"),
}
LINEAR = """
import os; os.environ["JAX_ENABLE_X64"] = "1"
import numpy as np
import epsflow as ef
problem = ef.linear_regression(ef.load_dataset("diabetes"), [382])
"""
ASKED = """
theta0, window = np.zeros(10), {"s": 0.1, "T": 0.4}
best = ef.compare_schedules(problem, theta0, **window).optimum.schedule
ef.certify(problem, best, theta0, **window)
ef.control.extremal(problem, best, theta0, **window)
ef.control.exact_unlearning_time(problem, theta0, s=0.1)
ef.optimal_schedule(problem, theta0, **window, price=1e-3)
ef.optimal_schedule(problem, theta0, s=10, T=20, step_size=1e-4)
"""


def test_a_linear_flow_needs_no_integrator():
    code = "ef.gradient_flow(problem, ef.Step(1.0), np.zeros(10), ts=np.array([1.0])); ef.equilibrium(problem, eps=0.0)"
    assert loaded_by(f"{LINEAR}\n{code}") & HEAVY == {"jax", "equinox", "scipy"}


def test_the_linear_job_needs_neither_integrator_nor_program():
    assert loaded_by(f"{LINEAR}\n{ASKED}") & HEAVY == {"jax", "equinox", "scipy"}


REFUSALS = (
    ["--help"],
    ["optimise", "--frobnicate"],
    ["optimise", "--budget", "-1"],
    ["influence", "--damping", "-1"],
    ["optimise", "--csv", "nowhere.csv"],
    ["influence", "--csv", "nowhere.csv"],
    ["influence", "--data", "mnist"],
    ["verify", "--only", "no-such-claim"],
    ["verify", "--section", "no such section"],
    ["study", "run", "no-such-study"],
    ["study", "run", "nowhere.toml"],
    ["study", "show", "nowhere.sqlite"],
)


@pytest.mark.parametrize("arguments", REFUSALS, ids=" ".join)
def test_help_and_refusals_load_no_jax(arguments: list[str]):
    code = f"import contextlib\nfrom epsflow.cli import main\nwith contextlib.redirect_stdout(None): main({arguments})"
    assert loaded_by(code).isdisjoint({"jax", "equinox", "scipy", "diffrax", "casadi", "matplotlib", "sklearn"})


@each_stub()
def test_every_name_of_a_stub_is_there(stub: Path):
    package = importlib.import_module(package_of(stub))
    assert package.__all__
    assert all(hasattr(package, name) for name in package.__all__)
    assert dir(package) == package.__all__


@each_stub()
def test_stubs_are_read_in_any_locale(stub: Path):
    """`attach_stub` opens them with the locale's encoding."""
    assert stub.read_bytes().isascii()


def test_the_version_is_that_of_the_installation():
    import importlib.metadata

    import epsflow

    assert epsflow.__version__ == importlib.metadata.version("epsflow")


def test_what_a_file_cannot_answer_is_refused_before_jax_is_loaded(tmp_path: Path):
    """The points, the target and the labels are looked at as soon as the file has been read."""
    file = tmp_path / "table.csv"
    file.write_text("a,y\n1,1.5\n2,2.5\n4,3.0\n", encoding="utf-8")
    asked = [
        [command, "--csv", str(file), *words]
        for command, *words in [
            ("optimise", "--delete", "3"),
            ("influence", "--delete", "0:9"),
            ("influence", "--model", "logistic"),
            ("compare", "--target", "z"),
            ("unlearn", "--delete", "-9"),
            ("attribute", "--model", "logistic"),
        ]
    ]
    code = f"from epsflow.cli import main\nassert [main(words) for words in {asked}] == [2] * {len(asked)}"
    assert loaded_by(code).isdisjoint({"jax", "equinox", "scipy", "diffrax", "casadi", "matplotlib", "sklearn"})
