"""`ceph-volume lvm`: OSDs on volumes, and what earlier lives have left behind."""

import json
from typing import Any

from ocifree_pipeline.sandbox.ceph import devices, osds
from ocifree_pipeline.sandbox.ceph.site import NotPlayed, Refused, Site
from ocifree_pipeline.sandbox.ceph.words import parse


def ceph_volume(site: Site, words: tuple[str, ...]) -> str:
    match words:
        case ("lvm", "list", *rest):
            found = parse(rest, ("--format",))
            if found.values.get("--format") != "json":
                raise NotPlayed("ceph-volume lvm list in plain text (ask with --format json)")
            return json.dumps(listed(site, found.rest[0] if found.rest else ""), indent=4) + "\n"
        case ("lvm", "create", *rest):
            found = parse(rest, ("--data", "--crush-device-class"), ("--bluestore",))
            if "--data" not in found.values:
                raise Refused("ceph-volume lvm create: error: the following arguments are required: --data", 2)
            osds.create_on_volume(site, found.values["--data"])
            return f"--> ceph-volume lvm create successful for: {found.values['--data']}\n"
        case ("lvm", "zap", *rest):
            return _zap(site, parse(rest, (), ("--destroy",)).rest)
        case _:
            raise NotPlayed(f"ceph-volume {' '.join(words)}")


def listed(site: Site, only: str = "") -> dict[str, Any]:
    """Volumes that carry Ceph's tags, whichever cluster they were made for, by the number of their OSD."""
    found: dict[str, Any] = {}
    for group, name, below, volume in devices.volumes(site.node):
        tags = volume["tags"]
        path = f"/dev/{group}/{name}"
        if "ceph.osd_id" not in tags or only not in {"", path, f"{group}/{name}", *below}:
            continue
        found.setdefault(tags["ceph.osd_id"], []).append(
            {
                "devices": below,
                "lv_name": name,
                "lv_path": path,
                "lv_size": str(volume["bytes"]),
                "lv_tags": ",".join(f"{key}={value}" for key, value in tags.items()),
                "name": name,
                "path": path,
                "tags": tags,
                "type": "block",
                "vg_name": group,
            }
        )
    return found


def _zap(site: Site, paths: tuple[str, ...]) -> str:
    for path in paths:
        if devices.find(site.node, path) is None:
            raise Refused(f"ceph-volume lvm zap: error: Unable to proceed with non-existing device: {path}", 2)
        mine = [number for number, rows in listed(site, path).items() if _runs(site, number, rows)]
        if mine:
            raise Refused(f"osd.{mine[0]} still running: stop it first")
        devices.wipe(site.node, path)
    return f"--> Zapping successful for: {' '.join(paths)}\n"


def _runs(site: Site, number: str, rows: list[dict[str, Any]]) -> bool:
    osd = site.shared.get("osds", {}).get(number)
    return bool(osd and osd["up"] and osd["uuid"] == rows[0]["tags"]["ceph.osd_fsid"])
