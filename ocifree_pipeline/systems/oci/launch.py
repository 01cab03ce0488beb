"""Claim one machine: walk the places where there may be room, one LaunchInstance at a time.

Each call is in the journal before it is made, with its retry token. So whatever happens, there is at most one machine:
whoever comes back looks for it by its tags first, and then makes the same call with the same token. Nothing is retried
by the SDK, and an instance is never ended, stopped or reshaped here.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.capacity import Attempt, Capacity, Ending, Place
from ocifree_pipeline.deployment.errors import (
    AuthFailed,
    Conflict,
    LimitReached,
    NotVerified,
    OcifreeError,
    OutOfCapacity,
    QuotaRefused,
    Throttled,
    Transient,
)
from ocifree_pipeline.deployment.plan import A1_SHAPE, Machine
from ocifree_pipeline.systems.journal import Intent, Journal
from ocifree_pipeline.systems.oci import instances
from ocifree_pipeline.systems.oci.errors import ClockWrong, ShapeNotOffered, TokenWornOut, told, translate
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.oci.session import every, reading
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for

OPERATION = "LaunchInstance"
RUNNING_SECONDS = 900.0
_STATUS_OF_CODE = {"LimitExceeded": 400, "QuotaExceeded": 400, "NotAuthorizedOrNotFound": 404, "TooManyRequests": 429}


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that makes a machine. `user_data` and `handed_over` are kept from every log: they may hold secrets."""

    key: str
    machine: Machine
    name: str
    image: str
    subnet: str
    groups: tuple[str, ...]
    public_address: bool
    ssh_public_keys: tuple[str, ...]
    user_data: SecretStr
    handed_over: Mapping[str, SecretStr] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Walk:
    """Where to try, how often, and what the report had said there. `request` is the hunt's number, 0 by hand."""

    places: tuple[Place, ...]
    tries: int
    said: Mapping[str, Capacity] = field(default_factory=dict)
    request: int = 0


@dataclass(frozen=True)
class Launcher:
    """Launches for one deployment. `report` hears of every attempt as soon as it has ended."""

    scope: Scope
    journal: Journal
    report: Callable[[Attempt], None]
    clock: Clock = time
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def claim(self, wanted: Wanted, walk: Walk) -> Any:
        """The running instance of the machine: the one that is there, or a new one. OutOfCapacity if none was had."""
        there = instances.find_ours(self.scope, wanted.key)
        if there is not None:
            self._settle_intents(wanted.key, str(there.id))
            return self.until_running(there)
        closed: dict[str, OcifreeError] = {}
        tried: list[Place] = []
        for place in self._in_order(wanted.key, walk.places):
            if place.ad in closed or len(tried) >= walk.tries:
                continue
            tried.append(place)
            try:
                instance = self._try(wanted, place)
            except OutOfCapacity as error:
                self._tell(wanted, walk, place, Ending.NO_CAPACITY, error.what)
                continue
            except (ShapeNotOffered, QuotaRefused) as error:
                quota = isinstance(error, QuotaRefused)
                self._tell(wanted, walk, place, Ending.QUOTA if quota else Ending.NOT_OFFERED, error.what)
                closed[place.ad] = error
                continue
            except LimitReached as error:
                return self._after_limit(wanted, walk, place, error)
            except OcifreeError as error:
                self._tell(wanted, walk, place, _ending_of(error), error.what)
                raise
            self._tell(wanted, walk, place, Ending.HAD, "had")
            return instance
        if closed and closed.keys() == {place.ad for place in tried}:
            raise next(iter(closed.values()))
        raise OutOfCapacity(
            f"no room for {wanted.key} in {', '.join(map(str, tried)) or 'any availability domain'}",
            why=f"Oracle has no host for {_size(wanted.machine)} there now",
            fix="nothing to do: the hunt goes on while `ocifree ui` runs; `ocifree capacity` looks by hand",
        )

    def until_running(self, instance: Any, work_request: str | None = None) -> Any:
        """Wait for RUNNING. A launch may still fail after Oracle has accepted it; then its reason is raised."""
        request = work_request or self._launch_request(instance)

        def look() -> Any:
            return instances.read(self.scope.session, instance.id)

        def wrong(seen: Any) -> str | None:
            if seen.lifecycle_state in instances.OVER:
                raise self._late_failure(instance, request)
            if seen.lifecycle_state in ("STOPPED", "STOPPING"):
                return (
                    f"it is {seen.lifecycle_state}; start it with `oci compute instance action --action START "
                    f"--instance-id {instance.id}`. That can fail for lack of capacity, so it is not done by itself"
                )
            return None

        return wait_for(
            look,
            lambda seen: seen.lifecycle_state == "RUNNING",
            what=f"{instance.display_name} is running",
            failed=wrong,
            timeout=RUNNING_SECONDS,
            pause=Pause(1, 15),
            clock=self.clock,
        )

    def _try(self, wanted: Wanted, place: Place) -> Any:
        intent = self.journal.intend(
            OPERATION,
            f"{wanted.key} in {place.ad}/{place.fd or 'any'}",
            {"machine": wanted.key, "ad": place.ad, "fd": place.fd},
            now=self.now(),
        )
        try:
            instance, request = self._call(wanted, place, intent)
            running = self.until_running(instance, request)
            _read_back(wanted, running)
        except TimedOut:
            raise
        except Transient:
            # Nobody knows whether it took place. The intent stays open; the next try begins by looking.
            there = instances.find_ours(self.scope, wanted.key)
            if there is None:
                raise
            running = self.until_running(there)
        except OcifreeError as error:
            self.journal.close(intent, type(error).__name__)
            raise
        self.journal.close(intent, f"running as {running.id}")
        return running

    def _call(self, wanted: Wanted, place: Place, intent: Intent) -> tuple[Any, str | None]:
        import oci.retry

        client = self.scope.session.client("core.ComputeClient")
        try:
            with told(f"launch {wanted.key} in {place}"):
                answer = client.launch_instance(
                    _details(self.scope, wanted, place),
                    opc_retry_token=intent.token,
                    retry_strategy=oci.retry.NoneRetryStrategy(),
                )
        except TokenWornOut:
            self.journal.close(intent, "the token was used up")
            raise
        return answer.data, answer.headers.get("opc-work-request-id")

    def _after_limit(self, wanted: Wanted, walk: Walk, place: Place, error: LimitReached) -> Any:
        """A limit that is reached can mean that an earlier launch landed after all. So look, and never loop."""
        there = instances.find_ours(self.scope, wanted.key)
        if there is None:
            self._tell(wanted, walk, place, Ending.LIMIT, error.what)
            raise error
        self._tell(wanted, walk, place, Ending.HAD, "had by an earlier launch")
        return self.until_running(there)

    def _in_order(self, key: str, places: Sequence[Place]) -> Iterator[Place]:
        """First where a call is open whose end nobody knows: its token makes it the same call."""
        now = self.now()
        open_calls = [
            Place(str(intent.details["ad"]), None if intent.details["fd"] is None else str(intent.details["fd"]))
            for intent in self.journal.open_intents(OPERATION)
            if intent.details.get("machine") == key and now < intent.deadline
        ]
        yield from dict.fromkeys([*open_calls, *places])

    def _settle_intents(self, key: str, instance: str) -> None:
        for intent in self.journal.open_intents(OPERATION):
            if intent.details.get("machine") == key:
                self.journal.close(intent, f"found by its tags: {instance}")

    def _launch_request(self, instance: Any) -> str | None:
        with told(f"look for the work request of {instance.display_name}"):
            found = every(
                self.scope.session.client("work_requests.WorkRequestClient").list_work_requests,
                instance.compartment_id,
                resource_id=instance.id,
            )
        launches = [one for one in found if "LAUNCH" in one.operation_type.upper()]
        return str(launches[0].id) if launches else None

    def _late_failure(self, instance: Any, request: str | None) -> OcifreeError:
        doing = f"launch {instance.display_name}, which Oracle had accepted"
        if request is not None:
            client = self.scope.session.client("work_requests.WorkRequestClient")
            with told(f"read why {instance.display_name} failed"):
                errors = client.list_work_request_errors(request, retry_strategy=reading()).data
            if errors:
                code, message = errors[-1].code, errors[-1].message
                status = _STATUS_OF_CODE.get(code, 500)
                return translate(SimpleNamespace(status=status, code=code, message=message, request_id=None), doing)
        return Transient(
            f"{doing}: it ended again",
            why="Oracle gives no reason",
            fix="materialize the asset again; if it repeats, look at the instance in Oracle's console",
        )

    def _tell(self, wanted: Wanted, walk: Walk, place: Place, ending: Ending, words: str) -> None:
        said = walk.said.get(place.ad, Capacity.UNKNOWN)
        self.report(Attempt(wanted.machine.name, place, said, ending, words, walk.request))


def _details(scope: Scope, wanted: Wanted, place: Place) -> Any:
    from oci.core import models

    machine, tags = wanted.machine, scope.tags(wanted.key)
    metadata = {
        "ssh_authorized_keys": "\n".join(wanted.ssh_public_keys),
        "user_data": base64.b64encode(wanted.user_data.get_secret_value().encode()).decode(),
        **{name: secret.get_secret_value() for name, secret in wanted.handed_over.items()},
    }
    size = None
    if machine.shape == A1_SHAPE:
        size = models.LaunchInstanceShapeConfigDetails(
            ocpus=float(machine.ocpus), memory_in_gbs=float(machine.memory_gb)
        )
    return models.LaunchInstanceDetails(
        availability_domain=place.ad,
        fault_domain=place.fd,
        compartment_id=scope.inside,
        display_name=wanted.name,
        shape=machine.shape,
        shape_config=size,
        source_details=models.InstanceSourceViaImageDetails(
            image_id=wanted.image, boot_volume_size_in_gbs=machine.boot_volume_gb, boot_volume_vpus_per_gb=10
        ),
        create_vnic_details=models.CreateVnicDetails(
            subnet_id=wanted.subnet,
            nsg_ids=list(wanted.groups),
            assign_public_ip=wanted.public_address,
            hostname_label=wanted.name,
            display_name=wanted.name,
            freeform_tags=tags,
        ),
        metadata=metadata,
        freeform_tags=tags,
    )


def _read_back(wanted: Wanted, instance: Any) -> None:
    """Oracle has been seen to give other sizes than were asked for."""
    if wanted.machine.shape != A1_SHAPE:
        return
    has = (float(instance.shape_config.ocpus), float(instance.shape_config.memory_in_gbs))
    if has != (float(wanted.machine.ocpus), float(wanted.machine.memory_gb)):
        raise NotVerified(
            f"{wanted.key} runs with {has[0]:g} OCPU and {has[1]:g} GB instead of {_size(wanted.machine)}",
            why=f"Oracle gave another size than was asked for; the instance is kept ({instance.id})",
            fix="look at it in Oracle's console: what is beyond the allowance is billed",
        )


def _ending_of(error: OcifreeError) -> Ending:
    if isinstance(error, Throttled):
        return Ending.THROTTLED
    if isinstance(error, AuthFailed) and not isinstance(error, ClockWrong):
        return Ending.UNAUTHORIZED
    # A conflict passes: the host name of a launch that failed is taken until its network card is gone.
    return Ending.FAULT if isinstance(error, (Transient, Conflict, ClockWrong)) else Ending.REFUSED


def _size(machine: Machine) -> str:
    if machine.shape != A1_SHAPE:
        return machine.shape
    return f"{machine.ocpus} OCPU and {machine.memory_gb} GB"
