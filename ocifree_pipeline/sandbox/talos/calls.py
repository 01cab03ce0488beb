"""The calls of the API, each a function of the node and its requests. What they change is the state of the world."""

import base64
import io
import tarfile
from datetime import datetime
from typing import Any

import yaml

from ocifree_pipeline.protocols.talos import ApplyMode, message
from ocifree_pipeline.sandbox.machines.talos_configuration import Invalid, read
from ocifree_pipeline.sandbox.talos import etcd, etcd_calls, life
from ocifree_pipeline.sandbox.talos.health import health_check
from ocifree_pipeline.sandbox.talos.node import Node
from ocifree_pipeline.sandbox.talos.replies import Call, Refusal, control_plane, data, reply

# what it is -----------------------------------------------------------------------------------------------------------


def version(node: Node, _: list[Any]) -> list[Any]:
    architecture = "arm64" if node.computer.architecture == "aarch64" else "amd64"
    return reply(
        "Version",
        version=message("machine.VersionInfo")(tag=node.version, os="linux", arch=architecture),
        platform=message("machine.PlatformInfo")(name=node.computer.platform, mode="cloud"),
        features=message("machine.FeaturesInfo")(rbac=True) if node.configuration else None,
    )


def hostname(node: Node, _: list[Any]) -> list[Any]:
    return reply("Hostname", hostname=node.hostname)


def service_list(node: Node, _: list[Any]) -> list[Any]:
    info, health = message("machine.ServiceInfo"), message("machine.ServiceHealth")
    event = message("machine.ServiceEvent")
    began = {"seconds": int(datetime.fromisoformat(node.computer.state["since"]).timestamp())}
    services = [
        info(
            id=name,
            state=state,
            events={"events": [event(msg=said or f"Service is {state.lower()}", state=state, ts=began)]},
            health=health(unknown=healthy is None, healthy=bool(healthy), last_message=said, last_change=began),
        )
        for name, state, healthy, said in life.services(node)
    ]
    return reply("ServiceList", services=services)


def logs(node: Node, requests: list[Any]) -> list[Any]:
    wanted = requests[0].id
    known = {name for name, *_ in life.services(node)}
    if wanted not in known:
        raise Refusal("NOT_FOUND", f"log {wanted!r} was not registered")
    lines = [one for one in node.computer.state["console"].splitlines() if f" {wanted}:" in one]
    return data("\n".join(lines[-(requests[0].tail_lines or len(lines)) :]).encode())


def dmesg(node: Node, _: list[Any]) -> list[Any]:
    return data(str(node.computer.state["console"]).encode())


def disks(node: Node, _: list[Any]) -> list[Any]:
    size = int(node.computer.disk.get("size_bytes") or 0)
    disk = message("storage.Disk")(size=size, model="BlockVolume", device_name="/dev/sda", system_disk=True)
    return [message("storage.DisksResponse")(messages=[message("storage.Disks")(disks=[disk])])]


def time(node: Node, _: list[Any]) -> list[Any]:
    from google.protobuf.timestamp_pb2 import Timestamp

    now = Timestamp()
    now.FromDatetime(node.world.clock.now())
    made = message("time.Time")(server="169.254.169.254")
    made.localtime.MergeFromString(now.SerializeToString())
    made.remotetime.MergeFromString(now.SerializeToString())
    return [message("time.TimeResponse")(messages=[made])]


# configuration --------------------------------------------------------------------------------------------------------


def apply_configuration(node: Node, requests: list[Any]) -> list[Any]:
    request = requests[0]
    in_maintenance = node.configuration is None
    mode = ApplyMode(request.mode) if request.mode in list(ApplyMode) else None
    if mode is ApplyMode.REBOOT and not in_maintenance:
        raise Refusal("UNIMPLEMENTED", "the REBOOT mode is not supported, please use AUTO or NO_REBOOT modes instead")
    if mode is None or mode is ApplyMode.TRY:
        raise Refusal("UNIMPLEMENTED", "the sandbox does not play this mode of ApplyConfiguration")
    try:
        text = request.data.decode()
        read(text)
    except (UnicodeDecodeError, Invalid) as error:
        raise Refusal("INVALID_ARGUMENT", str(error)) from None
    staged = mode is ApplyMode.STAGED
    details = (
        "Staged configuration to be applied after the next reboot"
        if staged
        else "Applied configuration without a reboot"
    )
    chosen = ApplyMode.STAGED if staged else ApplyMode.NO_REBOOT
    if request.dry_run:
        details = f"Dry run summary:\n{details} (skipped in dry-run).\nConfig diff:\n\n{_difference(node.text, text)}"
    elif staged:
        node.disk["staged"] = text
    else:
        life.configure(node, text)
    return reply("ApplyConfiguration", mode=int(chosen), mode_details=details)


def _difference(before: str | None, after: str) -> str:
    """By meaning, document by document. What really differs is told by its place alone."""
    old, new = _by_name(before or ""), _by_name(after)
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return "".join(f"--- {name}\n+++ {name}\n" for name in changed) or "No changes."


def _by_name(text: str) -> dict[str, Any]:
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    return {f"{one.get('kind', 'v1alpha1')}/{one.get('name', '')}": one for one in documents}


# kubernetes -----------------------------------------------------------------------------------------------------------


def kubeconfig(node: Node, _: list[Any]) -> list[Any]:
    from ocifree_pipeline.sandbox.kubernetes import certificates

    settings = control_plane(node, "kubeconfig")
    authority = settings.kubernetes_ca
    certificate, key = certificates.client(*authority, "admin", ["system:masters"])
    name = f"admin@{settings.cluster}"
    text = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": settings.cluster,
                    "cluster": {
                        "server": settings.endpoint,
                        "certificate-authority-data": base64.b64encode(authority[0].encode()).decode(),
                    },
                }
            ],
            "users": [
                {
                    "name": name,
                    "user": {
                        "client-certificate-data": base64.b64encode(certificate.encode()).decode(),
                        "client-key-data": base64.b64encode(key.encode()).decode(),
                    },
                }
            ],
            "contexts": [
                {"name": name, "context": {"cluster": settings.cluster, "namespace": "default", "user": name}}
            ],
            "current-context": name,
        },
        sort_keys=False,
    ).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        entry = tarfile.TarInfo("kubeconfig")
        entry.size, entry.mode = len(text), 0o600
        tar.addfile(entry, io.BytesIO(text))
    return data(packed.getvalue())


# life -----------------------------------------------------------------------------------------------------------------


def reboot(node: Node, _: list[Any]) -> list[Any]:
    life.restart(node)
    return reply("Reboot", actor_id=node.world.fresh("actor", 20))


def shutdown(node: Node, _: list[Any]) -> list[Any]:
    life.shut_down(node)
    return reply("Shutdown", actor_id=node.world.fresh("actor", 20))


def reset(node: Node, requests: list[Any]) -> list[Any]:
    request = requests[0]
    labels = {one.label for one in request.system_partitions_to_wipe if one.wipe}
    if unknown := labels - {"STATE", "EPHEMERAL"}:
        raise Refusal("UNKNOWN", f"failed to get volume status with label {sorted(unknown)[0]!r}: resource not found")
    if request.graceful and (place := node.disk.get("etcd")):
        etcd_calls.in_quorum(node, "etcd leave").remove(int(place["member"]))
    life.wipe(node, labels or {"STATE", "EPHEMERAL"})
    if request.reboot:
        life.restart(node)
    else:
        life.shut_down(node)
    return reply("Reset", actor_id=node.world.fresh("actor", 20))


def pull(node: Node, requests: list[Any]) -> list[Any]:
    reference = requests[0].image_ref
    if not life.is_installer(node, reference):
        raise Refusal("UNKNOWN", f"failed to pull image {reference!r}: failed to resolve reference: not found")
    node.disk["images"] = sorted({*node.disk.get("images", ()), reference})
    return [message("machine.ImageServicePullResponse")(name=reference)]


def upgrade(node: Node, requests: list[Any]) -> list[Any]:
    """Both the older call, which restarts by itself, and the newer one, which streams what the installer says."""
    request = requests[0]
    if request.DESCRIPTOR.name == "UpgradeRequest":
        return _upgrade_older(node, request)
    image = request.source.image_name
    if not image:
        raise Refusal("INVALID_ARGUMENT", "installer image name is required")
    if life.minor(node.version) < life.LIFECYCLE_MINOR:
        raise Refusal("UNIMPLEMENTED", "unknown service machine.LifecycleService")
    if image not in node.disk.get("images", ()):
        raise Refusal("INTERNAL", f"upgrade failed: error getting image {image!r}: not found")
    problem = life.install(node, image)
    made, progress = (
        message("machine.LifecycleServiceUpgradeResponse"),
        message("machine.LifecycleServiceInstallProgress"),
    )
    said = problem or f"installation of {image.rpartition(':')[2]} complete"
    return [
        made(progress=progress(message=f"running Talos installer {image.rpartition(':')[2]}")),
        made(progress=progress(message=said)),
        made(progress=progress(exit_code=1 if problem else 0)),
    ]


def _upgrade_older(node: Node, request: Any) -> list[Any]:
    if not life.is_installer(node, request.image):
        raise Refusal("UNKNOWN", f"error validating installer image {request.image!r}: not found")
    found = etcd.of_node(node)
    if found is not None and not request.force and found.would_lose_quorum_without(node):
        raise Refusal("UNKNOWN", "error validating etcd for upgrade: etcd quorum would be lost")
    if problem := life.install(node, request.image):
        raise Refusal("UNKNOWN", f"error validating installer image: {problem}")
    if not request.stage:
        life.restart(node)
    return reply("Upgrade", ack="Upgrade request received", actor_id=node.world.fresh("actor", 20))


CALLS: dict[str, Call] = {
    **etcd_calls.CALLS,
    "ApplyConfiguration": apply_configuration,
    "Disks": disks,
    "Dmesg": dmesg,
    "HealthCheck": health_check,
    "Hostname": hostname,
    "Kubeconfig": kubeconfig,
    "Logs": logs,
    "Pull": pull,
    "Reboot": reboot,
    "Reset": reset,
    "ServiceList": service_list,
    "Shutdown": shutdown,
    "Time": time,
    "Upgrade": upgrade,
    "Version": version,
}
