"""Pools: how many copies, how many groups, and the storage that Proxmox makes of one."""

from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.ceph import daemons
from ocifree_pipeline.sandbox.ceph.cluster import must_answer
from ocifree_pipeline.sandbox.ceph.site import NotPlayed, Refused, Site

MOST_GROUPS_AN_OSD = 250
MGR_POOL = ".mgr"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a pool is made with; these are Proxmox's defaults."""

    size: int = 3
    min_size: int = 2
    pg_num: int = 128
    autoscale: str = "warn"
    application: str = "rbd"


def keep_managers_pool(site: Site) -> None:
    """The manager keeps a pool of its own, which comes with the first OSD."""
    if not any(pool["pool_name"] == MGR_POOL for pool in site.shared["pools"].values()):
        _make(site, MGR_POOL, Settings(site.shared["size"], site.shared["minSize"], 1, "on", "mgr"))


def named(site: Site, name: str) -> tuple[str, dict[str, Any]]:
    for number, pool in site.shared["pools"].items():
        if pool["pool_name"] == name:
            return number, pool
    raise Refused(f"Error ENOENT: unrecognized pool '{name}'", 2)


def create(site: Site, name: str, wanted: Settings, *, storage: bool = False) -> None:
    """`pveceph pool create`. A pool that is there gets these settings; only its storage may be in the way."""
    must_answer(site)
    site.must_be_writable()
    if wanted.min_size > wanted.size:
        raise Refused(f"Error EINVAL: pool min_size must be between 1 and size, which is set to {wanted.size}", 22)
    if any(pool["pool_name"] == name for pool in site.shared["pools"].values()):
        _, pool = named(site, name)
        pool.update(size=wanted.size, min_size=wanted.min_size, pg_autoscale_mode=wanted.autoscale)
        set_groups(site, name, wanted.pg_num)
    else:
        _must_have_room(site, wanted.size, wanted.pg_num)
        _make(site, name, wanted)
    if storage:
        if name in site.storages:
            raise Refused(f"storage ID '{name}' already defined")
        site.storages[name] = {
            "type": "rbd", "pool": name, "content": "rootdir,images", "krbd": 0, "shared": 1,
        }  # fmt: skip


def _must_have_room(site: Site, size: int, pg_num: int) -> None:
    inside = [osd for osd in site.shared["osds"].values() if osd["in"]]
    if not inside:
        return
    placed = sum(pool["size"] * pool["pg_num"] for pool in site.shared["pools"].values()) + size * pg_num
    if placed / len(inside) > MOST_GROUPS_AN_OSD:
        raise Refused(
            f"Error ERANGE: pg_num {pg_num} size {size} for this pool would result in {placed // len(inside)} "
            f"cumulative PGs per OSD ({placed} total PG replicas on {len(inside)} 'in' root OSDs by crush rule) which "
            f"exceeds the mon_max_pg_per_osd value of {MOST_GROUPS_AN_OSD}",
            34,
        )


def _make(site: Site, name: str, wanted: Settings) -> None:
    number = str(site.shared["nextPool"])
    site.shared["nextPool"] += 1
    site.shared["pools"][number] = {
        "pool_name": name, "size": wanted.size, "min_size": wanted.min_size, "pg_num": wanted.pg_num,
        "pg_autoscale_mode": wanted.autoscale, "application": wanted.application,
        "objects": 2 if name == MGR_POOL else 0, "bytes": 0, "made": site.now,
    }  # fmt: skip
    site.shared["epoch"] += 1
    daemons.make_groups(site, number)


def set_groups(site: Site, name: str, pg_num: int) -> None:
    number, pool = named(site, name)
    if pg_num < pool["pg_num"]:
        raise NotPlayed("merging placement groups")
    pool["pg_num"] = pg_num
    daemons.make_groups(site, number)


def change(site: Site, name: str, setting: str, value: str) -> None:
    _, pool = named(site, name)
    match setting:
        case "size" | "min_size":
            pool[setting] = int(value)
        case "pg_num":
            set_groups(site, name, int(value))
        case "pg_autoscale_mode":
            pool[setting] = value
        case _:
            raise NotPlayed(f"the pool setting {setting!r}")
    site.shared["epoch"] += 1


def destroy(site: Site, name: str) -> None:
    number, _ = named(site, name)
    del site.shared["pools"][number]
    for group in [one for one in site.shared["groups"] if one.startswith(f"{number}.")]:
        del site.shared["groups"][group]
    site.shared["epoch"] += 1
