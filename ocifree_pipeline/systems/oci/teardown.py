"""The end of a whole deployment: machines first, guardrails last, and a look at everything that could be left.

Only what carries our tags goes. Each stage is over when reading back shows nothing of it, and a stage that leaves
something behind ends the work: what comes later would only be refused. Whoever comes again goes on there, for nothing
is remembered between two runs; each looks at what stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ocifree_pipeline.deployment.errors import Conflict, Forbidden, NotVerified, Transient
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.engine import KINDS
from ocifree_pipeline.systems.oci.foundation.kinds import ENDED, GONE, Scope
from ocifree_pipeline.systems.oci.foundation.network import compartment_of
from ocifree_pipeline.systems.oci.foundation.teardown import GUARDRAILS, Remains, tear_down, what_stands
from ocifree_pipeline.systems.oci.inventory import inventory
from ocifree_pipeline.systems.oci.limits import DEPLOYMENT_TAG
from ocifree_pipeline.systems.oci.session import Session, every
from ocifree_pipeline.systems.oci.waiting import Clock, Pause, TimedOut, wait_for

END_SECONDS = 900.0
COMPARTMENT_SECONDS = 1800.0
_COMPUTE = "core.ComputeClient"
_BLOCK = "core.BlockstorageClient"


class Stage(StrEnum):
    """In this order. Every guard stands until nothing is left that it could guard against."""

    MACHINES = "machines and their disks"
    IMAGES = "custom images"
    FOUNDATION = "objects, addresses, names, network, compartment"
    GUARDRAILS = "budget and quota policy"


@dataclass(frozen=True, slots=True)
class _Mortal:
    """A kind with its list and its end. `more` goes with the call that ends one."""

    name: str
    client: str
    noun: str
    end: str
    more: dict[str, Any] = field(default_factory=dict)

    def all(self, scope: Scope) -> list[Any]:
        """Ours, on their way out too."""
        operation = getattr(scope.session.client(self.client), f"list_{self.noun}s")
        with told(f"list every {self.name}"):
            found = every(operation, compartment_id=scope.inside)
        return [one for one in found if scope.is_ours(one) and one.lifecycle_state not in ENDED]


_STAGES: dict[Stage, tuple[_Mortal, ...]] = {
    Stage.MACHINES: (
        _Mortal("load balancer", "load_balancer.LoadBalancerClient", "load_balancer", "delete_load_balancer"),
        _Mortal(
            "network load balancer",
            "network_load_balancer.NetworkLoadBalancerClient",
            "network_load_balancer",
            "delete_network_load_balancer",
        ),
        _Mortal("instance", _COMPUTE, "instance", "terminate_instance", {"preserve_boot_volume": False}),
        _Mortal("boot volume", _BLOCK, "boot_volume", "delete_boot_volume"),
        _Mortal("volume", _BLOCK, "volume", "delete_volume"),
        _Mortal("boot volume backup", _BLOCK, "boot_volume_backup", "delete_boot_volume_backup"),
        _Mortal("volume backup", _BLOCK, "volume_backup", "delete_volume_backup"),
    ),
    Stage.IMAGES: (
        _Mortal("custom image", _COMPUTE, "image", "delete_image"),
        _Mortal(
            "capability schema",
            _COMPUTE,
            "compute_image_capability_schema",
            "delete_compute_image_capability_schema",
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Teardown:
    """The end of one deployment. `ended` hears of each stage that is over."""

    session: Session
    deployment: str
    compartment_name: str
    journal: Journal
    say: Callable[[str], None] = lambda line: None
    ended: Callable[[Stage], None] = lambda stage: None
    clock: Clock = time

    def run(self) -> None:
        """To the end, or NotVerified with everything that is left and why."""
        for stage in (Stage.MACHINES, Stage.IMAGES):
            self._over(stage, self._end_all(stage))
        self._over(Stage.FOUNDATION, self._end_foundation())
        self._over(Stage.GUARDRAILS, self._tear_down(GUARDRAILS))
        left = self.what_remains()
        if left:
            raise _not_over(left)
        for intent in self.journal.open_intents():
            self.journal.close(intent, "destroyed")

    def what_remains(self) -> tuple[Remains, ...]:
        """All that is ours, wherever it is, and all that can cost money in our compartment. Reads only."""
        left = list(self._billable())
        known = {one.id for one in left}
        scope = self._scope()
        if scope.compartment is not None:
            for mortals in _STAGES.values():
                for mortal in mortals:
                    left += [_as_remains(mortal, one) for one in mortal.all(scope) if one.id not in known]
                    known |= {one.id for one in left}
        left += [one for one in what_stands(*self._whose) if one.id not in known]
        left += [
            Remains("compartment", one.name, one.id, "Oracle is still deleting it")
            for one in self._ending_compartments()
        ]
        return tuple(left)

    # stages ---------------------------------------------------------------------------------------------------------

    def _over(self, stage: Stage, left: Sequence[Remains]) -> None:
        if left:
            raise _not_over(left)
        self.say(f"over: {stage}")
        self.ended(stage)

    def _end_all(self, stage: Stage) -> tuple[Remains, ...]:
        """Kind by kind; what a kind leaves behind still holds the next one."""
        scope = self._scope()
        if scope.compartment is not None:
            for mortal in _STAGES[stage]:
                left = self._end_kind(mortal, scope)
                if left:
                    return left
        return ()

    def _end_kind(self, mortal: _Mortal, scope: Scope) -> tuple[Remains, ...]:
        """All ends are asked for together and waited for together. One that was refused may be on its way all the
        same: the disk of a machine that is ending ends with it."""
        refused: dict[str, str] = {}
        for one in mortal.all(scope):
            if one.lifecycle_state not in GONE:
                self.say(f"end {mortal.name} {one.display_name}")
                why = self._end(mortal, scope, one)
                if why is not None:
                    refused[one.id] = why
        try:
            left = wait_for(
                lambda: mortal.all(scope),
                lambda seen: all(one.id in refused and one.lifecycle_state not in GONE for one in seen),
                what=f"no {mortal.name} is left",
                timeout=END_SECONDS,
                pause=Pause(2, 15),
                clock=self.clock,
            )
        except TimedOut:
            left = mortal.all(scope)
        return tuple(_as_remains(mortal, one, refused.get(one.id)) for one in left)

    def _end(self, mortal: _Mortal, scope: Scope, one: Any) -> str | None:
        """Ask for its end; why not, if Oracle refuses. What is gone meanwhile is no error."""
        try:
            with told(f"end the {mortal.name} {one.display_name}"):
                getattr(scope.session.client(mortal.client), mortal.end)(one.id, **mortal.more)
        except (Conflict, Transient) as error:
            return error.what
        except Forbidden:
            if any(other.id == one.id for other in mortal.all(scope)):
                raise
        return None

    def _end_foundation(self) -> tuple[Remains, ...]:
        """With the compartment at its end; what of others is inside keeps it, and then it keeps its guards too."""
        left = self._tear_down([name for name in KINDS if name not in GUARDRAILS])
        if left:
            named = {one.id for one in left}
            return (*left, *(one for one in self._billable() if one.id not in named))
        try:
            wait_for(
                self._ending_compartments,
                lambda ending: not ending,
                what="Oracle has deleted the compartment",
                timeout=COMPARTMENT_SECONDS,
                pause=Pause(5, 30),
                clock=self.clock,
            )
        except TimedOut:
            return self.what_remains()
        return tuple(self._billable())

    def _tear_down(self, kinds: Sequence[str]) -> tuple[Remains, ...]:
        return tear_down(*self._whose, kinds, say=self.say, clock=self.clock)

    # looking --------------------------------------------------------------------------------------------------------

    def _billable(self) -> Iterator[Remains]:
        own = compartment_of(*self._whose)
        for thing in inventory(self.session):
            in_ours = own is not None and own.is_ours and thing.compartment == own.id
            if thing.owner == self.deployment or in_ours:
                why = "it stands" if thing.owner == self.deployment else "it is not ours, and stands in our compartment"
                why = f"it is still {thing.state}" if thing.is_ending else why
                yield Remains(thing.item.kind, thing.item.name, thing.id, why)

    def _ending_compartments(self) -> list[Any]:
        with told("look for compartments that are being deleted"):
            found = every(
                self.session.client("identity.IdentityClient").list_compartments,
                self.session.tenancy,
                lifecycle_state="DELETING",
            )
        return [one for one in found if (one.freeform_tags or {}).get(DEPLOYMENT_TAG) == self.deployment]

    def _scope(self) -> Scope:
        compartment = compartment_of(*self._whose)
        return Scope(self.session, self.deployment, compartment.id if compartment else None)

    @property
    def _whose(self) -> tuple[Session, str, str]:
        return self.session, self.deployment, self.compartment_name


def _as_remains(mortal: _Mortal, one: Any, why: str | None = None) -> Remains:
    reason = f"it is still {one.lifecycle_state}" if one.lifecycle_state in GONE else why or "it stands"
    return Remains(mortal.name.replace(" ", "_"), one.display_name, one.id, reason)


def _not_over(left: Sequence[Remains]) -> NotVerified:
    return NotVerified(
        f"{len(left)} thing{'s are' if len(left) != 1 else ' is'} left of the deployment",
        why="; ".join(map(str, left)),
        fix="`ocifree destroy` again: it looks first and goes on where it stopped",
    )
