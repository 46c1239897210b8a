"""What a worker process does first; it imports nothing heavy, so that a worker is soon safe from Ctrl-C."""

import multiprocessing
import os
import signal
import threading
from typing import Any


def serve() -> None:
    """Be deaf to Ctrl-C, and end when the parent does, however that ends."""
    # Ctrl-C reaches every process of a terminal; a worker that it interrupts could take a queue's lock with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(multiprocessing.parent_process(),), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)  # in the middle of whatever it computes: there is nobody left to hand it to
