"""Three answers for every domain, within a time of our own, whatever Oracle says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ocifree_pipeline.deployment.capacity import Capacity, Trouble
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE
from ocifree_pipeline.systems.oci.capacity import (
    MAX_ENTRIES,
    Want,
    _entries,
    _judged,
    ask_everywhere,
    availability_domains,
    core_limits,
)
from ocifree_pipeline_tests.systems.oci.machines import World, world

SMALL = Want(A1_SHAPE, 1, 6)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, a1_absent_ad=1, micro_ad=2) as found:
        yield found


def test_each_domain_by_itself(here: World) -> None:
    here.scarce({"ad": "*AD-3", "faultDomain": "FAULT-DOMAIN-2", "ocpus": 2})
    ads = availability_domains(here.session)
    first, second, third = ask_everywhere(here.session, ads, [SMALL], seconds=20)
    assert (first.capacity, first.trouble) == (Capacity.UNAVAILABLE, Trouble.NOT_OFFERED)
    assert (second.capacity, second.trouble) == (Capacity.UNAVAILABLE, None)
    assert (third.capacity, third.count, third.open_fds) == (Capacity.AVAILABLE, 2, ("FAULT-DOMAIN-2",))
    assert here.sandbox.recorder.count(operation="CreateComputeCapacityReport") == 3


def test_the_micro_is_looked_for_where_its_limit_is(here: World) -> None:
    limits = core_limits(here.session, MICRO_SHAPE)
    assert [ad[-4:] for ad, limit in limits.items() if limit] == ["AD-2"]
    (answer,) = ask_everywhere(here.session, [here.ads[1]], [Want(MICRO_SHAPE, 1, 1)], seconds=20)
    assert answer.capacity is Capacity.AVAILABLE


@pytest.mark.parametrize(
    ("status", "code", "trouble"),
    [
        (429, "TooManyRequests", Trouble.THROTTLED),
        (401, "NotAuthenticated", Trouble.UNAUTHORIZED),
        (404, "NotAuthorizedOrNotFound", Trouble.NOT_FOUND),
        (500, "InternalError", Trouble.FAULT),
        (503, "ServiceUnavailable", Trouble.FAULT),
    ],
)
def test_an_error_is_unknown_and_never_no(here: World, status: int, code: str, trouble: Trouble) -> None:
    here.fault(
        operation="CreateComputeCapacityReport", status=status, code=code, message="m", headers={"retry-after": "7"}
    )
    (answer,) = ask_everywhere(here.session, here.ads[1:2], [SMALL], seconds=20)
    assert (answer.capacity, answer.trouble) == (Capacity.UNKNOWN, trouble)
    assert answer.retry_after == (7 if trouble is Trouble.THROTTLED else 0)


def test_a_clock_that_is_wrong_says_nothing_of_the_account(here: World) -> None:
    """The hunt goes on by itself once the clock is set; an account that is closed stops it for good."""
    here.sandbox.inside(lambda found: setattr(found.clock, "skew_seconds", -7200.0))
    (answer,) = ask_everywhere(here.session, here.ads[1:2], [SMALL], seconds=20)
    assert (answer.capacity, answer.trouble) == (Capacity.UNKNOWN, Trouble.FAULT)
    assert "set the clock of this computer" in answer.words


@pytest.mark.parametrize("moment", ["drop", "reset", "truncate"])
def test_a_broken_wire_is_unknown_too(here: World, moment: str) -> None:
    here.fault(moment, operation="CreateComputeCapacityReport")
    (answer,) = ask_everywhere(here.session, here.ads[1:2], [SMALL], seconds=20)
    assert (answer.capacity, answer.trouble) == (Capacity.UNKNOWN, Trouble.FAULT)


def test_who_is_late_is_unknown(here: World) -> None:
    here.fault("slow", operation="CreateComputeCapacityReport", delay=3, times=None)
    (answer,) = ask_everywhere(here.session, here.ads[1:2], [SMALL], seconds=0.2)
    assert answer.words == "unknown: no answer within 0 s"


def row(status: str, fd: str | None = None, count: int | None = None, want: Want = SMALL) -> Any:
    size = SimpleNamespace(ocpus=float(want.ocpus), memory_in_gbs=float(want.memory_gb))
    return SimpleNamespace(
        availability_status=status,
        fault_domain=fd,
        available_count=count,
        instance_shape=want.shape,
        instance_shape_config=size,
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("OUT_OF_HOST_CAPACITY"), row("HARDWARE_NOT_SUPPORTED", "FD-1")], (Capacity.UNAVAILABLE, None)),
        ([row("HARDWARE_NOT_SUPPORTED")], (Capacity.UNAVAILABLE, None)),
        ([row("UNKNOWN_ENUM_VALUE")], (Capacity.UNKNOWN, None)),
        ([], (Capacity.UNKNOWN, None)),
        ([row("OUT_OF_HOST_CAPACITY"), row("AVAILABLE", "FD-2")], (Capacity.AVAILABLE, None)),
        ([row("AVAILABLE", count=3), row("AVAILABLE", "FD-2", 1)], (Capacity.AVAILABLE, 3)),
    ],
)
def test_what_a_report_means(rows: list[Any], expected: tuple[Capacity, int | None]) -> None:
    answer = _judged("x:R-AD-1", [SMALL], rows)
    assert (answer.capacity, answer.count) == expected


def test_two_sizes_count_together_and_one_missing_size_is_room_for_one() -> None:
    large = Want(A1_SHAPE, 2, 8)
    both = [row("AVAILABLE", count=4), row("AVAILABLE", count=2, want=large)]
    assert _judged("ad", [SMALL, large], both).count == 2
    one = [row("AVAILABLE", count=4), row("OUT_OF_HOST_CAPACITY", want=large)]
    assert _judged("ad", [SMALL, large], one).count == 1


@pytest.mark.parametrize("sizes", [1, 2, 3, 4])
def test_never_more_than_ten_entries_and_every_size_is_asked_for(sizes: int) -> None:
    wants = [Want(A1_SHAPE, number + 1, 6) for number in range(sizes)]
    entries = _entries([*wants, *wants])
    assert len(entries) <= MAX_ENTRIES
    assert [want for want, fd in entries if fd is None] == wants
