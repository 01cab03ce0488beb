"""Stands in for tofu: the same commands, messages and documents, a state of its own, and faults on demand.

What it is asked to make is in the variables of its working folder. It makes it in `cloud.json`, which plays Oracle, and
remembers it in `terraform.tfstate`. It runs as a program, without the packages of the project.

scenario.json beside it: {"version": ..., "fault": {"at": "init|plan|show|apply", "kind": ..., ...}}
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

TYPE_CHECKING = False  # it is started hundreds of times, and what it imports takes most of its time
if TYPE_CHECKING:
    from typing import Any

HERE = Path(__file__).parent
STATE, CLOUD, IMPORTS = Path("terraform.tfstate"), HERE / "cloud.json", Path("imports.tf.json")
NOTHING_TO_IMPORT = {"kind": "diagnostic", "diagnostics": [{"summary": "Cannot import non-existent remote object"}]}


def say(**message: Any) -> None:
    print(json.dumps({"@level": "info", "@module": "tofu.ui", **message}), flush=True)


def read(path: Path, otherwise: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else otherwise


def wanted() -> dict[str, dict[str, Any]]:
    """Every resource of the module by its address, as far as the pipeline looks at it."""
    spec = json.loads(Path("spec.auto.tfvars.json").read_text("utf-8"))["spec"]
    found: dict[str, dict[str, Any]] = {}

    def add(kind: str, name: str, thing: dict[str, Any], index: str | int | None = None, **more: Any) -> None:
        key = "" if index is None else f"[{json.dumps(index)}]"
        values = {"display_name": thing["name"], "freeform_tags": thing["tags"], **more}
        found[f"{kind}.{name}{key}"] = {"type": kind, "index": index, "values": values}

    add("oci_identity_compartment", "this", spec["compartment"], 0)
    add("oci_core_vcn", "this", spec["vcn"], cidr_blocks=spec["vcn"]["cidr_blocks"])
    add("oci_core_default_security_list", "every_machine", spec["security_list"])
    add("oci_core_internet_gateway", "this", spec["internet_gateway"])
    if spec["nat_gateway"]:
        add("oci_core_nat_gateway", "this", spec["nat_gateway"], 0)
    for kind, name, section in (
        ("oci_core_route_table", "this", "route_tables"),
        ("oci_core_subnet", "this", "subnets"),
        ("oci_core_network_security_group", "this", "groups"),
        ("oci_core_public_ip", "reserved", "reserved_ips"),
    ):
        for index, thing in spec[section].items():
            add(kind, name, thing, index)
    for group, thing in spec["groups"].items():
        for text, rule in thing["rules"].items():
            index = f"{group}: {text}"
            found[f"oci_core_network_security_group_security_rule.this[{json.dumps(index)}]"] = {
                "type": "oci_core_network_security_group_security_rule",
                "index": index,
                "values": {"description": rule["reason"]},
            }
    bucket = spec["bucket"]
    add("oci_objectstorage_bucket", "images", bucket, **{k: v for k, v in bucket.items() if k not in ("name", "tags")})
    return found


def id_of(address: str, thing: dict[str, Any]) -> str:
    if thing["type"] == "oci_objectstorage_bucket":
        return f"n/ns/b/{thing['values']['display_name']}"
    return f"ocid1.{thing['type'].rpartition('_')[2]}.oc1..{os.urandom(16).hex()}"


def outputs(cloud: dict[str, Any]) -> dict[str, Any]:
    standing = {
        thing["values"]["freeform_tags"]["ocifree-key"]: {
            "id": thing["id"],
            "name": thing["values"]["display_name"],
            "attributes": attributes_of(thing),
            "tags": thing["values"]["freeform_tags"],
        }
        for thing in cloud.values()
        if "freeform_tags" in thing["values"]
    }
    return {"everything": {"sensitive": False, "value": standing}}


def attributes_of(thing: dict[str, Any]) -> dict[str, Any]:
    if thing["type"] == "oci_core_public_ip":
        return {"address": "203.0.113.7", "assigned_to": None}
    return {"namespace": "ns"} if thing["type"] == "oci_objectstorage_bucket" else {}


def document() -> dict[str, Any]:
    """The plan from the state, and the imports that were asked for, to what is wanted."""
    asks, state, cloud = wanted(), read(STATE, {}), read(CLOUD, {})
    imports = {one["to"]: one["id"] for one in read(IMPORTS, {"import": []})["import"]}
    changes = []
    for address, thing in asks.items():
        change = {"actions": ["no-op"], "before": thing["values"], "after": thing["values"]}
        if address in imports and address not in state:
            if imports[address].rpartition("securityRules/")[2] != cloud.get(address, {}).get("id"):
                break_down(NOTHING_TO_IMPORT)
            change["importing"] = {"id": imports[address]}
        elif address not in state:
            change = {"actions": ["create"], "before": None, "after": thing["values"], "after_unknown": {"id": True}}
        elif cloud[address]["values"] != thing["values"]:
            change = {"actions": ["update"], "before": cloud[address]["values"], "after": thing["values"]}
        changes.append(resource(address, thing, change=change))
    for address in state:
        if address not in asks:
            before = state[address]["values"]
            gone = {"actions": ["delete"], "before": before, "after": None}
            changes.append(resource(address, state[address], change=gone))
    is_new = any(one["change"]["actions"] == ["create"] for one in changes)
    return {
        "format_version": "1.2",
        "planned_values": {
            "outputs": {} if is_new else outputs(cloud),
            "root_module": {"resources": [resource(a, t, values=t["values"]) for a, t in asks.items()]},
        },
        "resource_changes": changes,
        "resource_drift": [],
    }


def resource(address: str, thing: dict[str, Any], **more: Any) -> dict[str, Any]:
    index = {} if thing["index"] is None else {"index": thing["index"]}
    return {"address": address, "mode": "managed", "type": thing["type"], **index, **more}


def apply(scenario: dict[str, Any]) -> None:
    state, cloud, asks = read(STATE, {}), read(CLOUD, {}), wanted()
    say(type="version", tofu="1.12.6", ui="1.2")
    for number, (address, thing) in enumerate(asks.items(), start=1):
        if address in state and cloud[address]["values"] == thing["values"]:
            continue
        is_update = address in state
        hook = {"resource": {"addr": address}, "action": "update" if is_update else "create", "elapsed_seconds": 0}
        say(type="apply_start", hook=hook)
        say(type="apply_progress", hook={**hook, "elapsed_seconds": 10})
        is_there = address in {one["to"] for one in read(IMPORTS, {"import": []})["import"]} or is_update
        is_there = is_there or (thing["type"] == "oci_core_default_security_list" and address in cloud)
        made = {**thing, "id": cloud[address]["id"] if is_there else id_of(address, thing)}
        cloud[address] = made
        CLOUD.write_text(json.dumps(cloud), "utf-8")
        if number == scenario.get("fault", {}).get("after"):
            break_down(scenario["fault"])
        state[address] = thing
        STATE.write_text(json.dumps(state), "utf-8")
        say(type="apply_complete", hook={**hook, "elapsed_seconds": 12, "id_key": "id", "id_value": made["id"]})


def break_down(fault: dict[str, Any]) -> None:
    kind = fault["kind"]
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        import subprocess

        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(hanging=os.getpid(), child=child.pid)
        if fault.get("stubborn"):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            print("waiting", flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            note(interrupted=True)
            raise SystemExit(1) from None
    if kind == "diagnostic":
        for one in fault["diagnostics"]:
            say(type="diagnostic", diagnostic={"severity": "error", **one})
        raise SystemExit(1)
    if kind == "words":
        print(fault.get("stdout", ""), flush=True)
        print(fault.get("stderr", "").replace("{TF_ENCRYPTION}", os.environ["TF_ENCRYPTION"]), file=sys.stderr)
        raise SystemExit(fault.get("code", 1))


def note(**what: Any) -> None:
    with (HERE / "calls.jsonl").open("a", encoding="utf-8") as target:
        target.write(json.dumps(what) + "\n")


def main() -> None:
    scenario = read(HERE / "scenario.json", {})
    command = sys.argv[1]
    if command == "version":
        print(scenario.get("version", "OpenTofu v1.12.6") + "\non linux_amd64")
        return
    note(argv=sys.argv[1:], env=dict(os.environ), folder=str(Path.cwd()))
    fault = scenario.get("fault", {})
    if fault.get("at") == command and "after" not in fault:
        break_down(fault)
    if command == "plan":
        out = next(one.partition("=")[2] for one in sys.argv if one.startswith("-out="))
        Path(out).write_text(json.dumps(document()), "utf-8")
        say(type="change_summary", changes={})
    elif command == "show":
        print(Path(sys.argv[-1]).read_text("utf-8"))
    elif command == "apply":
        apply(scenario)


if __name__ == "__main__":
    main()
