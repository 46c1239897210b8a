"""The house rules that no single test of a room would notice: who imports whom, and how long things grow."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "epsflow"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAX_INIT_LINES = 80  # the package's own __init__.pyi: the list of public names
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60  # docstring not counted


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(tree: ast.AST) -> Iterator[str]:
    """Top-level packages that absolute imports name, wherever in the module they stand."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        docstring = function.body[0]
        lines -= docstring.end_lineno - docstring.lineno + 1
    return lines


def sets_jax_config(node: ast.AST) -> bool:
    """`jax.config.update(...)` or `config.update(...)`, or an assignment to `jax.config.<flag>`."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func) in {"jax.config.update", "config.update"}
    if isinstance(node, ast.Assign):
        return any(ast.unparse(target).startswith("jax.config.") for target in node.targets)
    return False


def each_module(*, but: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """One case a module, without the files or folders `but` names."""
    spared = [PACKAGE / name for name in but]
    paths = [path for path in MODULES if not any(path.is_relative_to(other) for other in spared)]
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(PACKAGE)))


def test_the_package_is_where_these_tests_look():
    assert PACKAGE / "__init__.py" in MODULES


def test_imports_run_along_the_arrows():
    """The contracts of [tool.importlinter] in pyproject.toml hold."""
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    options = ["--config", "pyproject.toml", "--no-cache", "--no-logo"]
    done = subprocess.run([sys.executable, "-c", lint, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_public_names_fit_on_a_page():
    assert len((PACKAGE / "__init__.pyi").read_text(encoding="utf-8").splitlines()) < MAX_INIT_LINES


@each_module()
def test_module_is_short(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < MAX_MODULE_LINES


@each_module()
def test_functions_are_short(path: Path):
    functions = (node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    long = {f"{node.name}, line {node.lineno}": body_lines(node) for node in functions}
    assert {name: lines for name, lines in long.items() if lines >= MAX_FUNCTION_LINES} == {}


@each_module(but=("control/programs/_casadi.py",))
def test_casadi_stays_behind_one_module(path: Path):
    assert "casadi" not in imported(parse(path))


@each_module(but=("cli",))
def test_global_jax_flags_are_left_alone(path: Path):
    """A library that sets them changes the results of its caller's other code."""
    assert [node.lineno for node in ast.walk(parse(path)) if sets_jax_config(node)] == []
