"""How Ceph is, and whether that is good enough: a named list of what may be, counts, and every placement group."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ocifree_pipeline.systems.ceph.words import ask_ceph
from ocifree_pipeline.systems.proxmox.node import Node

SCRUBBING = frozenset({"active+clean", "active+clean+scrubbing", "active+clean+scrubbing+deep"})

ALLOWED: Mapping[str, str] = MappingProxyType(
    {
        "MON_DISK_LOW": "the root of a small boot volume is small",
        "RECENT_CRASH": "a daemon has crashed once and runs again; `ceph crash ls` says which",
        "POOL_APP_NOT_ENABLED": "somebody's own pool has no application",
        "POOL_TOO_MANY_PGS": "advice of the autoscaler",
        "POOL_TOO_FEW_PGS": "advice of the autoscaler",
        "AUTH_INSECURE_GLOBAL_ID_RECLAIM_ALLOWED": "old clients may still log in",
    }
)
"""Warnings under which guests may go on. Everything that is not named here stops what hangs on Ceph."""

_HINTS: Mapping[str, str] = MappingProxyType(
    {
        "OSDMAP_FLAGS": "somebody has set it and not taken it back: `ceph osd unset <flag>`",
        "MON_CLOCK_SKEW": "the clocks of the nodes differ: `chronyc tracking` on each",
        "MON_DOWN": "`systemctl status ceph-mon@$(hostname)` on that node",
        "OSD_DOWN": "`systemctl status 'ceph-osd@*'` on that node",
        "OSD_NEARFULL": "remove disks of guests that nobody needs",
        "OSD_FULL": "nothing can be written any more; remove disks of guests that nobody needs",
        "PG_AVAILABILITY": "guests stand still until a copy is back",
    }
)


@dataclass(frozen=True, slots=True)
class Status:
    """What `ceph -s` tells."""

    fsid: str
    health: str
    checks: Mapping[str, str]
    muted: frozenset[str]
    monitors: int
    in_quorum: tuple[str, ...]
    has_manager: bool
    osds: int
    up: int
    inside: int
    groups: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Judgement:
    """`reasons` stand in the way; `tolerated` are known and allowed."""

    reasons: tuple[str, ...]
    tolerated: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        return not self.reasons

    def sentence(self) -> str:
        return "; ".join(self.reasons or self.tolerated) or "nothing is wrong"


def is_served(state: str) -> bool:
    """Whether a placement group in this state can be read and written, all of it, as somebody says who knows now."""
    words = set(state.split("+"))
    return "active" in words and not words & {"stale", "recovery_unfound", "backfill_unfound"}


def read_status(node: Node) -> Status:
    return parse(ask_ceph(node, "-s"))


def parse(told: Mapping[str, Any]) -> Status:
    """From `ceph -s`, or from the API's wider form of it."""
    health, osds = told["health"], told["osdmap"]
    checks = {code: str(check["summary"]["message"]) for code, check in health.get("checks", {}).items()}
    muted = {code for code, check in health.get("checks", {}).items() if check.get("muted")}
    muted |= {one["code"] for one in health.get("mutes", [])}
    return Status(
        fsid=str(told["fsid"]),
        health=str(health["status"]),
        checks=checks,
        muted=frozenset(muted),
        monitors=int(told["monmap"].get("num_mons", len(told["monmap"].get("mons", ())))),
        in_quorum=tuple(told["quorum_names"]),
        has_manager=bool(told["mgrmap"].get("available")),
        osds=int(osds["num_osds"]),
        up=int(osds["num_up_osds"]),
        inside=int(osds["num_in_osds"]),
        groups={str(one["state_name"]): int(one["count"]) for one in told["pgmap"].get("pgs_by_state", ())},
    )


def judge(status: Status, *, monitors: int, osds: int) -> Judgement:
    """Is this a Ceph on which guests may stand? A muted warning counts: who mutes it does not mend it."""
    reasons = [
        f"{code}: {message}" + (f" ({_HINTS[code]})" if code in _HINTS else "")
        for code, message in sorted(status.checks.items())
        if code not in ALLOWED
    ]
    tolerated = [
        f"{code}: {message} ({ALLOWED[code]})" for code, message in sorted(status.checks.items()) if code in ALLOWED
    ]
    if len(status.in_quorum) < monitors:
        reasons.append(f"{len(status.in_quorum)} of {monitors} monitors are in the quorum")
    if not status.has_manager:
        reasons.append("no manager is active")
    if (status.up, status.inside) != (status.osds, status.osds) or status.osds < osds:
        reasons.append(f"of {osds} OSDs {status.osds} exist, {status.up} are up, {status.inside} are in")
    reasons += [
        f"{count} placement groups are {state}" for state, count in status.groups.items() if state not in SCRUBBING
    ]
    return Judgement(tuple(reasons), tuple(tolerated))
