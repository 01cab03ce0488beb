"""The sandbox's time: one virtual clock, and the changes that wait for it.

Three modes say how time and lifecycles move:

- ``immediate``: time follows the real clock; a lifecycle step is due at once and is applied before the next request.
  One request never sees two steps of one chain, so PROVISIONING is seen before AVAILABLE.
- ``seconds``: time follows the real clock times ``rate``; a step is due after its number of virtual seconds.
- ``manual``: time stands still until ``advance()`` moves it.

Waiting changes are data (the name of a registered transition and JSON arguments), never closures, so that they
survive a snapshot. No thread runs them: whoever reads the world settles it first.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

Mode = Literal["immediate", "seconds", "manual"]


def stamp(moment: datetime) -> str:
    """A moment as Oracle writes it: RFC 3339, milliseconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def parse(text: str) -> datetime:
    """The aware moment behind a text that ``stamp`` (or a client) wrote. ValueError when it is not one."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it like 2026-01-31T00:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} lies outside of the calendar") from error


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One waiting change. Steps are ordered by due time, then by age."""

    due: datetime
    number: int
    transition: str = field(compare=False)
    args: dict[str, Any] = field(compare=False)
    lifecycle: bool = field(compare=False, default=True)


class VirtualClock:
    """Time that tests can move, and the queue of what it will bring."""

    def __init__(
        self,
        mode: Mode = "immediate",
        *,
        rate: float = 1.0,
        start: datetime | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._base = start or wall()
        self._anchor = monotonic()
        self._frozen: datetime | None = None
        self._steps: list[Step] = []
        self._number = 0
        self.skew_seconds = 0.0
        self.mode: Mode = mode
        self.rate = rate
        self.set_mode(mode, rate)

    def now(self) -> datetime:
        """The virtual time. While a step is applied it is the moment at which that step was due."""
        return self._frozen or self._flowing()

    def latest(self) -> datetime:
        """The virtual time up to which the world is being settled, also while an older step is applied."""
        return self._flowing()

    def stamp(self) -> str:
        return stamp(self.now())

    def wall(self) -> datetime:
        """The time against which the ``date`` of a signed request is judged.

        Real clients sign with the real time of the host, whatever the virtual clock says: a world that was moved
        three days ahead, or that stands still in manual mode, must still accept them. So skew is measured against
        the host's time, not against ``now()``. A clock that is wrong on purpose is a fault of its own:
        ``skew_seconds`` shifts this judgement, and 301 seconds make every honest client too early or too late.
        """
        return self._wall() + timedelta(seconds=self.skew_seconds)

    def set_mode(self, mode: Mode, rate: float = 1.0) -> None:
        """Change how time moves from here on; the present moment and the waiting steps stay."""
        if mode not in get_args(Mode):
            raise ValueError(f"clock mode {mode!r} is unknown; choose one of {', '.join(get_args(Mode))}")
        if rate <= 0:
            raise ValueError(f"clock rate {rate} does not move time forward; choose a number above 0")
        self._rebase(self._flowing())
        self.mode, self.rate = mode, rate

    def advance(self, seconds: float) -> datetime:
        """Move time forward by hand. Steps that fall due are applied when the world settles next."""
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds} seconds: virtual time never runs backwards")
        self._rebase(self._flowing() + timedelta(seconds=seconds))
        return self.now()

    def later(self, seconds: float, transition: str, **args: Any) -> int:
        """A lifecycle step ``seconds`` from now; in immediate mode it is due before the next request."""
        return self._push(self.now() + timedelta(seconds=seconds), transition, args, lifecycle=True)

    def at(self, moment: datetime, transition: str, **args: Any) -> int:
        """An appointment with virtual time (expiry, billing, reclaim): due at that moment in every mode."""
        return self._push(moment, transition, args, lifecycle=False)

    def cancel(self, number: int) -> None:
        """Forget a step; one that was applied already is no error."""
        self._steps = [step for step in self._steps if step.number != number]
        heapq.heapify(self._steps)

    def pending(self) -> list[Step]:
        return sorted(self._steps)

    def settle(self, apply: Callable[[Step], None]) -> int:
        """Apply everything that is due, oldest first; what a step adds is applied too if it is due as well."""
        horizon, youngest, applied = self._flowing(), self._number, 0
        while (step := self._next(horizon, youngest)) is not None:
            self.cancel(step.number)
            self._frozen = min(step.due, horizon)
            try:
                apply(step)
            finally:
                self._frozen = None
            applied += 1
        return applied

    def _next(self, horizon: datetime, youngest: int) -> Step | None:
        if self._steps and self._steps[0].due <= horizon and not self._held(self._steps[0], youngest):
            return self._steps[0]
        ready = [step for step in self._steps if self._due(step, horizon, youngest)]
        return min(ready, default=None)

    def _held(self, step: Step, youngest: int) -> bool:
        """Immediate mode shows every state once: a step born during this settling waits for the next."""
        return self.mode == "immediate" and step.lifecycle and step.number > youngest

    def _due(self, step: Step, horizon: datetime, youngest: int) -> bool:
        if self._held(step, youngest):
            return False
        return step.due <= horizon or (self.mode == "immediate" and step.lifecycle)

    def _push(self, due: datetime, transition: str, args: dict[str, Any], *, lifecycle: bool) -> int:
        self._number += 1
        heapq.heappush(self._steps, Step(due, self._number, transition, args, lifecycle))
        return self._number

    def _flowing(self) -> datetime:
        if self.mode == "manual":
            return self._base
        rate = self.rate if self.mode == "seconds" else 1.0
        return self._base + timedelta(seconds=(self._monotonic() - self._anchor) * rate)

    def _rebase(self, moment: datetime) -> None:
        self._base, self._anchor = moment, self._monotonic()

    def to_json(self) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "rate": self.rate,
            "now": self._flowing().isoformat(),
            "skewSeconds": self.skew_seconds,
            "number": self._number,
            "steps": [
                [step.due.isoformat(), step.number, step.transition, step.args, step.lifecycle]
                for step in sorted(self._steps)
            ],
        }

    def load_json(self, state: dict[str, Any]) -> None:
        self.mode, self.rate = state["mode"], state["rate"]
        self._rebase(datetime.fromisoformat(state["now"]))
        self.skew_seconds = state["skewSeconds"]
        self._number = state["number"]
        self._steps = [
            Step(datetime.fromisoformat(due), number, transition, args, lifecycle)
            for due, number, transition, args, lifecycle in state["steps"]
        ]
        heapq.heapify(self._steps)
