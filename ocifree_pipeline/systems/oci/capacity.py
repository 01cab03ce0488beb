"""Ask Oracle for room: the capacity report per availability domain, for exactly the size that is wanted.

A report reserves nothing. It has to be asked for in the root compartment, and takes ten entries in one call.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.capacity import Answer, Capacity, Trouble
from ocifree_pipeline.deployment.errors import AuthFailed, Forbidden, OcifreeError, Throttled
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE
from ocifree_pipeline.systems.oci.errors import ClockWrong, ShapeNotOffered, told
from ocifree_pipeline.systems.oci.session import Session, every

MAX_ENTRIES = 10
FAULT_DOMAINS = ("FAULT-DOMAIN-1", "FAULT-DOMAIN-2", "FAULT-DOMAIN-3")
"""Every availability domain has these three; asking for their names would cost a call a round."""

_CORE_LIMITS = {A1_SHAPE: "standard-a1-core-count", MICRO_SHAPE: "standard-e2-micro-core-count"}


@dataclass(frozen=True, slots=True)
class Want:
    """A size to ask for. Shapes that are not flexible have no size to choose."""

    shape: str
    ocpus: int
    memory_gb: int


def availability_domains(session: Session) -> tuple[str, ...]:
    with told("list the availability domains"):
        found = every(session.client("identity.IdentityClient").list_availability_domains, session.tenancy)
    return tuple(ad.name for ad in found)


def core_limits(session: Session, shape: str) -> dict[str, int]:
    """The service limit of the shape by availability domain, in one call."""
    name = _CORE_LIMITS[shape]
    with told(f"read the limit {name}"):
        values = every(
            session.client("limits.LimitsClient").list_limit_values, session.tenancy, service_name="compute", name=name
        )
    return {value.availability_domain: int(value.value or 0) for value in values if value.availability_domain}


def ask_everywhere(
    session: Session, ads: Sequence[str], wants: Sequence[Want], *, seconds: float
) -> tuple[Answer, ...]:
    """One call for each domain, at the same time. Who has not answered within `seconds` is unknown."""
    session.client("core.ComputeClient")
    answers: queue.Queue[tuple[str, Answer | BaseException]] = queue.Queue()

    def work(ad: str) -> None:
        try:
            answers.put((ad, ask(session, ad, wants)))
        except BaseException as error:
            answers.put((ad, error))

    for ad in ads:
        threading.Thread(target=work, args=(ad,), daemon=True).start()
    deadline = time.monotonic() + seconds
    found: dict[str, Answer] = {}
    while len(found) < len(ads):
        try:
            ad, answer = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if isinstance(answer, BaseException):
            raise answer
        found[ad] = answer
    late = f"unknown: no answer within {seconds:.0f} s"
    return tuple(found.get(ad) or Answer(ad, Capacity.UNKNOWN, late, Trouble.FAULT) for ad in ads)


def ask(session: Session, ad: str, wants: Sequence[Want]) -> Answer:
    """What the report says about one domain. An error is an answer too: unknown, with its reason."""
    from oci.core import models

    entries = _entries(wants)
    try:
        with told(f"ask for capacity in {ad}"):
            report = (
                session.client("core.ComputeClient")
                .create_compute_capacity_report(
                    models.CreateComputeCapacityReportDetails(
                        compartment_id=session.tenancy,
                        availability_domain=ad,
                        shape_availabilities=[_entry(models, want, fd) for want, fd in entries],
                    )
                )
                .data
            )
    except OcifreeError as error:
        return answer_of(ad, error)
    return _judged(ad, wants, list(report.shape_availabilities or []))


def answer_of(ad: str, error: OcifreeError) -> Answer:
    """Could not be told is not no. Only a domain without the shape is a plain no."""
    if isinstance(error, ShapeNotOffered):
        return Answer(ad, Capacity.UNAVAILABLE, "does not offer the shape", Trouble.NOT_OFFERED)
    if isinstance(error, Throttled):
        wait = retry_after(error)
        return Answer(ad, Capacity.UNKNOWN, "unknown: too many calls (429)", Trouble.THROTTLED, retry_after=wait)
    if isinstance(error, ClockWrong):
        return Answer(ad, Capacity.UNKNOWN, f"unknown: {error.why}; {error.fix}", Trouble.FAULT)
    if isinstance(error, AuthFailed):
        return Answer(ad, Capacity.UNKNOWN, "unknown: not known to Oracle (401)", Trouble.UNAUTHORIZED)
    if isinstance(error, Forbidden):
        return Answer(ad, Capacity.UNKNOWN, "unknown: not found or not allowed (404)", Trouble.NOT_FOUND)
    return Answer(ad, Capacity.UNKNOWN, f"unknown: {error.what}", Trouble.FAULT)


def retry_after(error: OcifreeError) -> float:
    """Seconds that Oracle asked us to wait, from the answer behind the error."""
    headers = getattr(error.__cause__, "headers", None) or {}
    try:
        return float(headers.get("retry-after", 0))
    except ValueError:
        return 0.0


def _entries(wants: Sequence[Want]) -> list[tuple[Want, str | None]]:
    """Each size for the whole domain first, then for its fault domains as far as ten entries go."""
    sizes = list(dict.fromkeys(wants))
    whole: list[tuple[Want, str | None]] = [(want, None) for want in sizes]
    return (whole + [(want, fd) for want in sizes for fd in FAULT_DOMAINS])[:MAX_ENTRIES]


def _entry(models: Any, want: Want, fd: str | None) -> Any:
    size = None
    if want.shape == A1_SHAPE:
        size = models.CapacityReportInstanceShapeConfig(ocpus=float(want.ocpus), memory_in_gbs=float(want.memory_gb))
    return models.CreateCapacityReportShapeAvailabilityDetails(
        instance_shape=want.shape, instance_shape_config=size, fault_domain=fd
    )


def _judged(ad: str, wants: Sequence[Want], rows: Sequence[Any]) -> Answer:
    statuses = [str(row.availability_status) for row in rows]
    if statuses and all(status == "HARDWARE_NOT_SUPPORTED" for status in statuses):
        return Answer(ad, Capacity.UNAVAILABLE, "does not offer the shape", Trouble.NOT_OFFERED)
    yes = [row for row in rows if row.availability_status == "AVAILABLE"]
    if yes:
        count = _count(wants, rows)
        open_fds = tuple(dict.fromkeys(row.fault_domain for row in yes if row.fault_domain))
        words = "available" + (f" for {count}" if count else "")
        return Answer(ad, Capacity.AVAILABLE, words, count=count, open_fds=open_fds)
    if statuses and all(status in ("OUT_OF_HOST_CAPACITY", "HARDWARE_NOT_SUPPORTED") for status in statuses):
        return Answer(ad, Capacity.UNAVAILABLE, "unavailable")
    strange = sorted(set(statuses) - {"OUT_OF_HOST_CAPACITY", "HARDWARE_NOT_SUPPORTED"})
    words = f"unknown: the report says {', '.join(strange)}" if strange else "unknown: the report is empty"
    return Answer(ad, Capacity.UNKNOWN, words, Trouble.FAULT)


def _count(wants: Sequence[Want], rows: Sequence[Any]) -> int | None:
    """For how many machines, when every size that is wanted has room; Oracle may leave the number out."""
    counts = []
    for want in dict.fromkeys(wants):
        mine = [row for row in rows if _is_for(row, want) and row.availability_status == "AVAILABLE"]
        if not mine:
            return 1
        numbers = [int(row.available_count) for row in mine if row.available_count is not None]
        if not numbers:
            return None
        counts.append(max(numbers))
    return min(counts, default=None)


def _is_for(row: Any, want: Want) -> bool:
    size = row.instance_shape_config
    same_size = (
        size is None or want.shape != A1_SHAPE or (size.ocpus, size.memory_in_gbs) == (want.ocpus, want.memory_gb)
    )
    return bool(row.instance_shape == want.shape and same_size)
