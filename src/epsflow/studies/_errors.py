"""What goes wrong in a study that no input is to blame for."""

from .._core import EpsflowError


class StoreError(EpsflowError):
    """The store cannot be used now: another process writes to it, or the file system refuses. It is intact.

    Example:
        >>> issubclass(ef.studies.StoreError, ef.EpsflowError)
        True
    """
