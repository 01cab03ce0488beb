"""The whole state of the sandbox in one object, and the transitions that change it while time passes.

Everything in a World can be written as JSON, so a snapshot is one file. Bytes of objects are the exception: they
live as files in the world's directory, named by the state.

    @transition("vcn.available")
    def vcn_available(world: World, ocid: str) -> None:
        world.set_state("vcn", ocid, "AVAILABLE")

    world.clock.later(5, "vcn.available", ocid=vcn.ocid)
"""

import base64
import hashlib
import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ocifree_pipeline.sandbox.clock import Mode, Step, VirtualClock

Transition = Callable[..., None]
TRANSITIONS: dict[str, Transition] = {}
LOADED_LATE = {"talos": ("ocifree_pipeline.sandbox.talos.cluster", "ocifree_pipeline.sandbox.talos.life")}
"""By the beginning of the name: modules that the server loads when somebody asks for what they play."""

GONE = frozenset({"TERMINATED", "DELETED"})


def transition(name: str) -> Callable[[Transition], Transition]:
    """Register a function ``f(world, **args)`` under a name that snapshots can carry."""

    def register(function: Transition) -> Transition:
        if TRANSITIONS.setdefault(name, function) is not function:
            raise ValueError(f"two transitions are called {name!r}; give one of them another name")
        return function

    return register


def transition_called(name: str) -> Transition:
    """A world that was put away may wait for what nobody has asked for since."""
    for module in LOADED_LATE.get(name.partition(".")[0], ()) if name not in TRANSITIONS else ():
        import_module(module)
    if name not in TRANSITIONS:
        raise LookupError(f"no transition is registered as {name!r}; import the module that defines it")
    return TRANSITIONS[name]


@dataclass(slots=True)
class Resource:
    """One thing in the tenancy. ``body`` is what clients see; ``hidden`` is what the sandbox knows besides."""

    ocid: str
    kind: str
    body: dict[str, Any]
    hidden: dict[str, Any] = field(default_factory=dict)
    region: str = ""
    etag: str = ""
    created: str = ""

    @property
    def state(self) -> str:
        return str(self.body.get("lifecycleState", ""))

    @property
    def gone(self) -> bool:
        return self.state in GONE


class World:
    def __init__(
        self,
        directory: Path,
        *,
        seed: int = 0,
        mode: Mode = "immediate",
        rate: float = 1.0,
        clock: VirtualClock | None = None,
    ) -> None:
        self.directory = directory
        self.seed = seed
        self.clock = clock or VirtualClock(mode, rate=rate)
        self.random = random.Random(seed)  # noqa: S311 - a game of chance that must be repeatable, no secret
        self.tables: dict[str, dict[str, Resource]] = {}
        self.keys: dict[str, str] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.profile: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self._counters: dict[str, int] = {}

    # identities -------------------------------------------------------------------------------------------------

    def fresh(self, purpose: str, length: int = 52) -> str:
        """A new lowercase word; the n-th one for a purpose is the same in every world of the same seed."""
        count = self._counters[purpose] = self._counters.get(purpose, 0) + 1
        digest = hashlib.shake_256(f"{self.seed}/{purpose}/{count}".encode()).digest(length)
        return base64.b32encode(digest).decode().lower().rstrip("=")[:length]

    def new_ocid(self, kind: str, region: str = "") -> str:
        return f"ocid1.{kind}.oc1.{region}.aaaaaaaa{self.fresh(kind)}"

    # resources --------------------------------------------------------------------------------------------------

    def table(self, kind: str) -> dict[str, Resource]:
        return self.tables.setdefault(kind, {})

    def add(
        self,
        kind: str,
        body: dict[str, Any],
        *,
        region: str | None = None,
        ocid: str | None = None,
        hidden: dict[str, Any] | None = None,
        bare: bool = False,
    ) -> Resource:
        """Put a new resource into its table. Fills ``id``, ``timeCreated`` and empty tags unless the body brings them.

        ``region`` defaults to the home region; say ``region=""`` for what lives in all of them. ``bare`` leaves the
        body as it is, for models that have no such fields (then ``ocid`` is any unique name).
        """
        where = self.home_region if region is None else region
        name = ocid or body.get("id") or self.new_ocid(kind, where)
        now = self.clock.stamp()
        if not bare:
            body = {"id": name, "timeCreated": now, "freeformTags": {}, "definedTags": {}} | body
        resource = Resource(name, kind, body, hidden or {}, where, created=now)
        self.touch(resource)
        self.table(kind)[name] = resource
        return resource

    def get(self, kind: str, ocid: str) -> Resource | None:
        return self.tables.get(kind, {}).get(ocid)

    def anywhere(self, ocid: str) -> Resource | None:
        """The resource with that OCID, whatever its kind."""
        return next((table[ocid] for table in self.tables.values() if ocid in table), None)

    def all(self, kind: str) -> Iterator[Resource]:
        yield from self.tables.get(kind, {}).values()

    def touch(self, resource: Resource) -> Resource:
        """Give the resource a new etag: its body has changed."""
        resource.etag = self.fresh("etag", 40)
        return resource

    def change(self, resource: Resource, **fields: Any) -> Resource:
        """Set wire-shape fields of the body and renew the etag."""
        resource.body.update(fields)
        return self.touch(resource)

    def remove(self, resource: Resource) -> None:
        self.table(resource.kind).pop(resource.ocid, None)

    def set_state(self, kind: str, ocid: str, state: str) -> None:
        """Move a lifecycle on; a resource that has left the world meanwhile is left alone."""
        resource = self.get(kind, ocid)
        if resource is not None and not resource.gone:
            self.change(resource, lifecycleState=state)

    def later_state(self, seconds: float, resource: Resource, state: str) -> int:
        """``resource`` reaches ``state`` after that many virtual seconds."""
        return self.clock.later(seconds, "set_state", kind=resource.kind, ocid=resource.ocid, state=state)

    # time -------------------------------------------------------------------------------------------------------

    def settle(self) -> int:
        """Apply all changes that are due. The server does so before every request."""
        return self.clock.settle(self._apply)

    def _apply(self, step: Step) -> None:
        transition_called(step.transition)(self, **step.args)

    # what everybody asks ----------------------------------------------------------------------------------------

    @property
    def home_region(self) -> str:
        return str(self.profile["region"])

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions that the tenancy is subscribed to, home first."""
        return tuple(self.profile["availabilityDomains"])

    def availability_domains(self, region: str) -> list[str]:
        """The names of a subscribed region's ADs, such as ``Kfkm:UK-LONDON-1-AD-1``; empty for other regions."""
        return [one["name"] for one in self.profile["availabilityDomains"].get(region, ())]

    @property
    def tenancy(self) -> str:
        """The OCID of the tenancy, which is the root compartment too."""
        return str(self.profile["tenancy"])

    # snapshots --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        version, internal, gauss = self.random.getstate()
        return {
            "seed": self.seed,
            "counters": dict(self._counters),
            "random": [version, list(internal), gauss],
            "clock": self.clock.to_json(),
            "tables": {kind: [asdict(one) for one in table.values()] for kind, table in self.tables.items()},
            "keys": dict(self.keys),
            "tokens": deepcopy(self.tokens),
            "profile": deepcopy(self.profile),
            "facts": deepcopy(self.facts),
        }

    def load_json(self, state: dict[str, Any]) -> None:
        version, internal, gauss = state["random"]
        self.seed, self._counters = state["seed"], state["counters"]
        self.random.setstate((version, tuple(internal), gauss))
        self.clock.load_json(state["clock"])
        self.tables = {
            kind: {fields["ocid"]: Resource(**fields) for fields in rows} for kind, rows in state["tables"].items()
        }
        self.keys, self.tokens = state["keys"], state["tokens"]
        self.profile, self.facts = state["profile"], state["facts"]


@transition("set_state")
def _set_state(world: World, kind: str, ocid: str, state: str) -> None:
    world.set_state(kind, ocid, state)
