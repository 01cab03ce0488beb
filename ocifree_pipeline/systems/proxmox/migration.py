"""A rehearsal of live migration, with a small machine that nobody needs and that is removed afterwards."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.journal import Journal
from ocifree_pipeline.systems.proxmox.api import Api
from ocifree_pipeline.systems.proxmox.guests import TAG, Found, Order, ensure, find, start, tag_of

NAME = "ocifree-migration-probe"
MIGRATE_SECONDS = 600.0
_DURATION = re.compile(r"duration (\d+):(\d\d):(\d\d)")


@dataclass(frozen=True, slots=True)
class Probe:
    """Where the machine is made, where it goes, and on which storage its disk is."""

    deployment: str
    home: str
    away: str
    pool: str
    architecture: str
    has_kvm: bool


@dataclass(frozen=True, slots=True)
class Trip:
    source: str
    target: str
    seconds: float


def rehearse(api: Api, probe: Probe, journal: Journal, say: Callable[[str], None]) -> tuple[Trip, Trip]:
    """There and back. The machine goes, whatever happens."""
    with _machine(api, probe, journal) as found:
        start(api, found)
        say(f"move guest {found.vmid} from {found.node} to {probe.away}, while it runs")
        out = _move(api, found, probe.away)
        say(f"move it back to {probe.home}")
        back = _move(api, Found(found.vmid, probe.away, running=True), probe.home)
    return out, back


def settings(probe: Probe) -> dict[str, Any]:
    """No system on its disk: what moves is the memory of a machine that runs its firmware."""
    arm = probe.architecture == "aarch64"
    return {
        "name": NAME,
        "tags": f"{TAG};{tag_of(probe.deployment)}",
        "machine": "virt" if arm else "q35",
        "bios": "ovmf",
        "efidisk0": f"{probe.pool}:0,efitype=4m,pre-enrolled-keys=0",
        "cores": 1,
        "memory": 128,
        "balloon": 0,
        "cpu": "max" if arm else "x86-64-v2-AES",
        "kvm": probe.has_kvm,
        "scsihw": "virtio-scsi-pci",
        "scsi0": f"{probe.pool}:1",
        "serial0": "socket",
        "vga": "serial0",
    }


@contextmanager
def _machine(api: Api, probe: Probe, journal: Journal) -> Iterator[Found]:
    """One that an earlier rehearsal left behind is removed first."""
    left = find(api, NAME, probe.deployment)
    if left is not None:
        _remove(api, left)
    found, _ = ensure(api, journal, Order(NAME, probe.deployment, "qemu", f"/nodes/{probe.home}/qemu", settings(probe)))
    try:
        yield found
    finally:
        _remove(api, find(api, NAME, probe.deployment) or found)


def _move(api: Api, found: Found, target: str) -> Trip:
    path = f"/nodes/{found.node}/qemu/{found.vmid}"
    upid = api.post(f"{path}/migrate", target=target, online=True)
    api.wait(upid, MIGRATE_SECONDS)
    rows: list[dict[str, Any]] = api.get("/cluster/resources", type="vm")
    row = next((one for one in rows if one.get("vmid") == found.vmid), {})
    after = api.get(f"/nodes/{target}/qemu/{found.vmid}/status/current") if row.get("node") == target else {}
    if after.get("status") != "running":
        raise NotVerified(
            f"guest {found.vmid} does not run on {target}",
            why=f"its migration ended well, and it is {row.get('status', 'unknown')} on {row.get('node', 'no node')}",
            fix=f"look at it: pvesh get {path}/status/current",
        )
    return Trip(found.node, target, _seconds(api, upid))


def _seconds(api: Api, upid: str) -> float:
    """As Proxmox itself measured it."""
    lines = [str(row["t"]) for row in api.get(f"/nodes/{upid.split(':')[1]}/tasks/{upid}/log", limit=500)]
    for line in reversed(lines):
        if match := _DURATION.search(line):
            hours, minutes, seconds = map(int, match.groups())
            return float(hours * 3600 + minutes * 60 + seconds)
    raise NotVerified(
        "the migration does not say how long it took", why="its log has no duration", fix=f"its log: {upid}"
    )


def _remove(api: Api, found: Found) -> None:
    path = f"/nodes/{found.node}/qemu/{found.vmid}"
    if api.get(f"{path}/status/current")["status"] == "running":
        api.wait(api.post(f"{path}/status/stop"))
    api.wait(api.delete(path, purge=True))
