"""A sandbox with a compartment and a network, and what a launch in it needs. Waiting moves the virtual clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import oci
from pydantic import SecretStr

from ocifree_pipeline.deployment.capacity import Attempt, Place
from ocifree_pipeline.deployment.plan import A1_SHAPE, MICRO_SHAPE, Machine
from ocifree_pipeline.sandbox import capacity
from ocifree_pipeline.sandbox.clock import Mode
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.oci.foundation.kinds import Scope
from ocifree_pipeline.systems.oci.launch import Launcher, Walk, Wanted
from ocifree_pipeline.systems.oci.session import Session
from ocifree_pipeline_tests.conformance.network import Network, create_network
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP+W1dHrhQS4tFEs5mqe7hxQC9oWgcIwbQDBlvbfXYkG you@example"
CLOUD_CONFIG = "#cloud-config\nusers:\n  - name: ocifree\n    ssh_authorized_keys: []\n"
CLIENTS = (
    "identity.IdentityClient", "core.ComputeClient", "core.VirtualNetworkClient", "core.BlockstorageClient",
    "limits.LimitsClient", "work_requests.WorkRequestClient",
)  # fmt: skip


@dataclass
class World:
    """`clock` of production code: its sleep moves the sandbox."""

    sandbox: RunningSandbox
    network: Network
    session: Session
    journal: Journal
    attempts: list[Attempt] = field(default_factory=list)
    slept: float = 0.0

    def monotonic(self) -> float:
        return self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.sandbox.advance(seconds)

    @property
    def scope(self) -> Scope:
        return Scope(self.session, "lab", self.sandbox.tenancy)

    @property
    def ads(self) -> list[str]:
        return self.sandbox.inside(lambda world: world.availability_domains(world.home_region))

    def launcher(self) -> Launcher:
        return Launcher(self.scope, self.journal, self.attempts.append, clock=self)

    def walk(self, *numbers: int, tries: int = 6) -> Walk:
        return Walk(tuple(Place(self.ads[number - 1]) for number in numbers or (1, 2, 3)), tries)

    def wanted(self, name: str = "ampere_1", **more: Any) -> Wanted:
        micro = name == "bastion"
        shape = MICRO_SHAPE if micro else A1_SHAPE
        compute = self.session.client("core.ComputeClient")
        image = compute.list_images(self.sandbox.tenancy, operating_system="Canonical Ubuntu", shape=shape).data[0].id
        given: dict[str, Any] = {
            "key": f"machines/{name}",
            "machine": Machine(name, shape, 1, 1 if micro else 6, 50, None),
            "name": f"lab-{name.replace('_', '-')}",
            "image": image,
            "subnet": self.network.public.id,
            "groups": (),
            "public_address": True,
            "ssh_public_keys": (KEY,),
            "user_data": SecretStr(CLOUD_CONFIG),
        }
        return Wanted(**given | more)

    def claim(self, name: str = "ampere_1", walk: Walk | None = None, **more: Any) -> Any:
        return self.launcher().claim(self.wanted(name, **more), walk or self.walk())

    def endings(self) -> list[str]:
        return [attempt.ending.value for attempt in self.attempts]

    def instances(self, *states: str) -> list[str]:
        """Those that are there, by name; terminated ones only when asked for."""
        wanted = states or ("PROVISIONING", "STARTING", "RUNNING", "STOPPED")
        return self.sandbox.inside(
            lambda world: [one.body["displayName"] for one in world.all("instance") if one.state in wanted]
        )

    def launches(self) -> int:
        return self.sandbox.recorder.count(operation="LaunchInstance")

    def fault(self, moment: str = "before", operation: str = "LaunchInstance", **more: Any) -> None:
        self.sandbox.faults.add(Rule(operation=operation, moment=moment, **more))  # type: ignore[arg-type]

    def scarce(self, *windows: dict[str, Any], **more: Any) -> None:
        description = {"process": "trace", "windows": list(windows), **more}
        self.sandbox.inside(lambda world: capacity.configure(world, description))


@contextmanager
def world(directory: Path, *, mode: Mode = "manual", **profile: Any) -> Iterator[World]:
    with running(directory, mode=mode, profile=Profile(**profile)) as sandbox:
        clients = {name: sandbox.client(getattr(getattr(oci, name.partition(".")[0]), name.partition(".")[2]))
                   for name in CLIENTS}  # fmt: skip
        session = Session(config={}, region="uk-london-1", tenancy=sandbox.tenancy, _clients=clients)
        yield World(sandbox, create_network(sandbox), session, Journal(directory / "journal.jsonl"))
