"""Talos machines in a sandbox, and the pipeline's own client to speak with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from ocifree_pipeline.sandbox import machines
from ocifree_pipeline.sandbox.disks.making import write_qcow2
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.talos.certificates import ADMIN, new_client
from ocifree_pipeline.systems.talos.channel import conversation
from ocifree_pipeline.systems.talos.client import Talos
from ocifree_pipeline.systems.talos.secrets import Bundle, new_bundle
from ocifree_pipeline.systems.talos.trust import Trust, as_administrator
from ocifree_pipeline_tests.conformance.computing import UEFI, Computing, computing
from ocifree_pipeline_tests.sandbox.harness import running
from ocifree_pipeline_tests.sandbox.talos_nodes import configuration, user_data

ROOMY = Profile(account="payg", a1_ocpus=8, a1_memory_gb=48)
API, KUBERNETES = 50000, 6443
BOOT = 60
SETTLED = 120
"""More than etcd, a join and the API server need together."""

Found = TypeVar("Found")


@cache
def bundle() -> Bundle:
    return new_bundle(datetime.now(UTC))


@cache
def stranger() -> Bundle:
    return new_bundle(datetime.now(UTC))


@cache
def apart() -> Bundle:
    """For machines that must not join the clusters of other tests."""
    return new_bundle(datetime.now(UTC))


def trusting(kept: Bundle, role: str = ADMIN) -> Trust:
    return as_administrator(kept.talos.certificate, new_client(kept.talos, datetime.now(UTC), role=role))


@dataclass
class Machine:
    """One machine with Talos on it."""

    here: Computing
    id: str
    ip: str
    kept: Bundle = field(default_factory=bundle, repr=False)

    def act(self, action: str) -> None:
        self.here.compute.instance_action(self.id, action)
        self.here.wait(SETTLED)

    def reached(self, port: int = API) -> machines.Reached:
        found = self.here.sandbox.inside(lambda world: machines.find(world, self.ip, port))
        assert found is not None
        return found

    @property
    def console(self) -> str:
        return self.here.console(self.id)

    @contextmanager
    def spoken(self, trust: Trust | None = None) -> Iterator[Talos]:
        address = self.reached().address
        assert address is not None, self.reached().reason
        with conversation(address, trust or trusting(self.kept), self.ip, f"node {self.ip}") as opened:
            yield Talos(opened)


@dataclass
class Lab:
    """A sandbox in manual time with a Talos image in it."""

    here: Computing
    image: str
    machines: list[Machine] = field(default_factory=list)

    def inside(self, look: Callable[[World], Found]) -> Found:
        return self.here.sandbox.inside(look)

    def machine(self, text: str | None = None) -> Machine:
        """One more machine, booted, with this configuration handed over by Oracle."""
        metadata = {"user_data": user_data(text)} if text is not None else {}
        launched = self.here.launch(source_details=self.here.from_image(self.image), metadata=metadata).id
        self.here.wait(BOOT)
        (attached,) = self.here.compute.list_vnic_attachments(self.here.tenancy, instance_id=launched).data
        ip = str(self.here.network.client.get_vnic(attached.vnic_id).data.private_ip)
        self.machines.append(Machine(self.here, launched, ip))
        return self.machines[-1]

    def control_planes(self, number: int, **changes: Any) -> list[Machine]:
        return [
            self.machine(configuration(bundle(), hostname=f"lab-{index}", **changes)) for index in range(1, number + 1)
        ]

    def bootstrapped(self, number: int = 1) -> list[Machine]:
        """A cluster whose API server answers."""
        made = self.control_planes(number)
        with made[0].spoken() as node:
            node.bootstrap()
        self.here.wait(SETTLED)
        return made

    def clear(self) -> None:
        for one in self.machines:
            self.here.compute.terminate_instance(one.id)
        self.machines.clear()
        self.here.wait()


@contextmanager
def lab(directory: Path) -> Iterator[Lab]:
    with running(directory / "sandbox", mode="manual", profile=ROOMY) as sandbox:
        here = computing(sandbox)
        disk = write_qcow2(directory / "disk.qcow2", ("aarch64",), label="META")
        yield Lab(here, here.import_image(here.upload(disk), launchMode="CUSTOM", launchOptions=UEFI))
