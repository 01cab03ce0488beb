"""Waiting reads again and again, ever more slowly, and ends in one of three ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import AuthFailed, NotVerified, OcifreeError, Throttled
from ocifree_pipeline.systems.oci.waiting import Pause, TimedOut, wait_for


@dataclass
class StoodStill:
    """Time passes only by sleeping."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def reading(*answers: str | OcifreeError) -> Callable[[], str]:
    rest: Iterator[str | OcifreeError] = iter(answers)

    def read() -> str:
        answer = next(rest)
        if isinstance(answer, OcifreeError):
            raise answer
        return answer

    return read


def is_available(state: str) -> bool:
    return state == "AVAILABLE"


def test_it_returns_what_was_last_read_without_a_pause_when_it_is_so_already() -> None:
    clock = StoodStill()
    assert wait_for(reading("AVAILABLE"), is_available, what="it is there", clock=clock) == "AVAILABLE"
    assert clock.slept == []


def test_pauses_grow_up_to_the_longest() -> None:
    clock = StoodStill()
    wait_for(
        reading(*["PROVISIONING"] * 6, "AVAILABLE"), is_available, what="it is there", pause=Pause(1, 4), clock=clock
    )
    assert clock.slept == [1, 1.6, pytest.approx(2.56), 4, 4, 4]


@given(timeout=st.floats(0, 5000), first=st.floats(0.1, 60), longest=st.floats(0.1, 60))
def test_it_never_waits_longer_than_told(timeout: float, first: float, longest: float) -> None:
    clock = StoodStill()
    with pytest.raises(TimedOut, match="until it is there, in vain") as caught:
        wait_for(
            lambda: "PROVISIONING",
            is_available,
            what="it is there",
            timeout=timeout,
            pause=Pause(first, longest),
            clock=clock,
        )
    assert clock.now == pytest.approx(timeout)
    assert caught.value.why == "last seen: PROVISIONING"


def test_a_failure_for_good_ends_it_at_once_and_says_why() -> None:
    clock = StoodStill()
    with pytest.raises(NotVerified) as caught:
        wait_for(
            reading("PROVISIONING", "TERMINATED"),
            is_available,
            what="it is there",
            failed=lambda state: "it was terminated" if state == "TERMINATED" else None,
            clock=clock,
        )
    assert caught.value.why == "it was terminated"
    assert len(clock.slept) == 1


def test_a_passing_fault_while_reading_does_not_end_it() -> None:
    slow = Throttled("too many", why="-", fix="-")
    assert wait_for(reading(slow, slow, "AVAILABLE"), is_available, what="x", clock=StoodStill()) == "AVAILABLE"


def test_a_refusal_while_reading_ends_it() -> None:
    with pytest.raises(AuthFailed):
        wait_for(reading(AuthFailed("no", why="-", fix="-")), is_available, what="x", clock=StoodStill())
