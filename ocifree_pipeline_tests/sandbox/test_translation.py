"""A Proxmox node hands what the internet asks on to its guest, as its own rules say."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any, cast

import pytest

from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.translation import handed_on
from ocifree_pipeline.systems.proxmox.network import TABLE, TRANSLATION, Wanted


@dataclass
class Half:
    """What the rules are asked of."""

    addresses: list[str] = field(default_factory=lambda: ["10.0.1.11"])
    guest: dict[str, Any] = field(default_factory=dict)


def node(entrance: str | None) -> Computer:
    """With the file that the pipeline writes, read by its kernel."""
    wanted = Wanted(
        gateway=IPv4Interface("10.20.0.1/16"),
        own=IPv4Address("10.0.1.11"),
        peers=(),
        inside=(IPv4Network("10.0.0.0/16"),),
        vni=4000,
        mtu=8950,
        entrance=IPv4Address(entrance) if entrance else None,
    )
    _, _, body = wanted.files[TRANSLATION].rpartition("table ip")
    return cast("Computer", Half(guest={"nft": {f"ip {TABLE}": body}}))


@pytest.mark.parametrize(("port", "there"), [(80, "10.20.0.10"), (443, "10.20.0.10"), (22, None), (8006, None)])
def test_only_the_ports_of_the_web_go_on(port: int, there: str | None) -> None:
    assert handed_on(node("10.20.0.10"), port) == there


def test_without_an_entrance_nothing_goes_on() -> None:
    assert handed_on(node(None), 80) is None


def test_rules_for_an_address_that_is_not_ours_do_nothing() -> None:
    moved = node("10.20.0.10")
    moved.addresses[:] = ["10.0.1.12"]
    assert handed_on(moved, 80) is None
