"""Which monitors, managers and OSDs run now, which of them have a majority, and what an outage leaves behind.

Nothing runs in the background. ``settle`` is called before every look and takes in what has happened since the last
one: who went down, who is back, which OSD was given up, which copies are whole again.
"""

from typing import Any

from ocifree_pipeline.sandbox.ceph import devices, placement
from ocifree_pipeline.sandbox.ceph.site import Site

GIVE_UP_SECONDS = 600.0
"""mon_osd_down_out_interval."""
LEAST_IN = 0.75
"""mon_osd_min_in_ratio: below it no further OSD is given up."""
PEERING_SECONDS = 2.0
LOG_SECONDS = 10.0
LOG_SECONDS_A_SECOND_AWAY = 0.1
LONGEST_LOG_SECONDS = 300.0
BACKFILL_SECONDS = 60.0

Group = dict[str, Any]


def fresh() -> dict[str, Any]:
    """A cluster that `pveceph init` has only written a configuration for."""
    return {
        "mons": {}, "mgrs": [], "osds": {}, "pools": {}, "groups": {}, "flags": [], "config": {}, "keys": {},
        "epoch": 1, "crashes": [], "muted": [], "nextPool": 1,
    }  # fmt: skip


# who runs -------------------------------------------------------------------------------------------------------------


def runs(site: Site, daemon: str, name: str, host: str) -> bool:
    """Its node runs and has its data: another machine of the same name does not take its place."""
    node = site.nodes.get(host)
    if node is None or not node.is_up or f"ceph-{daemon}@{name}" in node.stopped:
        return False
    if daemon != "osd":
        return bool(node.own.get(daemon))
    uuid = site.shared["osds"][name]["uuid"]
    return any(volume["tags"].get("ceph.osd_fsid") == uuid for *_, volume in devices.volumes(node))


def quorum(site: Site) -> list[str]:
    """The monitors that have a majority, by rank; none when nobody has."""
    mons = site.shared.get("mons", {})
    alive = [name for name in mons if runs(site, "mon", name, name)]
    for seed in alive:
        # Everybody in a quorum has to hear everybody else.
        heard: list[str] = []
        for name in [seed, *alive]:
            if name not in heard and all(site.hear_each_other(name, other) for other in heard):
                heard.append(name)
        if 2 * len(heard) > len(mons):
            return [name for name in mons if name in heard]
    return []


def is_answered(site: Site) -> bool:
    """Whether somebody on the node ``here`` gets an answer from Ceph."""
    return any(site.hear_each_other(site.here, name) for name in quorum(site))


def managers(site: Site) -> list[str]:
    """Those that run, the active one first."""
    answering = quorum(site)
    return [
        name
        for name in site.shared.get("mgrs", [])
        if runs(site, "mgr", name, name) and any(site.hear_each_other(name, mon) for mon in answering)
    ]


# what has happened ----------------------------------------------------------------------------------------------------


def settle(site: Site) -> None:
    """Take in what has happened. Without a majority of monitors the map stays as it was, and nobody goes on copying."""
    answering = quorum(site)
    if not answering:
        if site.shared["mons"]:
            site.shared.setdefault("silentSince", site.now)
        return
    silent = site.shared.pop("silentSince", site.now)
    for group in site.shared["groups"].values():
        if group["until"] is not None:
            group["until"] += site.now - silent
    osds: dict[str, Any] = site.shared["osds"]
    running = {
        number: runs(site, "osd", number, osd["host"])
        and any(site.hear_each_other(osd["host"], mon) for mon in answering)
        for number, osd in osds.items()
    }
    for number, osd in osds.items():
        node = site.nodes.get(osd["host"])
        rebooted = node is not None and osd["boots"] != node.boots
        if osd["up"] and (rebooted or not running[number]):
            is_off = node is not None and (rebooted or not node.is_up)
            osd.update(up=False, downAt=max(node.since, osd["backAt"]) if node is not None and is_off else site.now)
            site.shared["epoch"] += 1
        if node is not None and node.is_up and not running[number]:
            osd["boots"] = node.boots  # it did not come with this boot, so whoever starts it does that later
    _settle_groups(site)
    for number, osd in osds.items():
        if running[number] and not osd["up"]:
            _is_back(site, osd, known_from=site.now if silent < site.now else 0.0)
    _give_up(site)
    _settle_groups(site)


def _is_back(site: Site, osd: dict[str, Any], *, known_from: float) -> None:
    node = site.nodes[osd["host"]]
    back = max(node.since, osd["downAt"], known_from) if osd["boots"] != node.boots else site.now
    osd.update(up=True, boots=node.boots, backAt=back, away=back - osd["downAt"])
    if osd["givenUp"]:
        osd.update({"in": True, "givenUp": False})
    site.shared["epoch"] += 1


def _give_up(site: Site) -> None:
    osds = site.shared["osds"].values()
    for osd in sorted(osds, key=lambda one: float(one["downAt"])):
        inside = sum(1 for one in osds if one["in"])
        if (
            osd["in"]
            and not osd["up"]
            and "noout" not in site.shared["flags"]
            and site.now - osd["downAt"] >= GIVE_UP_SECONDS
            and inside >= LEAST_IN * len(osds)
        ):
            osd.update({"in": False, "givenUp": True})
            site.shared["epoch"] += 1


# placement groups -----------------------------------------------------------------------------------------------------


def make_groups(site: Site, pool: str) -> None:
    for number in range(site.shared["pools"][pool]["pg_num"]):
        site.shared["groups"].setdefault(
            f"{pool}.{number}", {"whole": [], "missed": [], "made": site.now, "until": None, "to": []}
        )


def placed(site: Site, name: str) -> list[str]:
    """The OSDs where a group belongs now."""
    pool, number = name.split(".")
    inside = {one: (osd["host"], osd["weight"]) for one, osd in site.shared["osds"].items() if osd["in"]}
    return placement.members(pool, int(number), site.shared["pools"][pool]["size"], inside)


def _settle_groups(site: Site) -> None:
    for name, group in site.shared["groups"].items():
        _settle_group(site, group, placed(site, name), site.shared["pools"][name.partition(".")[0]])


def _settle_group(site: Site, group: Group, home: list[str], pool: dict[str, Any]) -> None:
    osds = site.shared["osds"]
    live = [one for one in home if osds[one]["up"]]
    if not group["whole"]:
        if live and site.now >= _peered(site, group, live):
            group["whole"] = live
        return
    sources = [one for one in group["whole"] if one in osds and osds[one]["up"]]
    if not sources:
        group.update(until=None, to=[])
        return
    if len(live) >= pool["min_size"]:
        # Guests write all the time, so whoever is away misses something.
        group["missed"] = sorted({*group["missed"], *(one for one in group["whole"] if one not in sources)})
        group["whole"] = sources
    targets = [one for one in live if one not in group["whole"]]
    if not targets:
        group.update(until=None, to=[])
        if len(live) == len(home):
            group.update(whole=home, missed=[])
        return
    if {"norecover", "nobackfill"} & set(site.shared["flags"]):
        group.update(until=None, to=targets)
    elif group["to"] != targets or group["until"] is None:
        group.update(to=targets, until=_recovered(site, group, targets))
    if group["until"] is not None and site.now >= group["until"]:
        group.update(whole=live, missed=[one for one in group["missed"] if one not in live], until=None, to=[])


def _peered(site: Site, group: Group, live: list[str]) -> float:
    ready = max([group["made"], *(site.shared["osds"][one]["madeAt"] for one in live)])
    return float(ready) + PEERING_SECONDS * site.pace


def _recovered(site: Site, group: Group, targets: list[str]) -> float:
    """When the slowest of them is whole again: a short absence is made up from the log, a new home is filled."""
    osds = site.shared["osds"]
    source_since = min(osds[one]["backAt"] for one in group["whole"] if one in osds and osds[one]["up"])
    ends = []
    for one in targets:
        if one in group["missed"]:
            seconds = min(LOG_SECONDS + LOG_SECONDS_A_SECOND_AWAY * osds[one]["away"], LONGEST_LOG_SECONDS)
            ends.append(max(osds[one]["backAt"], source_since) + seconds * site.pace)
        else:
            ends.append(site.now + BACKFILL_SECONDS * site.pace)
    return float(max(ends))


def states(site: Site) -> dict[str, str]:
    """Group -> its state, as Ceph writes it."""
    return {name: _state(site, name, group) for name, group in site.shared["groups"].items()}


def _state(site: Site, name: str, group: Group) -> str:
    osds, pool = site.shared["osds"], site.shared["pools"][name.partition(".")[0]]
    home = placed(site, name)
    live = [one for one in home if osds[one]["up"]]
    if not group["whole"]:
        return "creating+peering" if live else "unknown"
    sources = [one for one in group["whole"] if one in osds and osds[one]["up"]]
    few = "undersized+" if len(live) < pool["size"] else ""
    if not sources:
        return "down" if live else f"stale+{few}peered"
    if len(live) < pool["min_size"]:
        return f"{few}degraded+peered"
    missing = [one for one in live if one not in group["whole"]]
    copies = len(sources)
    if not few and not missing:
        return "active+clean"
    degraded = "degraded+" if copies < pool["size"] else ""
    work = ""
    if missing:
        # A home that never had the copy is filled; one that was away a moment catches up.
        work = "recovering" if set(missing) <= set(group["missed"]) else "remapped+backfilling"
    return "+".join(part for part in ("active", few.rstrip("+"), degraded.rstrip("+"), work) if part)


def copies_missing(site: Site) -> tuple[int, int]:
    """Objects that are missing somewhere, and copies that there should be."""
    missing = wanted = 0
    for name, group in site.shared["groups"].items():
        pool = site.shared["pools"][name.partition(".")[0]]
        objects = max(pool["objects"] // pool["pg_num"], 1) if pool["objects"] else 0
        whole = [one for one in group["whole"] if one in site.shared["osds"] and site.shared["osds"][one]["up"]]
        wanted += objects * pool["size"]
        missing += objects * max(pool["size"] - len(whole), 0)
    return missing, wanted
