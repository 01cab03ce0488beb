"""OSDs, pools and disks in Proxmox's API."""

from typing import Any

from ocifree_pipeline.sandbox.ceph import cluster, devices, osds, pools, reports, usage
from ocifree_pipeline.sandbox.ceph.api import AUDIT, MODIFY, NODE, answering, begin, finish
from ocifree_pipeline.sandbox.ceph.on_proxmox import site_of
from ocifree_pipeline.sandbox.ceph.site import Refused, Site
from ocifree_pipeline.sandbox.proxmox import tasks, volumes
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.proxmox.methods import Call, method, root_only
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import flag, number, one_of, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import work


@method("GET", f"{NODE}/osd", may=AUDIT)
def _osds(call: Call) -> Any:
    """A tree of its own shape: leaves are marked, hosts carry a version."""
    site = answering(call)
    hosts = []
    for host in dict.fromkeys(osd["host"] for osd in site.shared["osds"].values()):
        leaves = [
            {
                "id": number, "name": f"osd.{number}", "type": "osd", "leaf": 1, "host": host,
                "status": "up" if osd["up"] else "down", "in": int(osd["in"]), "crush_weight": osd["weight"],
                "total_space": osd["bytes"], "bytes_used": usage.used_on(site, number), "device_class": "hdd",
                "osdtype": "bluestore",
            }
            for number, osd in site.shared["osds"].items()
            if osd["host"] == host
        ]  # fmt: skip
        hosts.append({"name": host, "type": "host", "leaf": 0, "version": cluster.VERSION, "children": leaves})
    return {"flags": ",".join(site.shared["flags"]), "root": {"leaf": 0, "children": [
        {"id": "-1", "name": "default", "type": "root", "leaf": 0, "children": hosts}
    ]}}  # fmt: skip


@method(
    "POST",
    f"{NODE}/osd",
    {"dev": text(required=True), "crush-device-class": text(), "encrypted": flag(), "osds-per-device": whole(1)},
    may=root_only,
    writes=True,
)
def _create_osd(call: Call) -> Any:
    return begin(call, "cephcreateosd", str(call["dev"]).removeprefix("/dev/"), dev=call["dev"])


@work("cephcreateosd")
def _make_osd(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    finish(node, lambda site: osds.create(site, args["dev"]))


@method("POST", f"{NODE}/osd/{{osdid}}/in", may=MODIFY)
def _take_in(call: Call) -> Any:
    _set_in(call, True)


@method("POST", f"{NODE}/osd/{{osdid}}/out", may=MODIFY)
def _take_out(call: Call) -> Any:
    _set_in(call, False)


def _set_in(call: Call, inside: bool) -> None:
    try:
        osds.named(answering(call), str(call["osdid"])).update({"in": inside, "givenUp": False})
    except Refused as refused:
        raise died(refused.message) from None


# pools ----------------------------------------------------------------------------------------------------------------

POOL_NAME, RULE = r"[^:/\s]+", "replicated_rule"
SETTINGS = {
    "size": whole(1, 7),
    "min_size": whole(1, 7),
    "pg_num": whole(1, 32768),
    "pg_autoscale_mode": one_of("on", "off", "warn"),
    "application": one_of("rbd", "cephfs", "rgw"),
    "crush_rule": text(),
    "target_size": text(),
    "target_size_ratio": number(0),
}


@method("GET", f"{NODE}/pool", may=AUDIT)
def _pools(call: Call) -> Any:
    site = answering(call)
    return [
        {
            "pool": one["pool_id"],
            "pool_name": one["pool_name"],
            "size": one["size"],
            "min_size": one["min_size"],
            "pg_num": one["pg_num"],
            "pg_autoscale_mode": one["pg_autoscale_mode"],
            "application_metadata": one["application_metadata"],
            "crush_rule": 0,
            "crush_rule_name": RULE,
            "type": "replicated",
            "bytes_used": one_df["stats"]["bytes_used"],
            "percent_used": 0,
        }
        for one, one_df in zip(reports.pools(site), reports.df(site)["pools"], strict=True)
    ]


@method(
    "POST",
    f"{NODE}/pool",
    {"name": text(required=True, pattern=POOL_NAME), "add_storages": flag(), **SETTINGS},
    may=MODIFY,
    writes=True,
)
def _create_pool(call: Call) -> Any:
    names = ("name", "add_storages", *SETTINGS)
    wanted = {name: call.get(name) for name in names if call.get(name) is not None}
    return begin(call, "cephcreatepool", str(call["name"]), **wanted)


@work("cephcreatepool")
def _make_pool(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    plain = pools.Settings()
    wanted = pools.Settings(
        int(args.get("size", plain.size)),
        int(args.get("min_size", plain.min_size)),
        int(args.get("pg_num", plain.pg_num)),
        args.get("pg_autoscale_mode", plain.autoscale),
        args.get("application", plain.application),
    )
    finish(node, lambda site: pools.create(site, args["name"], wanted, storage=bool(args.get("add_storages"))))


@method("GET", f"{NODE}/pool/{{name}}/status", {"verbose": flag()}, may=AUDIT)
def _pool(call: Call) -> Any:
    found = next((one for one in reports.pools(answering(call)) if one["pool_name"] == call["name"]), None)
    if found is None:
        raise died(f"error with 'osd pool get': mon_cmd failed - unrecognized pool '{call['name']}'")
    kept = {name: found[name] for name in ("size", "min_size", "pg_num", "pg_autoscale_mode")}
    row = {"id": found["pool_id"], "name": found["pool_name"], "pgp_num": found["pg_num"], **kept}
    row |= {"crush_rule": RULE, "application": next(iter(found["application_metadata"]), "")}
    row |= dict.fromkeys(("fast_read", "nodelete", "nopgchange", "nosizechange", "noscrub", "nodeep-scrub"), 0)
    return row | ({"application_list": list(found["application_metadata"])} if call.get("verbose") else {})


@method("PUT", f"{NODE}/pool/{{name}}", SETTINGS, may=MODIFY, writes=True)
def _set_pool(call: Call) -> Any:
    wanted = {name: call[name] for name in SETTINGS if name in call.values}
    return begin(call, "cephsetpool", str(call["name"]), name=str(call["name"]), wanted=wanted)


@work("cephsetpool")
def _change_pool(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    def change(site: Site) -> None:
        cluster.must_answer(site)
        _, pool = pools.named(site, args["name"])
        for name, value in args["wanted"].items():
            if {"crush_rule": RULE, **pool}.get(name) != value:
                pools.change(site, args["name"], name, str(value))

    finish(node, change)


@method(
    "DELETE",
    f"{NODE}/pool/{{name}}",
    {"force": flag(), "remove_storages": flag(), "remove_ecprofile": flag()},
    may=MODIFY,
    writes=True,
)
def _destroy_pool(call: Call) -> Any:
    name = str(call["name"])
    given = {one: bool(call.get(one)) for one in ("force", "remove_storages")}
    return begin(call, "cephdestroypool", name, name=name, **given)


@work("cephdestroypool")
def _drop_pool(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    def drop(site: Site) -> None:
        cluster.must_answer(site)
        own = [one for one, kept in site.storages.items() if kept["type"] == "rbd" and kept["pool"] == args["name"]]
        for one in own:
            if volumes.listed(node, one) and not args["force"]:
                raise Refused(f"ceph pool '{args['name']}' still in use by storage '{one}'")
        pools.destroy(site, args["name"])
        if args["remove_storages"]:
            for one in own:
                del site.storages[one]

    finish(node, drop)


# disks ----------------------------------------------------------------------------------------------------------------


@method(
    "GET",
    "/nodes/{node}/disks/list",
    {"include-partitions": flag(), "skipsmart": flag(), "type": one_of("unused", "journal_disks")},
    may=AUDIT,
)
def _disks(call: Call) -> Any:
    site = site_of(call.node.machine)
    numbers = {osd["device"]: int(number) for number, osd in site.shared.get("osds", {}).items()
               if osd["host"] == site.here}  # fmt: skip
    rows = []
    for one in devices.everything(site.node):
        if one.kind == "part" and not call.get("include-partitions"):
            continue
        row = {"devpath": one.path, "size": one.bytes, "gpt": int(one.kind == "disk"), "type": "unknown",
               "osdid": numbers.get(one.path, -1), "osdid-list": None, "model": "BlockVolume", "vendor": "ORACLE  ",
               "wearout": "N/A", "health": "UNKNOWN"}  # fmt: skip
        if (use := devices.use_of(site.node, one)) is not None:
            row["used"] = use
        if one.kind == "part":
            row["parent"] = f"/dev/{one.disk}"
        if call.get("type") != "unused" or "used" not in row:
            rows.append(row)
    return rows
