"""How far a long transfer is: bytes, percent, and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_UNITS = ("bytes", "kB", "MB", "GB", "TB")


@dataclass(frozen=True, slots=True)
class Progress:
    """`began_at` bytes were there already when the clock started, so they say nothing about the speed."""

    done: int
    total: int | None
    seconds: float
    began_at: int = 0

    @property
    def percent(self) -> float | None:
        return 100 * self.done / self.total if self.total else None

    @property
    def seconds_left(self) -> float | None:
        moved = self.done - self.began_at
        if self.total is None or moved <= 0 or self.seconds <= 0:
            return None
        return (self.total - self.done) * self.seconds / moved

    def __str__(self) -> str:
        if self.total is None:
            return f"{size_in_words(self.done)} so far"
        left = "" if self.seconds_left is None else f", {_time_in_words(self.seconds_left)} left"
        return f"{size_in_words(self.done)} of {size_in_words(self.total)} ({self.percent or 0:.0f} %{left})"


Tell = Callable[[Progress], None]


@dataclass(slots=True)
class Meter:
    """Counts bytes and tells about them now and then, not at every one of them."""

    total: int | None
    tell: Tell
    done: int = 0
    every_seconds: float = 5.0
    monotonic: Callable[[], float] = time.monotonic
    _began_at: int = field(init=False)
    _start: float = field(init=False)
    _told: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_at, self._start = self.done, self.monotonic()
        self._told = self._start

    def add(self, count: int) -> None:
        self.done += count
        now = self.monotonic()
        if now - self._told >= self.every_seconds or self.done == self.total:
            self._told = now
            self.tell(Progress(self.done, self.total, now - self._start, self._began_at))


def size_in_words(count: int) -> str:
    """Decimal units, as Oracle counts its gigabytes."""
    number = float(count)
    for unit in _UNITS[:-1]:
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} {_UNITS[-1]}"


def _time_in_words(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
