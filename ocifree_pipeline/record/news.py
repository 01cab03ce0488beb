"""What people should hear of, read from the record: failures of a run, and how things stand now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from pydantic import ValidationError

from ocifree_pipeline.deployment.blueprint import Blueprint
from ocifree_pipeline.deployment.errors import PreconditionMissing, Reaction
from ocifree_pipeline.deployment.hunt import HuntState
from ocifree_pipeline.deployment.notices import DAY, HOUR, Event, Notice
from ocifree_pipeline.deployment.watching import Turn
from ocifree_pipeline.record.assurance import CostFacts, IdleFacts
from ocifree_pipeline.record.destroyed import destroyed_since_made
from ocifree_pipeline.record.facts import SomeFacts, find_facts, materialize_command
from ocifree_pipeline.record.happenings import INTERRUPTED, Happening, happenings
from ocifree_pipeline.record.machines import CAPACITY, CapacityFacts, InstanceFacts, is_claimed
from ocifree_pipeline.record.observed import newest
from ocifree_pipeline.record.tenancy import LimitsFacts
from ocifree_pipeline.record.watched import is_lost, last_turn

RETRY_WORDS = {
    Reaction.RETRY.value: "Trying again may help: it was tried three times, and what failed may pass.",
    Reaction.WAIT.value: "Nothing to do: the hunt tries again by itself.",
    Reaction.STOP.value: "Trying again alone does not help: the cause has to go first.",
    Reaction.ASK.value: "It waits for a decision that only a person may take.",
    INTERRUPTED: "Trying again helps: nothing failed but its process.",
}
UNKNOWN_WORDS = "Whether trying again helps is not known: this is an error that ocifree does not know."
DIGEST_HOUR = 7
CERTIFICATES = frozenset({"certificate_valid", "secrets_kept"})
TOLD_OTHERWISE = frozenset({"bill_is_zero", "reclaim_risk", "limits_drift"})
"""Checks whose news is told from the report they belong to."""


# a run that failed ----------------------------------------------------------------------------------------------------


def failure(instance: dg.DagsterInstance, run: dg.DagsterRun, said: str) -> Notice | None:
    """What to say of a run that failed; None when it only waits for capacity. `said` is its own last word."""
    seen = list(happenings(instance, run.run_id, pause=_never))
    failed = [one for one in seen if one.kind == "failed"]
    broken = [one for one in seen if one.kind == "check_failed"]
    if failed and all(one.details.get("reaction") == Reaction.WAIT.value for one in failed):
        return None
    mattering = [one for one in failed if one.details.get("reaction") != Reaction.WAIT.value] or broken
    if not mattering:
        first = said.strip().splitlines()[0] if said.strip() else "it ended without a word"
        return _failure(run, f"run {run.run_id[:8]}", first, again="ocifree up")
    one, *others = mattering
    subject = one.subject.partition(":")[0]
    again = str(one.details.get("again") or (materialize_command(f"{subject}+") if "/" in subject else "ocifree up"))
    rest = tuple(f"{other.subject}: {_what(other)}" for other in others)
    return _failure(run, one.subject, _what(one), again=again, details=one.details, others=rest)


def _failure(
    run: dg.DagsterRun,
    subject: str,
    what: str,
    *,
    again: str,
    details: Mapping[str, Any] = MappingProxyType({}),
    others: tuple[str, ...] = (),
) -> Notice:
    reaction = str(details.get("reaction") or "")
    return Notice(
        event=Event.FAILED,
        about=f"{subject}: {what}"[:200],
        values={
            "subject": subject,
            "what": what,
            "why": str(details.get("why") or ""),
            "fix": str(details.get("fix") or ""),
            "retry": RETRY_WORDS.get(reaction, UNKNOWN_WORDS),
            "again": again,
            "others": others[:5],
            "run": run.run_id[:8],
            "trigger": _trigger(run),
        },
    )


def _what(one: Happening) -> str:
    text = str(one.details.get("what") or one.text or "it ended without a word")
    return text.strip().splitlines()[0][:300]


def _trigger(run: dg.DagsterRun) -> str:
    tags = run.tags
    for tag, words in (("ocifree/hunt", "the hunt"), ("ocifree/repair", "the watch over machines")):
        if tag in tags:
            return f", asked for by {words}"
    name = tags.get("dagster/schedule_name") or tags.get("dagster/sensor_name")
    return f", asked for by {name}" if name else ""


def _never(_seconds: float) -> None:
    raise AssertionError("a run that has ended is not waited for")


# how things stand -----------------------------------------------------------------------------------------------------


def current(
    instance: dg.DagsterInstance,
    blueprint: Blueprint,
    checks: Iterable[dg.AssetCheckKey],
    below: Mapping[str, tuple[str, ...]],
    now: float,
) -> list[Notice]:
    """Everything that is worth a message now. Who hears of it, and how often, is the matter of the ledger."""
    return [
        *_charges(instance),
        *_machines(instance, blueprint, below, now),
        *_hunt(instance, blueprint, now),
        *_idle(instance, blueprint),
        *_limits(instance),
        *_checks(instance, checks),
    ]


def _charges(instance: dg.DagsterInstance) -> Iterator[Notice]:
    facts = _known(instance, "assurance/cost_report", CostFacts)
    if facts is not None and facts.charged:
        amount = _metadata(instance, "assurance/cost_report").get("cost")
        yield Notice(
            event=Event.CHARGE,
            about=", ".join(facts.charged)[:200],
            values={
                "amount": f"{float(amount or 0):.2f} {facts.currency} since {facts.since}",
                "charged": facts.charged[:10],
            },
        )


def _machines(
    instance: dg.DagsterInstance, blueprint: Blueprint, below: Mapping[str, tuple[str, ...]], now: float
) -> Iterator[Notice]:
    for machine in blueprint.plan.machines:
        turned = last_turn(instance, machine.name)
        if turned is not None and turned[0] is not Turn.BACK:
            yield Notice(
                event=Event.LOST,
                about=f"{machine.name} {turned[0].value}",
                values={
                    "machine": machine.name,
                    "turn": turned[0].value,
                    "what": turned[1],
                    "below": below.get(machine.name, ()),
                    "next": _after_turn(instance, machine.name, turned[0]),
                },
            )
        claim = _last_claim(instance, machine.name)
        if claim is not None and now - claim[0] < DAY:
            yield Notice(
                event=Event.CLAIMED,
                about=f"{machine.name} {int(claim[0])}",
                values={
                    "machine": machine.name,
                    "where": claim[1],
                    "next": "What hangs on it is made by the same run: ocifree watch",
                },
            )


def _after_turn(instance: dg.DagsterInstance, machine: str, turn: Turn) -> str:
    if turn is Turn.LOST:
        return "The hunt looks for another, and its run makes again what hangs on it."
    if turn is Turn.SILENT:
        return f"what it printed last: ocifree console {machine}"
    facts = _known(instance, f"machines/{machine}", InstanceFacts)
    ocid = facts.ocid if facts else "OCID"
    return (
        "It is not started by itself, as that can fail for lack of capacity: "
        f"oci compute instance action --action START --instance-id {ocid}"
    )


def _last_claim(instance: dg.DagsterInstance, machine: str) -> tuple[float, str] | None:
    record = newest(instance, f"machines/{machine}", lambda told: "launched" in told)
    told = record.asset_observation.metadata if record and record.asset_observation else {}
    return (record.timestamp, str(told["summary"].value)) if record and told["launched"].value else None


def _hunt(instance: dg.DagsterInstance, blueprint: Blueprint, now: float) -> Iterator[Notice]:
    missing = tuple(
        machine.name
        for machine in blueprint.plan.ampere
        if not _is_made(instance, machine.name) and not is_claimed(instance, machine.name)
    )
    facts = _known(instance, CAPACITY, CapacityFacts)
    if not missing or facts is None:
        return
    metadata = _metadata(instance, CAPACITY)
    try:
        state = HuntState.model_validate(metadata.get("hunt"))
    except ValidationError:
        return
    if state.stopped:
        yield Notice(event=Event.HUNT_STOPPED, about=state.stopped[:200], values={"why": state.stopped})
        return
    if facts.request and now - facts.asked_at < HOUR:
        where = tuple(ad if fd is None else f"{ad} {fd}" for ad, fd in facts.places)
        yield Notice(
            event=Event.CAPACITY, about=", ".join(where)[:200], values={"machines": facts.machines, "where": where}
        )
    started, moment = state.started_at or now, datetime.fromtimestamp(now, UTC)
    if now - started > DAY / 2 and moment.hour >= DIGEST_HOUR:
        yield Notice(
            event=Event.DIGEST,
            about=str(moment.date()),
            values={
                "days": f"{(now - started) / DAY:.1f}",
                "missing": missing,
                "stands": str(metadata.get("summary") or ""),
            },
        )


def _idle(instance: dg.DagsterInstance, blueprint: Blueprint) -> Iterator[Notice]:
    """Paying accounts are left alone, as users report; their report says so, and no message."""
    facts = _known(instance, "assurance/idle_report", IdleFacts)
    if facts is not None and facts.at_risk and blueprint.declaration.site.account == "free":
        summary = str(_metadata(instance, "assurance/idle_report").get("summary") or "")
        yield Notice(
            event=Event.IDLE, about=", ".join(facts.at_risk), values={"machines": facts.at_risk, "what": summary}
        )


def _limits(instance: dg.DagsterInstance) -> Iterator[Notice]:
    facts = _known(instance, "tenancy/limits", LimitsFacts)
    if facts is not None and facts.changed:
        digest = hashlib.sha256("\n".join(facts.changed).encode()).hexdigest()[:12]
        yield Notice(event=Event.LIMITS, about=digest, values={"changed": facts.changed[:12]})


def _checks(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]) -> Iterator[Notice]:
    for check, (said, is_warning) in failing(instance, keys).items():
        asset, name = check.asset_key.to_user_string(), check.name
        if name in CERTIFICATES:
            yield Notice(
                event=Event.CERTIFICATE,
                about=asset,
                values={"what": asset, "when": said, "again": materialize_command(asset)},
            )
        elif name == "drift" or (name.endswith("_drift") and name not in TOLD_OTHERWISE):
            yield Notice(
                event=Event.DRIFT,
                about=asset,
                values={
                    "asset": asset,
                    "what": said,
                    "next": f"what differs, by layer: ocifree drift --select '{asset}'",
                },
            )
        elif not is_warning and name not in TOLD_OTHERWISE:
            yield Notice(
                event=Event.CHECK, about=f"{asset}:{name}", values={"asset": asset, "check": name, "what": said}
            )


def failing(instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]) -> dict[dg.AssetCheckKey, tuple[str, bool]]:
    """The checks that found something wrong when they were last done: what they said, and whether it only warns.

    One that is being looked at again stands as it was found before.
    """
    found: dict[dg.AssetCheckKey, tuple[str, bool]] = {}
    for key, record in latest_done(instance, keys).items():
        event = record.event.dagster_event if record.event else None
        if record.status.value != "FAILED" or event is None:
            continue
        data = event.asset_check_evaluation_data
        found[key] = (data.description or "it failed", data.severity is dg.AssetCheckSeverity.WARN)
    return found


def latest_done(
    instance: dg.DagsterInstance, keys: Iterable[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, AssetCheckExecutionRecord]:
    storage = instance.event_log_storage
    done: dict[dg.AssetCheckKey, AssetCheckExecutionRecord] = {}
    for key, record in storage.get_latest_asset_check_execution_by_key(list(keys)).items():
        if record.status is AssetCheckExecutionRecordStatus.PLANNED:
            before = storage.get_asset_check_execution_history(
                key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
            )
            done |= {key: before[0]} if before else {}
        else:
            done[key] = record
    return done


def _known(instance: dg.DagsterInstance, key: str, kind: type[SomeFacts]) -> SomeFacts | None:
    """A record of another version tells nothing, and keeps nobody from hearing the rest."""
    try:
        return find_facts(instance, key, kind)
    except PreconditionMissing:
        return None


def _is_made(instance: dg.DagsterInstance, machine: str) -> bool:
    key = f"machines/{machine}"
    made = instance.get_latest_materialization_event(dg.AssetKey(["machines", machine]))
    return made is not None and destroyed_since_made(instance, key) is None and not is_lost(instance, machine)


def _metadata(instance: dg.DagsterInstance, key: str) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(key))
    values = event.asset_materialization.metadata if event and event.asset_materialization else {}
    return {name: getattr(value, "value", None) for name, value in values.items()}
