"""Count what changes something on Proxmox nodes and at their API; die there, before it or after it."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ocifree_pipeline_tests.chaos.doors import Calls, Moment, counted, nodes


def changes(kill_at: int | None = None, moment: Moment = "before") -> AbstractContextManager[Calls]:
    """Every command and call that changes something; the first is 1."""
    return counted(kill_at, moment, doors=(nodes,))
