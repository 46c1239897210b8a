"""Where a process begins: Ctrl-C is taken over before anything is loaded that takes time."""

from collections.abc import Sequence

from . import _interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: what follows the program's name. Default: those of this process, which then answers Ctrl-C in one
            line, at any moment.

    Returns:
        The exit status: 0; 1 if a computation did not converge, a claim changed its verdict, or the answer could not be
        printed; 2 for bad input, said in one line on stderr; 130 after Ctrl-C.
    """
    if arguments is None:
        _interrupt.arm()
    from ._app import run

    return run(arguments)
