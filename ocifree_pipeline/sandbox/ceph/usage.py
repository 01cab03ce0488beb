"""How much of it is full."""

from typing import Any

from ocifree_pipeline.sandbox.ceph.site import Site

NEARFULL = 0.85
FULL = 0.95
OVERHEAD = 27 * 2**20
"""What an empty OSD takes for itself."""


def raw(site: Site) -> tuple[int, int]:
    """Bytes that there are on OSDs that are up, and bytes that are taken."""
    osds = [number for number, osd in site.shared["osds"].items() if osd["up"]]
    return sum(site.shared["osds"][one]["bytes"] for one in osds), sum(used_on(site, one) for one in osds)


def used_on(site: Site, number: str) -> int:
    """Copies spread by weight over the OSDs that are in."""
    osds: dict[str, dict[str, Any]] = site.shared["osds"]
    inside = sum(osd["bytes"] for osd in osds.values() if osd["in"])
    stored = sum(pool["bytes"] * min(pool["size"], hosts(site)) for pool in site.shared["pools"].values())
    share = osds[number]["bytes"] / inside if osds[number]["in"] and inside else 0.0
    return int(min(OVERHEAD + stored * share, osds[number]["bytes"]))


def share_of(site: Site, number: str) -> float:
    return used_on(site, number) / max(int(site.shared["osds"][number]["bytes"]), 1)


def hosts(site: Site) -> int:
    return len({osd["host"] for osd in site.shared["osds"].values() if osd["in"]})


def available(site: Site, size: int) -> int:
    """What a pool may still take before the first OSD is full."""
    total, used = raw(site)
    return max(int((total * FULL - used) / max(size, 1)), 0)
