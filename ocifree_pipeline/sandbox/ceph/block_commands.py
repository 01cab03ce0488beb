"""`sfdisk`, `sgdisk`, `partx`, `lsblk`, `vgs`, `lvs`: block devices looked at and divided."""

import json
import re
from typing import Any

from ocifree_pipeline.sandbox.ceph import devices
from ocifree_pipeline.sandbox.ceph.site import GIB, Node, NotPlayed, Refused
from ocifree_pipeline.sandbox.ceph.words import parse

GUID = "5C1D0F5E-5A0B-4C4B-9B5C-000000000000"
LSBLK = ("NAME", "PATH", "TYPE", "SIZE", "FSTYPE", "PARTLABEL", "MOUNTPOINT", "PKNAME")
SGDISK_CODES = {"8300": devices.LINUX_DATA, "8e00": devices.LINUX_LVM, "8E00": devices.LINUX_LVM}
IN_USE = (
    "Warning: The kernel is still using the old partition table.\n"
    "The new table will be used at the next reboot or after you\n"
    "run partprobe(8) or kpartx(8)\n"
)


def _disk(node: Node, path: str, doing: str) -> tuple[str, dict[str, Any]]:
    name = path.removeprefix("/dev/")
    if name not in node.blocks["disks"]:
        raise Refused(f"{doing}: cannot open {path}: No such file or directory")
    return name, node.blocks["disks"][name]


def sfdisk(node: Node, words: tuple[str, ...]) -> str:
    match words:
        case ("--json" | "-J", path):
            name, disk = _disk(node, path, "sfdisk")
        case _:
            raise NotPlayed(f"sfdisk {' '.join(words)}")
    rows = [
        {
            "node": devices.partition_path(name, one["number"]),
            "start": one["start"],
            "size": one["size"],
            "type": one["type"],
            **({"name": one["name"]} if one["name"] else {}),
        }
        for one in disk["partitions"]
    ]
    table = {
        "label": "gpt",
        "id": GUID,
        "device": path,
        "unit": "sectors",
        "firstlba": devices.FIRST_USABLE,
        "lastlba": disk["table_sectors"] - devices.BACKUP_TABLE,
        "sectorsize": devices.SECTOR,
        "partitions": rows,
    }
    return json.dumps({"partitiontable": table}, indent=3) + "\n"


def sgdisk(node: Node, words: tuple[str, ...]) -> str:
    """Changes are made in the order in which they are written, and none of them when one is refused."""
    found = parse(words, ("--new", "-n", "--typecode", "-t", "--change-name", "-c"), ("--move-second-header", "-e"))
    if len(found.rest) != 1:
        raise NotPlayed(f"sgdisk {' '.join(words)}")
    _, disk = _disk(node, found.rest[0], "Problem opening")
    before = json.loads(json.dumps(disk))
    try:
        if {"--move-second-header", "-e"} & found.flags:
            disk["table_sectors"] = disk["sectors"]
        if wanted := found.values.get("--new", found.values.get("-n")):
            _new_partition(disk, wanted)
        if wanted := found.values.get("--typecode", found.values.get("-t")):
            number, _, code = wanted.partition(":")
            _numbered(disk, number)["type"] = SGDISK_CODES.get(code, code)
        if wanted := found.values.get("--change-name", found.values.get("-c")):
            number, _, name = wanted.partition(":")
            _numbered(disk, number)["name"] = name
    except Refused:
        disk.clear()
        disk.update(before)
        raise
    return (IN_USE if devices.is_busy(disk) else "") + "The operation has completed successfully.\n"


def _new_partition(disk: dict[str, Any], wanted: str) -> None:
    number, first, last = [*wanted.split(":"), "0", "0"][:3]
    taken = {one["number"] for one in disk["partitions"]}
    chosen = int(number) or next(one for one in range(1, 129) if one not in taken)
    gaps = devices.free_spans(disk)
    start = int(first) or max(gaps, key=lambda gap: gap[1] - gap[0], default=(0, 0))[0]
    gap = next((one for one in gaps if one[0] <= start <= one[1]), None)
    end = int(last) or (gap[1] if gap else 0)
    if chosen in taken or gap is None or not start <= end <= gap[1]:
        raise Refused(
            f"Could not create partition {chosen} from {start} to {end}\nError encountered; not saving changes.", 4
        )
    devices.add_partition(disk, chosen, start, end)


def _numbered(disk: dict[str, Any], number: str) -> dict[str, Any]:
    wanted = int(number) if number != "0" else max(one["number"] for one in disk["partitions"])
    for one in disk["partitions"]:
        if one["number"] == wanted:
            found: dict[str, Any] = one
            return found
    raise Refused(f"Unable to find partition {number}!\nError encountered; not saving changes.", 4)


def partx(node: Node, words: tuple[str, ...]) -> str:
    found = parse(words, (), ("-u", "--update", "-a", "--add"))
    if not found.flags or len(found.rest) != 1:
        raise NotPlayed(f"partx {' '.join(words)}")
    devices.read_table_again(_disk(node, found.rest[0], "partx")[1])
    return ""


def lsblk(node: Node, words: tuple[str, ...]) -> str:
    found = parse(words, ("--output", "-o"), ("--json", "-J", "--bytes", "-b", "--paths", "-p", "--nodeps", "-d"))
    wanted = found.values.get("--output", found.values.get("-o", "NAME,TYPE,SIZE,MOUNTPOINT")).upper().split(",")
    if unknown := [one for one in wanted if one not in LSBLK]:
        raise Refused(f"lsblk: unknown column: {unknown[0]}")
    rows = [row for row in _rows(node) if not found.rest or row["PATH"] in found.rest or row["DISK"] in found.rest]
    if found.rest and not rows:
        raise Refused(f"lsblk: {found.rest[0]}: not a block device", 32)
    in_bytes = {"--bytes", "-b"} & found.flags
    if not {"--json", "-J"} & found.flags:
        lines = [" ".join(str(_size(row, one, bool(in_bytes)) or "") for one in wanted) for row in rows]
        return "\n".join([" ".join(wanted), *lines]) + "\n"
    if not in_bytes and "SIZE" in wanted:
        raise NotPlayed("lsblk --json without --bytes")
    shown = {id(row): {one.lower(): row[one] for one in wanted} for row in rows}
    top: list[dict[str, Any]] = []
    for row in rows:
        parent = next((one for one in rows if one["PATH"] == row["PARENT"]), None)
        target = top if parent is None else shown[id(parent)].setdefault("children", [])
        target.append(shown[id(row)])
    return json.dumps({"blockdevices": top}, indent=3) + "\n"


def _size(row: dict[str, Any], column: str, in_bytes: bool) -> Any:
    if column != "SIZE" or in_bytes:
        return row[column]
    return f"{row['SIZE'] / GIB:.1f}G".replace(".0G", "G")


def _rows(node: Node) -> list[dict[str, Any]]:
    rows = []
    for one in devices.everything(node):
        above = f"/dev/{one.disk}" if one.kind == "part" else ""
        held = any(one.path in group["pvs"] for group in node.blocks["vgs"].values())
        fstype = "LVM2_member" if held else one.entry.get("fstype") or None
        rows.append(
            {
                "NAME": one.path.removeprefix("/dev/"), "PATH": one.path, "TYPE": one.kind, "SIZE": one.bytes,
                "FSTYPE": fstype, "PARTLABEL": one.entry.get("name") or None,
                "MOUNTPOINT": one.entry.get("mount") or None, "PKNAME": one.disk if one.kind == "part" else None,
                "PARENT": above, "DISK": f"/dev/{one.disk}",
            }
        )  # fmt: skip
    for group, name, below, volume in devices.volumes(node):
        disk = re.sub(r"(?<=\d)p\d+$|(?<=[a-z])\d+$", "", below[0])
        mapped = f"{group.replace('-', '--')}-{name.replace('-', '--')}"
        rows.append(
            {
                "NAME": mapped, "PATH": f"/dev/mapper/{mapped}", "TYPE": "lvm", "SIZE": volume["bytes"],
                "FSTYPE": "ceph_bluestore" if volume["tags"] else None, "PARTLABEL": None, "MOUNTPOINT": None,
                "PKNAME": below[0].removeprefix("/dev/"), "PARENT": below[0], "DISK": disk,
            }
        )  # fmt: skip
    return rows


def lvs(node: Node, words: tuple[str, ...]) -> str:
    found = parse(words, ("--reportformat", "-o", "--options", "--units"), ("--nosuffix", "--noheadings"))
    if found.values.get("--reportformat") != "json":
        raise NotPlayed("lvs as plain text (ask with --reportformat json)")
    rows = [
        {
            "lv_name": name,
            "vg_name": group,
            "lv_size": str(volume["bytes"]),
            "lv_tags": ",".join(f"{key}={value}" for key, value in volume["tags"].items()),
        }
        for group, name, _, volume in devices.volumes(node)
    ]
    return json.dumps({"report": [{"lv": rows}]}, indent=2) + "\n"
