"""Exit codes. They are part of the interface: scripts may rely on them (docs/cli.md)."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID_DECLARATION = 3
    DOES_NOT_FIT = 4
    NOT_YET_BUILT = 5
    NOT_READY = 6
    INTERRUPTED = 130
