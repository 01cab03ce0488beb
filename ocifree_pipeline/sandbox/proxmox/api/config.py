"""/cluster/config: the configuration of corosync, creating a cluster and joining one."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox import certificates, joining, nodes, quorum, tasks
from ocifree_pipeline.sandbox.proxmox.errors import ApiError, died
from ocifree_pipeline.sandbox.proxmox.methods import Call, method, needs, root_only
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, text, whole

NOT_CLUSTERED = "node is not in a cluster, no join info available!"
LINK = text(pattern=r"(address=)?[0-9a-fA-F.:]+(,priority=\d{1,3})?")
CLUSTER_NAME = form("pve-node", required=True, longest=15)
JOINING: dict[str, Parameter] = {
    "link[n]": LINK,
    "nodeid": whole(1),
    "votes": whole(0),
    "force": flag(),
}


@method("GET", "/cluster/config/nodes", may=needs("/", "Sys.Audit"))
def _nodes(call: Call) -> Any:
    cluster = call.node.cluster
    if cluster is None:
        return []
    rows = []
    for name, one in sorted(cluster["nodes"].items()):
        row = {"node": name, "name": name, "nodeid": str(one["nodeid"]), "quorum_votes": str(one["votes"])}
        rows.append(row | {f"ring{number}_addr": address for number, address in one["ring"].items()})
    return rows


@method("GET", "/cluster/config/apiversion", may=needs("/", "Sys.Audit"))
def _api_version(_call: Call) -> Any:
    return 1


@method("GET", "/cluster/config/totem", may=needs("/", "Sys.Audit"))
def _totem(call: Call) -> Any:
    return {} if call.node.cluster is None else totem(call.node.cluster)


def totem(cluster: dict[str, Any]) -> dict[str, Any]:
    rings = sorted({ring for one in cluster["nodes"].values() for ring in one["ring"]})
    return {
        "cluster_name": cluster["name"],
        "config_version": str(cluster["version"]),
        "interface": {ring: {"linknumber": ring} for ring in rings},
        "ip_version": "ipv4-6",
        "link_mode": "passive",
        "secauth": "on",
        "version": "2",
    }


@method("GET", "/cluster/config/qdevice", may=needs("/", "Sys.Audit"))
def _qdevice(call: Call) -> Any:
    device = (call.node.cluster or {}).get("qdevice")
    if not device or call.node.machine.key not in device["ready"]:
        return {}
    standing = quorum.standing(call.node)
    state = "Connected" if standing is not None and standing.device else "Disconnected"
    return {"Model": "Net", "QNetd host": f"{device['host']}:5403", "State": state, "Algorithm": device["algorithm"]}


@method("GET", "/cluster/config/join", {"node": form("pve-node")}, may=needs("/", "Sys.Audit"))
def join_info(call: Call) -> Any:
    cluster = call.node.cluster
    if cluster is None:
        raise ApiError(424, NOT_CLUSTERED)
    rows = []
    for name, one in sorted(cluster["nodes"].items()):
        other = nodes.named(call.node, name)
        row = {
            "name": name,
            "nodeid": str(one["nodeid"]),
            "quorum_votes": str(one["votes"]),
            "pve_addr": other.address if other is not None else one["ring"]["0"],
            "pve_fp": certificates.fingerprint(other.own["pem"]) if other is not None and other.own["pem"] else "",
        }
        rows.append(row | {f"ring{number}_addr": address for number, address in one["ring"].items()})
    return {
        "nodelist": rows,
        "preferred_node": call.get("node", call.node.name),
        "totem": totem(cluster),
        "config_digest": joining.config_digest(cluster),
    }


@method(
    "POST",
    "/cluster/config",
    {
        "clustername": CLUSTER_NAME,
        "link[n]": LINK,
        "nodeid": whole(1),
        "votes": whole(1),
        "token-coefficient": whole(0),
    },
    may=root_only,
)
def create(call: Call) -> Any:
    joining.refuse_creation(call.node)
    args = {
        "name": call["clustername"],
        "links": joining.links_of(call.values),
        "nodeid": call.get("nodeid", 0),
        "votes": call.get("votes", 1),
    }
    return tasks.start(call.node, "clustercreate", "", call.caller.name, args)


@method(
    "POST",
    "/cluster/config/join",
    JOINING
    | {
        "hostname": text(required=True),
        "fingerprint": form("fingerprint", required=True),
        "password": text(required=True, longest=128),
    },
    may=root_only,
)
def join(call: Call) -> Any:
    if call.node.cluster is not None:
        raise died(f"cluster config '{joining.CONFIG}' already exists")
    return tasks.start(call.node, "clusterjoin", "", call.caller.name, join_args(call.values))


def join_args(values: dict[str, Any]) -> dict[str, Any]:
    args = {name: values[name] for name in ("fingerprint", "password", "nodeid", "votes", "force") if name in values}
    return args | {"host": values["hostname"], "links": joining.links_of(values)}


@method(
    "POST",
    "/cluster/config/nodes/{name}",
    JOINING | {"new_node_ip": form("ip"), "apiversion": whole()},
    may=root_only,
    writes=True,
)
def _add(call: Call) -> Any:
    return joining.add_node(call.node, call["name"], call.values)


@method("DELETE", "/cluster/config/nodes/{name}", may=root_only, writes=True)
def _remove(call: Call) -> Any:
    joining.remove_node(call.node, call["name"])
