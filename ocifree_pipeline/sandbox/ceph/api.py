"""Ceph in Proxmox's API: the same state as its commands, in the shapes of the API. Most writes are tasks."""

from typing import Any

from ocifree_pipeline.sandbox.ceph import cluster, daemons, osds, reports
from ocifree_pipeline.sandbox.ceph.on_proxmox import site_of
from ocifree_pipeline.sandbox.ceph.site import Refused, Site
from ocifree_pipeline.sandbox.proxmox import tasks
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.proxmox.methods import Call, May, method, needs
from ocifree_pipeline.sandbox.proxmox.nodes import Node
from ocifree_pipeline.sandbox.proxmox.schema import flag, text, whole
from ocifree_pipeline.sandbox.proxmox.tasks import TaskError, work

AUDIT: May = needs("/", "Sys.Audit", "Datastore.Audit", some=True)
MODIFY: May = needs("/", "Sys.Modify")
NODE = "/nodes/{node}/ceph"


def answering(call: Call) -> Site:
    """A Ceph that answers; an ordinary failure otherwise."""
    site = site_of(call.node.machine)
    try:
        cluster.must_answer(site)
    except Refused as refused:
        raise died(refused.message) from None
    return site


def begin(call: Call, kind: str, ident: str, **args: Any) -> str:
    return tasks.start(call.node, kind, ident, call.caller.user, args)


def finish(node: Node, change: Any) -> None:
    try:
        change(site_of(node.machine))
    except Refused as refused:
        raise TaskError(refused.message) from None


# how it is ------------------------------------------------------------------------------------------------------------


@method("GET", "/cluster/ceph/status", may=AUDIT)
def _status(call: Call) -> Any:
    return reports.api_status(answering(call))


@method("GET", f"{NODE}/status", may=AUDIT)
def _status_of_node(call: Call) -> Any:
    return reports.api_status(answering(call))


@method("GET", "/cluster/ceph/metadata", may=AUDIT)
def _metadata(call: Call) -> Any:
    site = answering(call)
    rows = [
        {"id": int(number), "hostname": osd["host"], "ceph_version_short": cluster.VERSION}
        for number, osd in site.shared["osds"].items()
    ]
    mons = {f"{name}@{name}": {"hostname": name, "name": name} for name in site.shared["mons"]}
    mgrs = {f"{name}@{name}": {"hostname": name, "name": name} for name in site.shared["mgrs"]}
    versions = {name: {"version": {"str": cluster.VERSION}} for name in site.nodes}
    return {"mon": mons, "mgr": mgrs, "mds": {}, "osd": rows, "node": versions}


@method("GET", "/cluster/ceph/flags", may=AUDIT)
def _flags(call: Call) -> Any:
    chosen = answering(call).shared["flags"]
    return [{"name": name, "value": int(name in chosen)} for name in osds.FLAGS]


@method("GET", "/cluster/ceph/flags/{flag}", may=AUDIT)
def _flag(call: Call) -> Any:
    return int(call["flag"] in answering(call).shared["flags"])


@method("PUT", "/cluster/ceph/flags/{flag}", {"value": flag(required=True)}, may=MODIFY)
def _set_flag(call: Call) -> Any:
    site = answering(call)
    others = [one for one in site.shared["flags"] if one != call["flag"]]
    site.shared["flags"] = sorted([*others, call["flag"]]) if call["value"] else others


@method("GET", f"{NODE}/cfg/raw", may=AUDIT)
def _conf(call: Call) -> Any:
    return cluster.conf(answering(call))


@method("GET", f"{NODE}/cfg/db", may=AUDIT)
def _config(call: Call) -> Any:
    return [
        {"section": who, "name": name, "value": value, "level": "advanced", "can_update_at_runtime": 1, "mask": ""}
        for who, settings in answering(call).shared["config"].items()
        for name, value in settings.items()
    ]


# configuration, monitors, managers ------------------------------------------------------------------------------------


@method(
    "POST",
    f"{NODE}/init",
    {
        "network": text(), "cluster-network": text(), "size": whole(1, 7), "min_size": whole(1, 7),
        "pg_bits": whole(6, 14), "disable_cephx": flag(),
    },
    may=MODIFY,
    writes=True,
)  # fmt: skip
def _init(call: Call) -> Any:
    site = site_of(call.node.machine)
    network = call.get("network") or (f"{call.node.address}/24" if "fsid" not in site.shared else "")
    try:
        cluster.init(
            site,
            network or site.shared["network"],
            call.get("cluster-network", ""),
            call.get("size", 3),
            call.get("min_size", 2),
        )
    except Refused as refused:
        raise died(refused.message) from None


@method("GET", f"{NODE}/mon", may=AUDIT)
def _mons(call: Call) -> Any:
    site = answering(call)
    agreed = daemons.quorum(site)
    return [
        {
            "name": name,
            "host": name,
            "addr": f"{one['address']}:6789/0",
            "rank": rank,
            "quorum": int(name in agreed),
            "state": "running" if daemons.runs(site, "mon", name, name) else "stopped",
            "service": 1,
            "direxists": 1,
            "ceph_version_short": cluster.VERSION,
        }
        for rank, (name, one) in enumerate(site.shared["mons"].items())
    ]


@method("POST", f"{NODE}/mon/{{monid}}", {"mon-address": text()}, may=MODIFY, writes=True)
def _create_mon(call: Call) -> Any:
    return begin(call, "cephcreatemon", f"mon.{call['monid']}", address=call.get("mon-address", ""))


@work("cephcreatemon")
def _make_mon(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    finish(node, lambda site: cluster.create_mon(site, args["address"]))


@method("DELETE", f"{NODE}/mon/{{monid}}", may=MODIFY, writes=True)
def _destroy_mon(call: Call) -> Any:
    return begin(call, "cephdestroymon", f"mon.{call['monid']}", name=call["monid"])


@work("cephdestroymon")
def _drop_mon(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    finish(node, lambda site: cluster.destroy_mon(site, args["name"]))


@method("GET", f"{NODE}/mgr", may=AUDIT)
def _mgrs(call: Call) -> Any:
    site = answering(call)
    running = daemons.managers(site)
    return [
        {
            "name": name,
            "host": name,
            "state": "active" if running[:1] == [name] else "standby" if name in running else "stopped",
        }
        for name in site.shared["mgrs"]
    ]


@method("POST", f"{NODE}/mgr/{{id}}", may=MODIFY, writes=True)
def _create_mgr(call: Call) -> Any:
    return begin(call, "cephcreatemgr", f"mgr.{call['id']}")


@work("cephcreatemgr")
def _make_mgr(node: Node, _task: tasks.Task, _args: dict[str, Any]) -> None:
    finish(node, cluster.create_mgr)


@method("DELETE", f"{NODE}/mgr/{{id}}", may=MODIFY, writes=True)
def _destroy_mgr(call: Call) -> Any:
    return begin(call, "cephdestroymgr", f"mgr.{call['id']}", name=call["id"])


@work("cephdestroymgr")
def _drop_mgr(node: Node, _task: tasks.Task, args: dict[str, Any]) -> None:
    finish(node, lambda site: cluster.destroy_mgr(site, args["name"]))
