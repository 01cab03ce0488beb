"""The foundation and the guardrails, killed at every call that changes something, before it and after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ocifree_pipeline.deployment.foundation import Part
from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.oci.foundation.desired import guardrails
from ocifree_pipeline.systems.oci.foundation.engine import Engine
from ocifree_pipeline.systems.oci.foundation.native import NativeFoundation
from ocifree_pipeline.systems.oci.foundation.teardown import tear_down
from ocifree_pipeline_tests.chaos.crash import crash_everywhere
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running
from ocifree_pipeline_tests.systems.oci.foundation.conftest import blueprint, native, spec
from ocifree_pipeline_tests.systems.oci.tenancy import Tenancy

__all__ = ["blueprint", "spec"]

Fresh = Callable[[], AbstractContextManager[Tenancy]]


@dataclass
class Start:
    """One sandbox, put back to the same moment for every run: starting it anew would take most of the time."""

    sandbox: RunningSandbox
    folder: Path
    snapshot: Path
    numbers: Iterator[int] = field(default_factory=count)
    clients: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def again(self) -> Iterator[Tenancy]:
        restored = self.sandbox.sandbox.restore(self.snapshot)
        asyncio.run_coroutine_threadsafe(restored, self.sandbox.loop).result(timeout=30)
        folder = self.folder / str(next(self.numbers))
        folder.mkdir()
        yield Tenancy(self.sandbox, folder, self.clients)


@contextmanager
def start(folder: Path, furnish: Callable[[Tenancy], None] = lambda here: None) -> Iterator[Start]:
    with running(folder, profile=Profile(account="payg")) as sandbox:
        furnish(Tenancy(sandbox, folder))
        yield Start(sandbox, folder, sandbox.inside(lambda world: snapshot.save(world, folder / "start.tar")))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Fresh]:
    with start(tmp_path) as here:
        yield here.again


def settled(tenancy: Tenancy) -> list[str]:
    tenancy.sandbox.advance(3600)
    assert tenancy.journal().open_intents() == []
    return tenancy.in_words()


def converge(foundation: NativeFoundation, *parts: Part) -> None:
    for part in parts:
        foundation.apply(foundation.plan(part))


def test_the_network_is_made_once_whenever_the_process_dies(fresh: Fresh, spec) -> None:
    crash_everywhere(fresh, lambda here: converge(native(here, spec), "network"), settled, at_least=14)


def test_addresses_and_bucket_are_made_once_whenever_the_process_dies(fresh: Fresh, spec) -> None:
    def act(here: Tenancy) -> None:
        converge(native(here, spec), "reserved_ips", "image_bucket")

    crash_everywhere(fresh, act, settled, at_least=4)


def test_the_guardrails_are_made_once_whenever_the_process_dies(fresh: Fresh, blueprint) -> None:
    declaration = blueprint.declaration

    def act(here: Tenancy) -> None:
        engine = Engine(here.session, "lab", "lab", here.journal(), clock=here.clock)
        wanted = guardrails("lab", here.session.tenancy, ["zero database quotas in tenancy"], declaration.budget)
        engine.apply(engine.plan(wanted))

    crash_everywhere(fresh, act, settled, at_least=3)


def test_the_end_is_reached_whenever_the_process_dies(tmp_path: Path, spec) -> None:
    def furnish(here: Tenancy) -> None:
        converge(native(here, spec), "network", "reserved_ips", "image_bucket")
        here.sandbox.advance(60)

    def act(here: Tenancy) -> None:
        assert tear_down(here.session, "lab", "lab", clock=here.clock) == ()

    with start(tmp_path, furnish) as furnished:
        crash_everywhere(furnished.again, act, settled, at_least=13)
