"""What Oracle says about room for a machine, what became of a launch, and how far the first predicts the second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Capacity(StrEnum):
    """Three answers, because "could not be told" is not "no"."""

    AVAILABLE = "available"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"


class Trouble(StrEnum):
    """Why an answer is unknown, as far as it matters for asking again."""

    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not found"
    NOT_OFFERED = "not offered"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine may be launched. Without a fault domain Oracle picks one."""

    ad: str
    fd: str | None = None

    def __str__(self) -> str:
        short = self.ad.rpartition(":")[2]
        return f"{short} {self.fd}" if self.fd else short


@dataclass(frozen=True, slots=True)
class Answer:
    """What one availability domain answered. `open_fds` are the fault domains that the report names as available."""

    ad: str
    capacity: Capacity
    words: str
    trouble: Trouble | None = None
    count: int | None = None
    open_fds: tuple[str, ...] = ()
    retry_after: float = 0.0


@dataclass(frozen=True, slots=True)
class Observation:
    """One round of asking. `limits_are_zero` is None when nobody looked."""

    answers: tuple[Answer, ...]
    limits_are_zero: bool | None = None


class Ending(StrEnum):
    """What became of one launch."""

    HAD = "had"
    NO_CAPACITY = "no capacity"
    NOT_OFFERED = "not offered"
    LIMIT = "limit"
    QUOTA = "quota"
    THROTTLED = "throttled"
    UNAUTHORIZED = "unauthorized"
    REFUSED = "refused"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One LaunchInstance. `said` is what the report had said there; `request` is the hunt's number, 0 by hand."""

    machine: str
    place: Place
    said: Capacity
    ending: Ending
    words: str
    request: int = 0


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How good the capacity report is. None where nothing was measured yet."""

    precision: float | None
    recall: float | None
    launches_on_yes: int
    launches_on_no: int


def accuracy(attempts: Iterable[Attempt], answers: Mapping[Capacity, int]) -> Accuracy:
    """Precision: of the launches after "available", the share that got a machine.

    Recall: of the moments with capacity, the share that the report saw. Launches after "unavailable" are rare on
    purpose, so each side is weighted with how often the report gave that answer (`answers`); plain counts would make
    the report look better than it is.
    """
    told = {Capacity.AVAILABLE: [0, 0], Capacity.UNAVAILABLE: [0, 0]}
    for attempt in attempts:
        if attempt.said in told and attempt.ending in (Ending.HAD, Ending.NO_CAPACITY):
            told[attempt.said][attempt.ending is Ending.HAD] += 1
    shares = {said: had / (none + had) if none + had else None for said, (none, had) in told.items()}
    precision, missed = shares[Capacity.AVAILABLE], shares[Capacity.UNAVAILABLE]
    recall = None
    if precision is not None and missed is not None:
        seen = precision * answers.get(Capacity.AVAILABLE, 0)
        unseen = missed * answers.get(Capacity.UNAVAILABLE, 0)
        recall = seen / (seen + unseen) if seen + unseen else None
    return Accuracy(precision, recall, sum(told[Capacity.AVAILABLE]), sum(told[Capacity.UNAVAILABLE]))
