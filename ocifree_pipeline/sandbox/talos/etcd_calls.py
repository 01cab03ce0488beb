"""The calls about etcd: bootstrap, members, snapshot and recovery."""

import base64
import hashlib
from typing import Any

from ocifree_pipeline.protocols.talos import message
from ocifree_pipeline.sandbox.talos import cluster, etcd, etcd_file, life
from ocifree_pipeline.sandbox.talos.etcd import Etcd
from ocifree_pipeline.sandbox.talos.node import Node
from ocifree_pipeline.sandbox.talos.replies import Call, Refusal, control_plane, data, reply

PAGE = 512
"""etcd's file grows in pages; a snapshot is that and the SHA-256 of it."""


def in_quorum(node: Node, call: str) -> Etcd:
    control_plane(node, call)
    found = etcd.of_node(node)
    if found is None or not etcd.runs(node):
        raise Refusal("UNKNOWN", "failed to create etcd client: error building etcd client: context deadline exceeded")
    if not found.has_quorum:
        raise Refusal("UNKNOWN", "etcdserver: no leader")
    return found


def bootstrap(node: Node, requests: list[Any]) -> list[Any]:
    control_plane(node, "bootstrap")
    if not node.is_running:
        raise Refusal("FAILED_PRECONDITION", "bootstrap is not available yet")
    if node.disk.get("etcd"):
        raise Refusal("ALREADY_EXISTS", "etcd data directory is not empty")
    dump = None
    if requests[0].recover_etcd:
        dump = _read_snapshot(node.disk.get("recovery"), check=not requests[0].recover_skip_hash_check)
    cluster.bootstrap(node, dump)
    return reply("Bootstrap")


def member_list(node: Node, _: list[Any]) -> list[Any]:
    found = in_quorum(node, "member list")
    made = message("machine.EtcdMember")
    members = [
        made(
            id=number,
            hostname=one["name"],
            peer_urls=[f"https://{one['address']}:2380"],
            client_urls=[f"https://{one['address']}:2379"],
            is_learner=bool(one.get("learner")),
        )
        for number, one in found.members.items()
    ]
    return [message("machine.EtcdMemberListResponse")(messages=[message("machine.EtcdMembers")(members=members)])]


def status(node: Node, _: list[Any]) -> list[Any]:
    control_plane(node, "etcd status")
    found = etcd.of_node(node)
    if found is None or not etcd.runs(node):
        raise Refusal("UNKNOWN", "failed to create etcd client: error building etcd client: context deadline exceeded")
    size = len(_dump(node))
    told = message("machine.EtcdMemberStatus")(
        protocol_version="3.6.12",
        storage_version="3.6.0",
        db_size=size,
        db_size_in_use=size,
        leader=found.leader,
        raft_term=2,
        member_id=int(node.disk["etcd"]["member"]),
        is_learner=found.has_quorum and int(node.disk["etcd"]["member"]) not in found.voters,
        errors=[] if found.has_quorum else ["etcdserver: no leader"],
    )
    return reply("EtcdStatus", member_status=told)


def remove_member(node: Node, requests: list[Any]) -> list[Any]:
    found = in_quorum(node, "etcd remove member")
    if requests[0].member_id not in found.members:
        raise Refusal("NOT_FOUND", "etcdserver: member not found")
    if found.needs(requests[0].member_id):
        raise Refusal("UNKNOWN", "etcdserver: re-configuration failed due to not enough started members")
    found.remove(requests[0].member_id)
    return reply("EtcdRemoveMemberByID")


def leave(node: Node, _: list[Any]) -> list[Any]:
    found = in_quorum(node, "etcd leave")
    found.remove(int(node.disk["etcd"]["member"]))
    life.forget_etcd(node)
    return reply("EtcdLeaveCluster")


def snapshot(node: Node, _: list[Any]) -> list[Any]:
    in_quorum(node, "etcd snapshot")
    plain = _dump(node)
    return data(plain + hashlib.sha256(plain).digest())


def recover(node: Node, requests: list[Any]) -> list[Any]:
    control_plane(node, "etcd recover")
    if not node.is_running or node.disk.get("etcd"):
        raise Refusal("FAILED_PRECONDITION", "etcd service is not ready for recovery yet")
    node.disk["recovery"] = base64.b64encode(b"".join(one.bytes for one in requests)).decode()
    return reply("EtcdRecover")


def _dump(node: Node) -> bytes:
    """What lies in etcd, in whole pages."""
    made = cluster.kubernetes_of(node)
    return etcd_file.write(made.dump() if made is not None else {})


def _read_snapshot(kept: str | None, *, check: bool) -> dict[str, Any]:
    if kept is None:
        raise Refusal("UNKNOWN", "failed to restore etcd: no snapshot was uploaded")
    content = base64.b64decode(kept)
    whole = len(content) % PAGE == hashlib.sha256().digest_size
    plain = content[: -hashlib.sha256().digest_size] if whole else content
    if check and (not whole or hashlib.sha256(plain).digest() != content[len(plain) :]):
        raise Refusal("UNKNOWN", "failed to restore etcd: snapshot missing hash or its hash does not match")
    try:
        return etcd_file.read(plain)
    except ValueError:
        raise Refusal("UNKNOWN", "failed to restore etcd: it is not a snapshot of this sandbox") from None


CALLS: dict[str, Call] = {
    "Bootstrap": bootstrap,
    "EtcdLeaveCluster": leave,
    "EtcdMemberList": member_list,
    "EtcdRecover": recover,
    "EtcdRemoveMemberByID": remove_member,
    "EtcdSnapshot": snapshot,
    "EtcdStatus": status,
}
