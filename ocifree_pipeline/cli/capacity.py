"""ocifree capacity: does Oracle have room now, for A1 and for the Micro, in every availability domain."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from ocifree_pipeline.cli.declared import blueprint_for
from ocifree_pipeline.cli.exits import Exit
from ocifree_pipeline.cli.output import fail, say, say_json, table
from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.capacity import Answer, Capacity, Trouble
from ocifree_pipeline.deployment.errors import OcifreeError, Transient
from ocifree_pipeline.deployment.plan import MICRO_SHAPE

if TYPE_CHECKING:
    from ocifree_pipeline.systems.oci.capacity import Want

Answered = TypeVar("Answered")

ASK_SECONDS = 2.2
"""Four questions one after the other stay under ten seconds."""
ASKING = "asks-oracle"
"""The name of the threads that ask, some of which are given up."""

_MARKS = {Capacity.AVAILABLE: "ok", Capacity.UNAVAILABLE: "idle", Capacity.UNKNOWN: "warn"}
_TODO = {
    Trouble.UNAUTHORIZED: "`ocifree doctor` checks key, clock and account",
    Trouble.NOT_FOUND: "allow `manage compute-capacity-reports in tenancy`, or ask `ocifree doctor`",
    Trouble.THROTTLED: "wait some minutes; asking more often makes it worse",
    Trouble.FAULT: "try again in a minute; `ocifree doctor` tests the connection",
}


@dataclass(frozen=True, slots=True)
class Look:
    """One look at both shapes."""

    at: datetime
    region: str
    a1: tuple[Answer, ...]
    micro: tuple[Answer, ...]

    @property
    def a1_available(self) -> bool:
        return any(answer.capacity is Capacity.AVAILABLE for answer in self.a1)

    def verdict(self) -> str:
        """What it means for A1, and what to do."""
        if self.a1_available:
            return "A1 is available: `ocifree up` takes it"
        unknown = [answer for answer in self.a1 if answer.capacity is Capacity.UNKNOWN]
        if unknown:
            todo = _TODO[unknown[0].trouble or Trouble.FAULT] if unknown[0].trouble in _TODO else _TODO[Trouble.FAULT]
            return f"whether A1 is available could not be told for {len(unknown)} of {len(self.a1)} domains: {todo}"
        if self.a1 and all(answer.trouble is Trouble.NOT_OFFERED for answer in self.a1):
            return (
                "this region does not offer A1: free A1 machines exist in the home region only, which cannot be changed"
            )
        return "A1 is not available now: leave `ocifree ui` running, its hunt waits for it"

    def as_dict(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "region": self.region,
            "a1": {"available": _overall(self.a1), "domains": [asdict(answer) for answer in self.a1]},
            "micro": {"available": _overall(self.micro), "domains": [asdict(answer) for answer in self.micro]},
            "say": self.verdict(),
        }


def show_capacity(path: Path | None, watch: bool, as_json: bool, resume: bool) -> None:
    """Exit 0 when A1 is available, 1 when it is not or could not be told."""
    blueprint = blueprint_for(path, json_wanted=as_json)
    if resume:
        _resume(blueprint)
    look: Look | None = None
    try:
        for look in _looks(blueprint, watch):
            _show(look, as_json)
    except OcifreeError as error:
        raise fail(error, as_json=as_json) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(Exit.INTERRUPTED) from error
    raise typer.Exit(Exit.OK if look is not None and look.a1_available else Exit.FAILED)


def _looks(blueprint: Blueprint, watch: bool) -> Iterator[Look]:
    """Once; or, watching, at the interval of the policy until A1 is there. Asking more often gets accounts closed."""
    while True:
        seen = look_now(blueprint)
        yield seen
        if not watch or seen.a1_available:
            return
        time.sleep(blueprint.declaration.hunt.interval_minutes * 60)


def look_now(blueprint: Blueprint) -> Look:
    from ocifree_pipeline.systems.oci.capacity import Want, availability_domains, core_limits
    from ocifree_pipeline.systems.oci.session import session_for

    session = session_for(blueprint.declaration.site)
    ads = _within(ASK_SECONDS, lambda: availability_domains(session))
    wants = [Want(machine.shape, machine.ocpus, machine.memory_gb) for machine in blueprint.plan.ampere]
    a1 = _asked(session, ads, wants)
    try:
        limits = _within(ASK_SECONDS, lambda: core_limits(session, MICRO_SHAPE))
    except OcifreeError as error:
        from ocifree_pipeline.systems.oci.capacity import answer_of

        micro = tuple(answer_of(ad, error) for ad in ads)
    else:
        micro = _asked(session, [ad for ad in ads if limits.get(ad)], [Want(MICRO_SHAPE, 1, 1)])
    return Look(datetime.now(UTC), session.region, a1, micro)


def _within(seconds: float, work: Callable[[], Answered]) -> Answered:
    """What `work` returns or raises; Transient when it takes longer. Reads elsewhere are more patient than a person."""
    ended: queue.Queue[tuple[Answered | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            ended.put((work(), None))
        except BaseException as error:
            ended.put((None, error))

    threading.Thread(target=run, daemon=True, name=ASKING).start()
    try:
        answered, error = ended.get(timeout=seconds)
    except queue.Empty:
        raise Transient(
            f"Oracle did not answer within {seconds:g} s",
            why="the network is slow, or something on the way swallows the request",
            fix="`ocifree doctor` tests the connection",
        ) from None
    if error is not None:
        raise error
    return answered  # type: ignore[return-value]


def _asked(session: Any, ads: Sequence[str], wants: Sequence[Want]) -> tuple[Answer, ...]:
    from ocifree_pipeline.systems.oci.capacity import ask_everywhere

    return ask_everywhere(session, ads, wants, seconds=ASK_SECONDS)


def _show(look: Look, as_json: bool) -> None:
    if as_json:
        say_json(look.as_dict())
        return
    say(f"{look.region}, {look.at.isoformat(sep=' ', timespec='seconds')}", style="bold")
    rows = [("A1", answer) for answer in look.a1] + [("Micro", answer) for answer in look.micro]
    table(
        ["", "shape", "availability domain", "Oracle says"],
        [[_MARKS[answer.capacity], shape, answer.ad, _said(answer)] for shape, answer in rows],
    )
    if not look.micro:
        say("Micro: the limit of this tenancy is 0 in every domain; write `nodes: {bastion: none}`", style="yellow")
    say(look.verdict())


def _said(answer: Answer) -> str:
    fds = f" in {', '.join(answer.open_fds)}" if answer.open_fds else ""
    return answer.words + fds


def _overall(answers: Sequence[Answer]) -> bool | None:
    """None when it could not be told."""
    if any(answer.capacity is Capacity.AVAILABLE for answer in answers):
        return True
    return None if any(answer.capacity is Capacity.UNKNOWN for answer in answers) else False


def _resume(blueprint: Blueprint) -> None:
    """Let the hunts go on that stopped themselves."""
    from ocifree_pipeline.cli.home import ensure_home

    ensure_home()
    import dagster as dg

    from ocifree_pipeline.record.machines import CAPACITY, key_of, let_hunt_go_on

    bastion = blueprint.plan.bastion
    with dg.DagsterInstance.get() as instance:
        for key in [CAPACITY, *([key_of(bastion)] if bastion else [])]:
            let_hunt_go_on(instance, key)
    say("the hunt goes on at its next tick")
