"""/cluster/ha: resources, and the rules that took the place of groups."""

from typing import Any

from ocifree_pipeline.sandbox.proxmox import quorum
from ocifree_pipeline.sandbox.proxmox.errors import died
from ocifree_pipeline.sandbox.proxmox.methods import Call, method, needs
from ocifree_pipeline.sandbox.proxmox.schema import Parameter, flag, form, one_of, text, whole

SEE, MAY = needs("/", "Sys.Audit"), needs("/", "Sys.Console")
RESOURCE: dict[str, Parameter] = {
    "state": one_of("started", "stopped", "enabled", "disabled", "ignored"),
    "max_relocate": whole(0),
    "max_restart": whole(0),
    "comment": text(longest=4096),
    "failback": flag(),
}
RULE: dict[str, Parameter] = {
    "type": one_of("node-affinity", "resource-affinity", required=True),
    "resources": text(many=True),
    "nodes": text(many=True),
    "affinity": one_of("positive", "negative"),
    "strict": flag(),
    "disable": flag(),
    "comment": text(longest=4096),
}
CHANGE: dict[str, Parameter] = {"delete": text(many=True), "digest": form("digest")}
SID = text(required=True, pattern=r"(vm:|ct:)?\d+")
MIGRATED = "cannot use ha groups: ha groups have been migrated to rules"


def _sid(call: Call) -> str:
    sid = str(call["sid"])
    if ":" in sid:
        return sid
    guest = call.store["guests"].get(sid)
    return f"{'ct' if guest and guest['type'] == 'lxc' else 'vm'}:{sid}"


@method("GET", "/cluster/ha/resources", {"type": text()}, may=SEE)
def _resources(call: Call) -> Any:
    return [{"sid": sid, "type": sid[:2], **one} for sid, one in sorted(call.store["ha"]["resources"].items())]


@method("POST", "/cluster/ha/resources", RESOURCE | {"sid": SID, "group": text(), "type": text()}, may=MAY, writes=True)
def _add(call: Call) -> Any:
    sid = _sid(call)
    if "group" in call.values:
        raise died(f"invalid parameter 'group': {MIGRATED}")
    if sid in call.store["ha"]["resources"]:
        raise died(f"resource ID '{sid}' already defined")
    if sid.partition(":")[2] not in call.store["guests"]:
        raise died(f"guest '{sid}' does not exist")
    fields = {name: call[name] for name in RESOURCE if name in call.values}
    call.store["ha"]["resources"][sid] = {"state": "started", "max_relocate": 1, "max_restart": 1} | fields


@method("GET", "/cluster/ha/resources/{sid}", may=SEE)
def _get(call: Call) -> Any:
    return {"sid": _sid(call)} | _known(call)


def _known(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = call.store["ha"]["resources"].get(_sid(call))
    if found is None:
        raise died(f"no such resource '{_sid(call)}'")
    return found


@method("PUT", "/cluster/ha/resources/{sid}", RESOURCE | CHANGE, may=MAY, writes=True)
def _change(call: Call) -> Any:
    one = _known(call)
    for name in call.get("delete", []):
        one.pop(name, None)
    one.update({name: call[name] for name in RESOURCE if name in call.values})


@method("DELETE", "/cluster/ha/resources/{sid}", {"purge": flag()}, may=MAY, writes=True)
def _delete(call: Call) -> Any:
    _known(call)
    del call.store["ha"]["resources"][_sid(call)]


@method("GET", "/cluster/ha/rules", {"type": text(), "resource": text()}, may=SEE)
def _rules(call: Call) -> Any:
    return [{"rule": name, **one} for name, one in sorted(call.store["ha"]["rules"].items())]


def _fields(call: Call) -> dict[str, Any]:
    found = {name: call[name] for name in RULE if name in call.values}
    return {name: ",".join(value) if isinstance(value, list) else value for name, value in found.items()}


@method(
    "POST",
    "/cluster/ha/rules",
    RULE | {"rule": form("pve-configid", required=True), "resources": text(many=True, required=True)},
    may=MAY,
    writes=True,
)
def _add_rule(call: Call) -> Any:
    rules = call.store["ha"]["rules"]
    if call["rule"] in rules:
        raise died(f"HA rule '{call['rule']}' already defined")
    needed = ("resources", "nodes") if call["type"] == "node-affinity" else ("resources", "affinity")
    for name in needed:
        if name not in call.values:
            raise died(f"missing value for required option '{name}'")
    for sid in call["resources"]:
        if sid not in call.store["ha"]["resources"]:
            raise died(f"cannot use unmanaged resource {sid}.")
    rules[call["rule"]] = _fields(call)


@method("PUT", "/cluster/ha/rules/{rule}", RULE | CHANGE, may=MAY, writes=True)
def _change_rule(call: Call) -> Any:
    rules = call.store["ha"]["rules"]
    if call["rule"] not in rules:
        raise died(f"HA rule '{call['rule']}' does not exist")
    rules[call["rule"]].update(_fields(call))


@method("DELETE", "/cluster/ha/rules/{rule}", may=MAY, writes=True)
def _delete_rule(call: Call) -> Any:
    if call.store["ha"]["rules"].pop(call["rule"], None) is None:
        raise died(f"HA rule '{call['rule']}' does not exist")


@method("GET", "/cluster/ha/groups", may=SEE)
def _groups(_call: Call) -> Any:
    raise died(MIGRATED)


@method("GET", "/cluster/ha/status/current", may=SEE)
def _status(call: Call) -> Any:
    quorate = quorum.is_quorate(call.node)
    rows = [{"id": "quorum", "type": "quorum", "node": call.node.name, "quorate": int(quorate), "status": "OK"}]
    for sid, one in sorted(call.store["ha"]["resources"].items()):
        guest = call.store["guests"].get(sid.partition(":")[2])
        if guest is not None:
            state = "started" if guest["status"] == "running" else one["state"]
            rows.append({"id": f"service:{sid}", "type": "service", "sid": sid, "node": guest["node"], "state": state})
    return rows
