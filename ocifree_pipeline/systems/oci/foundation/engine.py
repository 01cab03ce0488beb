"""Observe, plan, apply in order, read back. The same few lines for every kind of resource."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ocifree_pipeline.deployment.convergence import (
    Found,
    Ref,
    Step,
    Wanted,
    lines_of,
    refs_in,
    resolve,
    steps_between,
)
from ocifree_pipeline.deployment.errors import Conflict, NotVerified, PreconditionMissing, Refused
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.errors import TokenWornOut
from ocifree_pipeline.systems.oci.foundation.bucket import BUCKET
from ocifree_pipeline.systems.oci.foundation.dns import RECORD, ZONE
from ocifree_pipeline.systems.oci.foundation.firewall import SECURITY_GROUP, SECURITY_LIST
from ocifree_pipeline.systems.oci.foundation.kinds import GONE, READY, ROLE_TAG, Kind, Scope
from ocifree_pipeline.systems.oci.foundation.money import ALERT_RULE, BUDGET, QUOTA
from ocifree_pipeline.systems.oci.foundation.network import (
    COMPARTMENT,
    INTERNET_GATEWAY,
    NAT_GATEWAY,
    RESERVED_IP,
    ROUTE_TABLE,
    SUBNET,
    VCN,
)
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG
from ocifree_pipeline.systems.oci.session import Session
from ocifree_pipeline.systems.oci.waiting import Clock, TimedOut, wait_for

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        QUOTA,
        BUDGET,
        ALERT_RULE,
        COMPARTMENT,
        VCN,
        SECURITY_LIST,
        INTERNET_GATEWAY,
        NAT_GATEWAY,
        ROUTE_TABLE,
        SUBNET,
        SECURITY_GROUP,
        RESERVED_IP,
        BUCKET,
        ZONE,
        RECORD,
    )
}
"""In the order of their making; they go in the opposite order."""

READY_SECONDS = 300
SETTLE_SECONDS = 120


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Plan:
    """What stands, and the steps from there to what is wanted."""

    steps: tuple[Step, ...]
    found: Mapping[str, Found]
    surplus: tuple[str, ...] = ()
    """Ours, and no longer wanted. It is named and left: an address that is given back never returns."""

    @property
    def lines(self) -> tuple[str, ...]:
        return lines_of(self.steps)

    @property
    def is_noop(self) -> bool:
        return all(step.action == "keep" for step in self.steps)


@dataclass(frozen=True, slots=True)
class Engine:
    """The resources of one deployment in one tenancy."""

    session: Session
    deployment: str
    compartment_name: str
    journal: Journal
    say: Callable[[str], None] = field(default=lambda line: None)
    clock: Clock = time
    now: Callable[[], datetime] = _now

    def plan(self, wanted: Sequence[Wanted], leans_on: Sequence[Wanted] = ()) -> Plan:
        """Reads only. `leans_on` are resources of other parts that this one points at; they are looked up, not made."""
        found, standing = self._observe((*wanted, *leans_on))
        return Plan(steps_between(wanted, found), found, tuple(self._surplus(wanted, leans_on, standing)))

    def apply(self, plan: Plan, leans_on: Sequence[Wanted] = ()) -> Mapping[str, Found]:
        """Everything by role, after it was made and read back as planned."""
        found = dict(plan.found)
        self._close_what_landed(plan)
        for step in plan.steps:
            for line in step.lines():
                self.say(line)
            self._do(step, found)
        return self._verified([step.wanted for step in plan.steps], leans_on, plan.is_noop, found)

    # observing ------------------------------------------------------------------------------------------------------

    def _observe(self, wanted: Sequence[Wanted]) -> tuple[dict[str, Found], dict[str, list[Found]]]:
        """What stands, by role, and everything there is of the same kinds."""
        found: dict[str, Found] = {}
        standing: dict[str, list[Found]] = {}
        for one in wanted:
            kind = KINDS[one.kind]
            scope = self._scope(found)
            if one.comes_with is not None:
                parent = found.get(one.comes_with)
                there = kind.read(scope, parent.attributes[f"default_{one.kind}_id"]) if parent else None
            else:
                if one.kind not in standing:
                    standing[one.kind] = list(kind.list(scope))
                there = self._among(one, standing[one.kind], found)
            if there is not None:
                found[one.role] = there
                if one.kind == "compartment":
                    self.until_known(there.id)
        return found, standing

    def _surplus(
        self, wanted: Sequence[Wanted], leans_on: Sequence[Wanted], standing: Mapping[str, Sequence[Found]]
    ) -> Iterator[str]:
        roles = {one.role for one in (*wanted, *leans_on)}
        for kind, things in standing.items():
            for one in things:
                if one.tags.get(DEPLOYMENT_TAG) == self.deployment and one.tags.get(ROLE_TAG) not in roles:
                    yield f"{kind.replace('_', ' ')} {one.name} is ours and no longer declared ({one.id})"

    def _among(self, wanted: Wanted, standing: Sequence[Found], found: Mapping[str, Found]) -> Found | None:
        tags = {DEPLOYMENT_TAG: self.deployment, ROLE_TAG: wanted.role}
        ours = [one for one in standing if tags.items() <= one.tags.items()]
        if len(ours) > 1:
            raise Conflict(
                f"there are {len(ours)} of {wanted}: {', '.join(one.id for one in ours)}",
                why=f"each carries the tag {ROLE_TAG}={wanted.role} of deployment {self.deployment}, and only one can",
                fix="delete the one that nothing uses, or take its tags away; then materialize again",
            )
        if ours:
            return ours[0]
        namesakes = [one for one in standing if one.name == wanted.name]
        if not namesakes:
            return None
        if wanted.if_named_so == "refuse":
            raise Conflict(
                f"{wanted} exists already, and this deployment did not make it",
                why=f"it has no tag {DEPLOYMENT_TAG}={self.deployment}, so it is somebody else's and is left alone",
                fix="give the deployment another name; if it is yours after all, put both tags back: "
                + ", ".join(f"{key}={value}" for key, value in tags.items()),
            )
        if wanted.if_named_so == "use":
            return _as_ours(namesakes[0])
        fixed = resolve(wanted.fixed, found)
        lost = [one for one in namesakes if DEPLOYMENT_TAG not in one.tags]
        return next((one for one in lost if all(one.values.get(key) == fixed[key] for key in fixed)), None)

    def _scope(self, found: Mapping[str, Found]) -> Scope:
        compartment = found.get("compartment")
        return Scope(self.session, self.deployment, compartment.id if compartment else None)

    # doing ----------------------------------------------------------------------------------------------------------

    def _do(self, step: Step, found: dict[str, Found]) -> None:
        wanted, kind = step.wanted, KINDS[step.wanted.kind]
        scope = self._scope(found)
        there = step.found
        if step.action == "create":
            there = self._create(scope, kind, wanted, found)
        elif there is None and wanted.comes_with:
            # It was not there to be compared when the plan was made; its parent has brought it since.
            brought = kind.read(scope, found[wanted.comes_with].attributes[f"default_{wanted.kind}_id"])
            there = self._changed(scope, kind, wanted, brought, found)
        elif step.action in ("update", "adopt"):
            there = self._changed(scope, kind, wanted, there, found)
        if there is None:
            raise RuntimeError(f"{wanted} is to be kept and does not stand")
        found[wanted.role] = self._ready(scope, kind, wanted, there)

    def _changed(
        self, scope: Scope, kind: Kind, wanted: Wanted, there: Found | None, found: Mapping[str, Found]
    ) -> Found:
        """The resource after everything about it was changed that differs."""
        if there is None:
            raise NotVerified(
                f"{wanted} is gone", why="it stood a moment ago", fix="materialize the asset again; it looks first"
            )
        (step,) = steps_between([wanted], {**found, wanted.role: there})
        if step.action != "keep":
            changes = {change.name: change.wants for change in step.changes}
            tags = {**there.tags, **scope.tags(wanted.role)}
            kind.update(scope, there, self._resolved(changes, wanted, {**found, wanted.role: there}), tags)
        return there

    def _create(self, scope: Scope, kind: Kind, wanted: Wanted, found: Mapping[str, Found]) -> Found:
        values = self._resolved({**wanted.fixed, **wanted.fields}, wanted, found)
        operation = f"create {wanted.kind}"
        details = {"name": wanted.name, "asks": hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16]}
        intent = self.journal.intend(operation, wanted.role, details, now=self.now())
        if dict(intent.details) != details:
            # The declaration changed since; the same token with another body would be refused.
            self.journal.close(intent, "superseded")
            intent = self.journal.intend(operation, wanted.role, details, now=self.now())
        try:
            made = kind.create(scope, wanted.name, values, scope.tags(wanted.role), intent.token)
        except (Conflict, TokenWornOut):
            # Somebody was faster, perhaps another step of ours.
            self.journal.close(intent, "conflict")
            faster = self._observe_one(wanted, found)
            if faster is None:
                raise
            return self._changed(scope, kind, wanted, faster, found)
        except Refused:
            self.journal.close(intent, "refused")
            raise
        there = wait_for(
            lambda: kind.read(scope, made),
            lambda seen: seen is not None,
            what=f"{wanted} can be read",
            timeout=READY_SECONDS,
            clock=self.clock,
        )
        if wanted.kind == "compartment":
            self.until_known(made)
        self.journal.close(intent, made)
        if there is None:
            raise RuntimeError("wait_for returned what it was told not to")
        return there

    def _observe_one(self, wanted: Wanted, found: Mapping[str, Found]) -> Found | None:
        standing = list(KINDS[wanted.kind].list(self._scope(found)))
        return self._among(wanted, standing, found)

    def _ready(self, scope: Scope, kind: Kind, wanted: Wanted, there: Found) -> Found:
        if there.state in READY:
            return there
        ready = wait_for(
            lambda: kind.read(scope, there.id),
            lambda seen: seen is not None and seen.state in READY,
            failed=lambda seen: f"{wanted} is gone" if seen is None or seen.state in GONE else None,
            what=f"{wanted} is ready",
            timeout=READY_SECONDS,
            clock=self.clock,
        )
        return ready or there

    def until_known(self, compartment: str) -> None:
        """A new compartment is not known everywhere at once; until then it answers like one that we may not see.

        It is new while the call that made it is open: whoever made it still waits here, or has died.
        """
        if not self.journal.open_intents("create compartment"):
            return
        scope = Scope(self.session, self.deployment, compartment)

        def is_known() -> bool:
            try:
                list(VCN.list(scope))
            except Refused:
                return False
            return True

        wait_for(
            is_known, bool, what="the new compartment is known everywhere", timeout=READY_SECONDS, clock=self.clock
        )

    def _resolved(self, values: Mapping[str, object], wanted: Wanted, found: Mapping[str, Found]) -> dict[str, object]:
        resolved: dict[str, object] = resolve(values, found)
        missing = {ref.role for ref in refs_in(resolved) if ref != Ref(wanted.role)}
        if missing:
            raise PreconditionMissing(
                f"{wanted} needs {', '.join(sorted(missing))}, which does not stand",
                why="another asset makes it",
                fix="ocifree up --select 'oci/network' 'oci/reserved_ips'",
            )
        return resolved

    # afterwards -----------------------------------------------------------------------------------------------------

    def _close_what_landed(self, plan: Plan) -> None:
        """Calls of an earlier run that died after them: what they made stands, so they are over."""
        for intent in self.journal.open_intents():
            landed = plan.found.get(intent.subject)
            if landed is not None and intent.operation.startswith("create "):
                self.journal.close(intent, landed.id)

    def _verified(
        self, wanted: Sequence[Wanted], leans_on: Sequence[Wanted], was_noop: bool, found: Mapping[str, Found]
    ) -> Mapping[str, Found]:
        if was_noop:
            return found
        try:
            again = wait_for(
                lambda: self.plan(wanted, leans_on),
                lambda plan: plan.is_noop,
                what="what was made is as it was planned",
                timeout=SETTLE_SECONDS,
                clock=self.clock,
            )
        except TimedOut as error:
            raise NotVerified(
                "Oracle accepted every change, and reading back still differs",
                why=error.why,
                fix="somebody else may be changing it at the same time; materialize the asset again",
            ) from error
        return again.found


def _as_ours(found: Found) -> Found:
    return Found(found.id, found.name, True, found.state, found.values, found.attributes, found.tags)
