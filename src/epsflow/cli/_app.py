"""The program: which commands there are, and how each ends."""

import contextlib
import errno
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version as installed_version
from typing import Annotated, Any

import typer

from .. import _core
from . import _words as words
from ._attribute import attribute
from ._console import BAD_INPUT, NOT_CONVERGED
from ._doctor import doctor
from ._influence import influence
from ._interrupt import INTERRUPTED
from ._optimise import compare, optimise
from ._options import spread
from ._study import study
from ._unlearn import unlearn
from ._verify import verify
from ._words import about

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE)
"""What the system says of a stream that takes no more; files say it by an `InputError` that names them."""

COLLECTIONS = (200_000, 10, 100)
"""Thresholds of the garbage collector. Loading JAX and Matplotlib makes a million objects that stay: to walk through
them again and again, as the default of 700 does, took a fifth of the main job."""

app = typer.Typer(
    name="epsflow",
    pretty_exceptions_enable=False,
    help="Training as gradient flow with a time-varying data weight ε(t): which ε(t) unlearns a point best?",
    epilog="Exit status: 0; 1 if a computation did not converge or a claim changed its verdict; 2 for input that "
    "cannot be used.",
)


def _add(command: Callable[..., Any], said: tuple[Any, ...], footer: Sequence[str]) -> None:
    app.command(**about(*said), epilog="\n\n".join(footer))(spread(command))


_add(optimise, words.OPTIMISE, words.SCHEDULE_WORDS)
_add(compare, words.COMPARE, words.SCHEDULE_WORDS)
_add(influence, words.INFLUENCE, words.INFLUENCE_WORDS)
_add(unlearn, words.UNLEARN, (words.EPSILON,))
_add(attribute, words.ATTRIBUTE, (words.EPSILON,))
app.command(**about(*words.VERIFY))(verify)
app.command(**about(*words.DOCTOR))(doctor)
app.add_typer(study, name="study")


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"epsflow {installed_version('epsflow')}")
        raise typer.Exit()
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass  # --version is answered before; `epsflow` alone is an error that names the commands


def run(arguments: Sequence[str] | None = None) -> int:
    """Parse, call, and turn what is raised into one line and an exit status; see `main`."""
    _work_in_double_precision()
    gc.set_threshold(*COLLECTIONS)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ε still gets its table
    try:
        with _own_warnings():
            given = None if arguments is None else list(arguments)
            status = app(args=given, prog_name="epsflow", standalone_mode=False)
        print(end="", flush=True)  # a full disk says so here; without a stdout nothing happens
    except _core.InputError as error:
        return _refuse(str(error), BAD_INPUT)
    except _core.EpsflowError as error:  # a computation or a study's store: the input was not at fault
        return _refuse(str(error), NOT_CONVERGED)
    except typer.TyperException as error:
        return _refuse(f"{error.format_message().rstrip('.')}. See epsflow --help.", BAD_INPUT)
    except typer.Abort:
        return _refuse("interrupted.", INTERRUPTED)
    except OSError as error:
        full = error.errno in FULL
        if full:
            _abandon_stdout()
        return _refuse(f"{'cannot write to stdout: ' if full else ''}{error.strerror or error}.", NOT_CONVERGED)
    return status if isinstance(status, int) else 0


@contextlib.contextmanager
def _own_warnings() -> Iterator[None]:
    """What the library warns of, in one line on stderr; but that columns are nearly collinear, which tables say."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=_core.EpsflowWarning)
        warnings.filterwarnings("ignore", r".*columns are nearly collinear", _core.EpsflowWarning)
        other = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, _core.EpsflowWarning):
                print(f"epsflow: warning: {_core.printable(words.in_options(str(message)))}", file=sys.stderr)
            else:
                other(message, category, *place)

        warnings.showwarning = show
        yield


def _work_in_double_precision() -> None:
    """Before any array is made; the library itself leaves global flags alone."""
    os.environ["JAX_ENABLE_X64"] = "1"  # which JAX reads when it is loaded, and worker processes inherit
    if "jax" in sys.modules:
        import jax

        jax.config.update("jax_enable_x64", True)


def _refuse(reason: str, status: int) -> int:
    said = words.in_options(" ".join(reason.split()))
    print(f"epsflow: error: {_core.printable(said)}", file=sys.stderr)
    return status


def _abandon_stdout() -> None:
    """Send what is still buffered nowhere, so that the interpreter does not complain again as it ends."""
    with contextlib.suppress(OSError, ValueError):  # a stream of a test has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
