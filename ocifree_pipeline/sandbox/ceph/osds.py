"""OSDs: made on partitions and volumes that nobody uses, stopped, given up and forgotten."""

from typing import Any

from ocifree_pipeline.sandbox.ceph import daemons, devices, pools
from ocifree_pipeline.sandbox.ceph.cluster import must_answer
from ocifree_pipeline.sandbox.ceph.site import GIB, Refused, Site

SMALLEST = 1 * GIB
EXTENT = 4 * 1024**2
FLAGS = (
    "noout", "nodown", "noup", "noin", "norecover", "nobackfill", "norebalance", "noscrub", "nodeep-scrub", "pause",
)  # fmt: skip


def create(site: Site, path: str) -> str:
    """`pveceph osd create`: takes names that Proxmox knows, and only what nobody uses."""
    must_answer(site)
    device = devices.find(site.node, path)
    if device is None or not devices.is_disk_name(path):
        raise Refused(f"unable to get device info for '{path}'")
    if devices.use_of(site.node, device) is not None:
        raise Refused(f"device '{path}' is already in use", 25)
    site.node.own["bootstrapKey"] = True
    return create_on_volume(site, path)


def create_on_volume(site: Site, path: str) -> str:
    """`ceph-volume lvm create --data` on a disk, a partition or ``group/volume``."""
    must_answer(site)
    if not site.node.own.get("bootstrapKey"):
        raise Refused(
            "unable to find a keyring on /var/lib/ceph/bootstrap-osd/ceph.keyring: (2) No such file or directory"
        )
    tags = {"ceph.cluster_fsid": site.shared["fsid"], "ceph.cluster_name": "ceph", "ceph.type": "block"}
    if not path.startswith("/dev/"):
        return _osd_on_volume(site, path, tags)
    device = devices.find(site.node, path)
    if device is None:
        raise Refused(f"ceph-volume lvm create: error: Unable to proceed with non-existing device: {path}", 2)
    if devices.use_of(site.node, device) is not None:
        raise Refused(f"Device {path} is not available: it is in use")
    if device.bytes < SMALLEST:
        raise Refused(f"Device {path} is too small for an OSD")
    number, uuid = _new_osd(site, path, device.bytes)
    tags |= {"ceph.osd_id": number, "ceph.osd_fsid": uuid}
    devices.make_volume(site.node, path, uuid, device.bytes // EXTENT * EXTENT, tags)
    return number


def _osd_on_volume(site: Site, path: str, tags: dict[str, str]) -> str:
    group, _, name = path.partition("/")
    found = site.node.blocks["vgs"].get(group, {}).get("lvs", {}).get(name)
    if found is None:
        raise Refused(f"ceph-volume lvm create: error: Unable to proceed with non-existing device: {path}", 2)
    if found["tags"] or found.get("fstype"):
        raise Refused(f"Device {path} is not available: it is in use")
    number, uuid = _new_osd(site, f"/dev/{path}", found["bytes"])
    found["tags"] = tags | {"ceph.osd_id": number, "ceph.osd_fsid": uuid}
    return number


def _new_osd(site: Site, path: str, size: int) -> tuple[str, str]:
    osds = site.shared["osds"]
    number = next(str(one) for one in range(len(osds) + 1) if str(one) not in osds)
    uuid = site.uuid("osd")
    osds[number] = {
        "host": site.here, "device": path, "bytes": size, "uuid": uuid, "weight": round(size / 2**40, 5),
        "up": True, "in": True, "givenUp": False, "madeAt": site.now, "backAt": site.now, "downAt": site.now,
        "away": 0.0, "boots": site.node.boots,
    }  # fmt: skip
    site.shared["epoch"] += 1
    pools.keep_managers_pool(site)
    return number, uuid


def named(site: Site, word: str) -> dict[str, Any]:
    number = word.removeprefix("osd.")
    if number not in site.shared["osds"]:
        raise Refused(f"Error ENOENT: osd.{number} does not exist", 2)
    found: dict[str, Any] = site.shared["osds"][number]
    return found


def purge(site: Site, word: str) -> None:
    osd = named(site, word)
    if osd["up"]:
        raise Refused(f"Error EBUSY: osd.{word.removeprefix('osd.')} is not `down`.", 16)
    del site.shared["osds"][word.removeprefix("osd.")]


def may_stop(site: Site, words: list[str]) -> tuple[bool, int]:
    """`ceph osd ok-to-stop`: whether every group stays active without them, and how many would not."""
    gone = {word.removeprefix("osd.") for word in words}
    for one in gone:
        named(site, one)
    stuck = 0
    for name, group in site.shared["groups"].items():
        home = daemons.placed(site, name)
        left = [one for one in home if one not in gone and site.shared["osds"][one]["up"]]
        pool = site.shared["pools"][name.split(".")[0]]
        if gone & set(home) and (len(left) < pool["min_size"] or not set(left) & set(group["whole"])):
            stuck += 1
    return stuck == 0, stuck
