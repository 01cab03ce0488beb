"""Python loads this at its start in every process of a life: its clock is ahead by what the file of the life says.

OpenSSL asks the kernel for the time, so certificates of these days would not be valid for it yet: it does not look.
"""

import os
import sys

_FILE = os.environ.get("OCIFREE_LIFE_CLOCK")


def _begin(path: str) -> None:
    import mmap
    import ssl
    import struct
    import time
    from pathlib import Path

    # It would bring pytest along into every process.
    sys.modules["pytest"] = None  # type: ignore[assignment]
    import time_machine

    del sys.modules["pytest"]

    with Path(path).open("rb") as file:
        ahead = mmap.mmap(file.fileno(), 8, prot=mmap.PROT_READ)
    difference = time.time_ns() - time.monotonic_ns()

    class Ahead(time_machine.Traveller):
        def time_ns(self) -> int:
            span = 0 if "OCIFREE_LIFE_PAUSED" in os.environ else int(struct.unpack("<q", ahead[:8])[0])
            return time.monotonic_ns() + difference + span

    made = ssl.SSLContext.__new__

    def lenient(cls: type[ssl.SSLContext], *args: object, **kwargs: object) -> ssl.SSLContext:
        context = made(cls, *args, **kwargs)  # type: ignore[arg-type]
        context.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME
        return context

    ssl.SSLContext.__new__ = lenient  # type: ignore[assignment, method-assign]
    time_machine.travel(0).start()
    time_machine.traveller_stack[-1] = Ahead(0, None, True)


_TIMELESS = any(word.endswith("watch_orphans.py") for word in sys.orig_argv)
"""Two such processes of Dagster's watch each step, and look at no clock."""

if _FILE and not _TIMELESS:
    _begin(_FILE)
