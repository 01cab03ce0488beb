"""The watch over claimed machines: what a look at one means, after the looks before it. Pure.

One look proves little: a network blinks, a guest reboots, a list is behind. So a turn for the worse needs the same
answer several times in a row; a turn for the better is believed at once.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel


class Seen(StrEnum):
    """What one look found."""

    ANSWERS = "answers"
    SILENT = "silent"
    STOPPED = "stopped"
    GONE = "gone"
    UNKNOWN = "unknown"


class Turn(StrEnum):
    """What changed for a machine, for whoever reads its history."""

    LOST = "lost"
    STOPPED = "stopped"
    SILENT = "silent"
    BACK = "back"


LOOKS = {Seen.GONE: 2, Seen.STOPPED: 2, Seen.SILENT: 3}
TURNS = {Seen.GONE: Turn.LOST, Seen.STOPPED: Turn.STOPPED, Seen.SILENT: Turn.SILENT}


class Watched(BaseModel, frozen=True, extra="forbid"):
    """What is known of one machine: how it is, and what was seen lately without being believed yet."""

    ocid: str
    state: Seen = Seen.ANSWERS
    lately: Seen = Seen.ANSWERS
    times: int = 0


def look(before: Watched, seen: Seen) -> tuple[Watched, Turn | None]:
    """What is known after one more look, and the turn that it made."""
    if seen is Seen.UNKNOWN:
        return before, None
    times = before.times + 1 if seen is before.lately else 1
    after = before.model_copy(update={"lately": seen, "times": times})
    if seen is before.state:
        return after, None
    if seen is Seen.ANSWERS:
        return after.model_copy(update={"state": seen}), Turn.BACK
    if times < LOOKS[seen]:
        return after, None
    return after.model_copy(update={"state": seen}), TURNS[seen]
