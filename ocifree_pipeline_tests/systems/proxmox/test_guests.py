"""What differs between a guest and the plan is told, and nothing is done about it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from ocifree_pipeline.systems.proxmox.guests import Found, Machine, differences, settings
from ocifree_pipeline.systems.talos.nodes import StaticAddress

MACHINE = Machine(
    name="lab-talos-1",
    node="lab-ampere-1",
    deployment="lab",
    cores=1,
    memory_gb=3,
    disk_gb=10,
    pool="vm-storage",
    bridge="vmbr0",
    address=StaticAddress(IPv4Interface("10.20.0.10/16"), IPv4Address("10.20.0.1")),
    image="local:import/talos.qcow2",
    user_data="local:snippets/one.yaml",
    architecture="aarch64",
    has_kvm=False,
    has_agent=False,
)


class Config:
    """An API that knows one guest."""

    def __init__(self, **changed: Any) -> None:
        made = {name: int(value) if isinstance(value, bool) else value for name, value in settings(MACHINE).items()}
        self.config = made | {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr0,mtu=1"} | changed

    def get(self, path: str) -> dict[str, Any]:
        return self.config


@pytest.mark.parametrize(
    ("node", "changed", "lines"),
    [
        ("lab-ampere-1", {}, []),
        ("lab-ampere-3", {}, ["it runs on lab-ampere-3, the plan says lab-ampere-1"]),
        ("lab-ampere-1", {"cores": 2}, ["cores is 2, the plan says 1"]),
        ("lab-ampere-1", {"net0": "virtio=BC:24:11:00:00:01,bridge=vmbr1"}, ["net0 is bridge=vmbr1, the plan says"]),
    ],
)
def test_what_differs_is_told(node: str, changed: dict[str, Any], lines: list[str]) -> None:
    api: Any = Config(**changed)
    told = differences(api, Found(100, node, running=True), replace(MACHINE))
    assert [line.startswith(want) for line, want in zip(told, lines, strict=True)] == [True] * len(lines), told
