"""A tenancy in a sandbox, as production code sees it: a Session that leads there, and a clock that moves its time."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.session import Session
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox

_OCID = re.compile(r"ocid1\.[a-z0-9]+\.oc1\.[a-z0-9.-]*\.?[a-z0-9]{20,}")
_MOMENT = re.compile(r"\d{14}")
"""Names that nobody gave carry the second of their making."""
_CHANCE = re.compile(r"time|etag|[mM]ac$|^id$|^createdBy$|ipAddress|natIp|^version$|nameserver|Spend$", re.IGNORECASE)


@dataclass(frozen=True)
class SandboxSession(Session):
    """A Session that is pointed at the plain door of a sandbox; production code knows of no such thing."""

    sandbox: RunningSandbox | None = None

    def client(self, name: str) -> Any:
        assert self.sandbox is not None
        if name not in self._clients:
            module, _, kind = name.rpartition(".")
            self._clients[name] = self.sandbox.client(getattr(importlib.import_module(f"oci.{module}"), kind))
        return self._clients[name]


@dataclass
class SandboxTime:
    """A clock for waiting: sleeping moves the time of the sandbox, and takes none of ours."""

    sandbox: RunningSandbox
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.sandbox.advance(seconds)


@dataclass
class Tenancy:
    """What a test of the Oracle layer starts from."""

    sandbox: RunningSandbox
    folder: Path
    clients: dict[str, Any] = field(default_factory=dict)
    session: SandboxSession = field(init=False)
    clock: SandboxTime = field(init=False)

    def __post_init__(self) -> None:
        config = self.sandbox.config
        self.session = SandboxSession(
            config, config["region"], config["tenancy"], _clients=self.clients, sandbox=self.sandbox
        )
        self.clock = SandboxTime(self.sandbox)

    def journal(self) -> Journal:
        """As a process that has just started reads it."""
        return Journal(self.folder / "journal" / "lab.jsonl")

    def mutating_calls(self) -> list[str]:
        return [entry.operation for entry in self.sandbox.recorder.query(mutating=True)]

    def in_words(self, *kinds: str) -> list[str]:
        """Everything that stands of these kinds (of all), without OCIDs, addresses and moments: two worlds compared."""
        return self.sandbox.inside(lambda world: world_in_words(world, kinds))


def world_in_words(world: World, kinds: tuple[str, ...] = ()) -> list[str]:
    names = {
        one.ocid: f"<{kind} {_MOMENT.sub('', one.body.get('displayName') or one.body.get('name') or '')}>"
        for kind, table in world.tables.items()
        for one in table.values()
    }
    return sorted(
        f"{kind} {json.dumps(_without_chance(one.body, names), sort_keys=True)}"
        for kind, table in world.tables.items()
        if (not kinds or kind in kinds) and kind != "workrequest"
        for one in table.values()
        if not one.gone
    )


def _without_chance(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _without_chance(inner, names) for key, inner in value.items() if not _CHANCE.search(key)}
    if isinstance(value, list):
        return sorted(
            (_without_chance(inner, names) for inner in value), key=lambda one: json.dumps(one, sort_keys=True)
        )
    if isinstance(value, str):
        return _MOMENT.sub("", _OCID.sub(lambda match: names.get(match[0], "<ocid>"), value))
    return value
