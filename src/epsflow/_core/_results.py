"""How a computation ended: diffrax's enumeration (itself optimistix's and lineax's), and what epsflow adds to it."""

import diffrax


class RESULTS(diffrax.RESULTS):  # pyright: ignore[reportGeneralTypeIssues]
    """Outcome of a solve. `RESULTS.successful` is the only one that carries a result to be relied on."""

    not_stationary = (
        "The gradient norm did not reach its tolerance. Try more steps, a looser `tol`, or another starting point."
    )
    not_a_minimum = (
        "The point found is stationary but its Hessian has a negative eigenvalue: a saddle, not a minimum. "
        "Try another starting point."
    )
    left_the_basin = (
        "The polishing step moved further than the flow's own end justifies, so the point may belong to another "
        "basin. Try a larger `max_time`."
    )


SUCCESS = RESULTS.promote(diffrax.RESULTS.successful)
"""The successful outcome, as a value that a result can hold."""


def message(result: RESULTS) -> str:
    """The words of a (scalar) result; 'successful' when it is."""
    return "successful" if bool(result == RESULTS.successful) else RESULTS[result]
