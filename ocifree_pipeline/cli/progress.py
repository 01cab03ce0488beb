"""What runs at this moment: each asset, for how long, in which attempt, and what it said last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ocifree_pipeline.record.happenings import Happening

if TYPE_CHECKING:
    from rich.console import RenderableType

ENDS = frozenset({"made", "failed", "skipped"})


@dataclass(frozen=True, slots=True)
class Running:
    since: float
    attempt: int = 1
    words: str = ""


@dataclass
class Progress:
    """Kept from happenings, in the order in which things began."""

    running: dict[str, Running] = field(default_factory=dict)
    done: int = 0

    def note(self, happening: Happening) -> None:
        subject, kind = happening.subject, happening.kind
        known = self.running.get(subject)
        if kind == "started":
            attempt = known.attempt + 1 if known else 1
            self.running[subject] = Running(happening.at, attempt, known.words if known else "")
        elif kind in {"said", "retry"} and known:
            first = happening.text.splitlines()[0] if happening.text else ""
            self.running[subject] = replace(known, words=first)
        elif kind in ENDS:
            self.running.pop(subject, None)
            self.done += kind == "made"

    def rows(self, now: float) -> Iterator[tuple[str, str, str, str]]:
        for subject, one in self.running.items():
            seconds = max(0, int(now - one.since))
            elapsed = f"{seconds // 60}:{seconds % 60:02d}"
            yield subject, elapsed, f"attempt {one.attempt}" if one.attempt > 1 else "", one.words

    def draw(self, now: float) -> RenderableType:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        table.add_column(no_wrap=True)
        table.add_column(overflow="ellipsis", no_wrap=True)
        for row in self.rows(now):
            table.add_row(*row)
        return table


@contextmanager
def drawn(progress: Progress) -> Iterator[None]:
    """Keep it at the bottom of the terminal while other lines are printed above."""
    import time

    from rich.live import Live

    class Now:
        def __rich__(self) -> RenderableType:
            return progress.draw(time.time())

    with Live(Now(), refresh_per_second=2, transient=True):
        yield
