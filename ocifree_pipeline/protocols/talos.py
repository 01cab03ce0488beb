"""The part of Talos' API that we use: names of services, messages and fields, and the numbers they have on the wire.

    request = message("machine.BootstrapRequest")(recover_etcd=True)
    METHODS["/machine.MachineService/Bootstrap"].reply

The messages are made from the tables below when the first one is asked for, so nothing is generated or compiled. What
is not listed here is skipped by the reader, as in every protobuf. Enumerations are plain numbers on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from threading import Lock
from typing import Any

EMPTY = "google.protobuf.Empty"


class ApplyMode(IntEnum):
    """How a configuration is applied."""

    REBOOT = 0
    AUTO = 1
    NO_REBOOT = 2
    STAGED = 3
    TRY = 4


class WipeMode(IntEnum):
    ALL = 0
    SYSTEM_DISK = 1
    USER_DISKS = 2


MESSAGES: dict[str, tuple[str, ...]] = {
    "common.Metadata": ("string hostname 1", "string error 2"),
    "common.Data": ("common.Metadata metadata 1", "bytes bytes 2"),
    "common.ContainerdInstance": ("int32 driver 1", "int32 namespace 2"),
    # machine: configuration and life
    "machine.ApplyConfigurationRequest": (
        "bytes data 1",
        "int32 mode 4",
        "bool dry_run 5",
        "google.protobuf.Duration try_mode_timeout 6",
    ),
    "machine.ApplyConfiguration": (
        "common.Metadata metadata 1",
        "repeated string warnings 2",
        "int32 mode 3",
        "string mode_details 4",
    ),
    "machine.ApplyConfigurationResponse": ("repeated machine.ApplyConfiguration messages 1",),
    "machine.BootstrapRequest": ("bool recover_etcd 1", "bool recover_skip_hash_check 2"),
    "machine.Bootstrap": ("common.Metadata metadata 1",),
    "machine.BootstrapResponse": ("repeated machine.Bootstrap messages 1",),
    "machine.RebootRequest": ("int32 mode 1",),
    "machine.Reboot": ("common.Metadata metadata 1", "string actor_id 2"),
    "machine.RebootResponse": ("repeated machine.Reboot messages 1",),
    "machine.ResetPartitionSpec": ("string label 1", "bool wipe 2"),
    "machine.ResetRequest": (
        "bool graceful 1",
        "bool reboot 2",
        "repeated machine.ResetPartitionSpec system_partitions_to_wipe 3",
        "repeated string user_disks_to_wipe 4",
        "int32 mode 5",
    ),
    "machine.Reset": ("common.Metadata metadata 1", "string actor_id 2"),
    "machine.ResetResponse": ("repeated machine.Reset messages 1",),
    "machine.ShutdownRequest": ("bool force 1",),
    "machine.Shutdown": ("common.Metadata metadata 1", "string actor_id 2"),
    "machine.ShutdownResponse": ("repeated machine.Shutdown messages 1",),
    "machine.UpgradeRequest": (
        "string image 1",
        "bool preserve 2",
        "bool stage 3",
        "bool force 4",
        "int32 reboot_mode 5",
    ),
    "machine.Upgrade": ("common.Metadata metadata 1", "string ack 2", "string actor_id 3"),
    "machine.UpgradeResponse": ("repeated machine.Upgrade messages 1",),
    "machine.InstallArtifactsSource": ("string image_name 1",),
    "machine.LifecycleServiceUpgradeRequest": (
        "common.ContainerdInstance containerd 1",
        "machine.InstallArtifactsSource source 2",
    ),
    "machine.LifecycleServiceInstallProgress": ("oneof string message 1", "oneof int32 exit_code 2"),
    "machine.LifecycleServiceUpgradeResponse": ("machine.LifecycleServiceInstallProgress progress 1",),
    "machine.ImageServicePullRequest": ("common.ContainerdInstance containerd 1", "string image_ref 3"),
    "machine.ImageServicePullResponse": ("oneof string name 1",),
    # machine: what it is and does
    "machine.VersionInfo": (
        "string tag 1",
        "string sha 2",
        "string built 3",
        "string go_version 4",
        "string os 5",
        "string arch 6",
    ),
    "machine.PlatformInfo": ("string name 1", "string mode 2"),
    "machine.FeaturesInfo": ("bool rbac 1",),
    "machine.Version": (
        "common.Metadata metadata 1",
        "machine.VersionInfo version 2",
        "machine.PlatformInfo platform 3",
        "machine.FeaturesInfo features 4",
    ),
    "machine.VersionResponse": ("repeated machine.Version messages 1",),
    "machine.ServiceHealth": (
        "bool unknown 1",
        "bool healthy 2",
        "string last_message 3",
        "google.protobuf.Timestamp last_change 4",
    ),
    "machine.ServiceEvent": ("string msg 1", "string state 2", "google.protobuf.Timestamp ts 3"),
    "machine.ServiceEvents": ("repeated machine.ServiceEvent events 1",),
    "machine.ServiceInfo": (
        "string id 1",
        "string state 2",
        "machine.ServiceEvents events 3",
        "machine.ServiceHealth health 4",
    ),
    "machine.ServiceList": ("common.Metadata metadata 1", "repeated machine.ServiceInfo services 2"),
    "machine.ServiceListResponse": ("repeated machine.ServiceList messages 1",),
    "machine.LogsRequest": (
        "string namespace 1",
        "string id 2",
        "int32 driver 3",
        "bool follow 4",
        "int32 tail_lines 5",
    ),
    "machine.DmesgRequest": ("bool follow 1", "bool tail 2"),
    "machine.ReadRequest": ("string path 1",),
    "machine.Hostname": ("common.Metadata metadata 1", "string hostname 2"),
    "machine.HostnameResponse": ("repeated machine.Hostname messages 1",),
    "machine.GenerateClientConfigurationRequest": ("repeated string roles 1", "google.protobuf.Duration crt_ttl 2"),
    "machine.GenerateClientConfiguration": (
        "common.Metadata metadata 1",
        "bytes ca 2",
        "bytes crt 3",
        "bytes key 4",
        "bytes talosconfig 5",
    ),
    "machine.GenerateClientConfigurationResponse": ("repeated machine.GenerateClientConfiguration messages 1",),
    # machine: etcd
    "machine.EtcdMemberListRequest": ("bool query_local 1",),
    "machine.EtcdMember": (
        "uint64 id 2",
        "string hostname 3",
        "repeated string peer_urls 4",
        "repeated string client_urls 5",
        "bool is_learner 6",
    ),
    "machine.EtcdMembers": (
        "common.Metadata metadata 1",
        "repeated string legacy_members 2",
        "repeated machine.EtcdMember members 3",
    ),
    "machine.EtcdMemberListResponse": ("repeated machine.EtcdMembers messages 1",),
    "machine.EtcdMemberStatus": (
        "string protocol_version 1",
        "int64 db_size 2",
        "int64 db_size_in_use 3",
        "uint64 leader 4",
        "uint64 raft_index 5",
        "uint64 raft_term 6",
        "uint64 raft_applied_index 7",
        "repeated string errors 8",
        "bool is_learner 9",
        "uint64 member_id 10",
        "string storage_version 11",
    ),
    "machine.EtcdStatus": ("common.Metadata metadata 1", "machine.EtcdMemberStatus member_status 2"),
    "machine.EtcdStatusResponse": ("repeated machine.EtcdStatus messages 1",),
    "machine.EtcdRemoveMemberByIDRequest": ("uint64 member_id 1",),
    "machine.EtcdRemoveMemberByID": ("common.Metadata metadata 1",),
    "machine.EtcdRemoveMemberByIDResponse": ("repeated machine.EtcdRemoveMemberByID messages 1",),
    "machine.EtcdLeaveClusterRequest": (),
    "machine.EtcdLeaveCluster": ("common.Metadata metadata 1",),
    "machine.EtcdLeaveClusterResponse": ("repeated machine.EtcdLeaveCluster messages 1",),
    "machine.EtcdSnapshotRequest": (),
    "machine.EtcdRecover": ("common.Metadata metadata 1",),
    "machine.EtcdRecoverResponse": ("repeated machine.EtcdRecover messages 1",),
    # cluster
    "cluster.ClusterInfo": (
        "repeated string control_plane_nodes 1",
        "repeated string worker_nodes 2",
        "string force_endpoint 3",
    ),
    "cluster.HealthCheckRequest": ("google.protobuf.Duration wait_timeout 1", "cluster.ClusterInfo cluster_info 2"),
    "cluster.HealthCheckProgress": ("common.Metadata metadata 1", "string message 2"),
    # storage, time
    "storage.Disk": (
        "uint64 size 1",
        "string model 2",
        "string device_name 3",
        "string serial 5",
        "int32 type 9",
        "string bus_path 10",
        "bool system_disk 11",
    ),
    "storage.Disks": ("common.Metadata metadata 1", "repeated storage.Disk disks 2"),
    "storage.DisksResponse": ("repeated storage.Disks messages 1",),
    "time.Time": (
        "common.Metadata metadata 1",
        "string server 2",
        "google.protobuf.Timestamp localtime 3",
        "google.protobuf.Timestamp remotetime 4",
    ),
    "time.TimeResponse": ("repeated time.Time messages 1",),
}


@dataclass(frozen=True, slots=True)
class Method:
    """One call of the API: whether the request, or the reply, comes in several messages."""

    path: str
    request: str
    reply: str
    many_requests: bool = False
    many_replies: bool = False


def _machine(name: str, request: str, reply: str = "", **streams: bool) -> Method:
    return Method(
        f"/machine.MachineService/{name}",
        request if "." in request else f"machine.{request}",
        reply or f"machine.{name}Response",
        **streams,
    )


METHODS: dict[str, Method] = {
    one.path: one
    for one in (
        _machine("ApplyConfiguration", "ApplyConfigurationRequest"),
        _machine("Bootstrap", "BootstrapRequest"),
        _machine("Dmesg", "DmesgRequest", "common.Data", many_replies=True),
        _machine("EtcdLeaveCluster", "EtcdLeaveClusterRequest"),
        _machine("EtcdMemberList", "EtcdMemberListRequest"),
        _machine("EtcdRecover", "common.Data", many_requests=True),
        _machine("EtcdRemoveMemberByID", "EtcdRemoveMemberByIDRequest"),
        _machine("EtcdSnapshot", "EtcdSnapshotRequest", "common.Data", many_replies=True),
        _machine("EtcdStatus", EMPTY),
        _machine("GenerateClientConfiguration", "GenerateClientConfigurationRequest"),
        _machine("Hostname", EMPTY),
        _machine("Kubeconfig", EMPTY, "common.Data", many_replies=True),
        _machine("Logs", "LogsRequest", "common.Data", many_replies=True),
        _machine("Read", "ReadRequest", "common.Data", many_replies=True),
        _machine("Reboot", "RebootRequest"),
        _machine("Reset", "ResetRequest"),
        _machine("ServiceList", EMPTY),
        _machine("Shutdown", "ShutdownRequest"),
        _machine("Upgrade", "UpgradeRequest"),
        _machine("Version", EMPTY),
        Method(
            "/machine.ImageService/Pull",
            "machine.ImageServicePullRequest",
            "machine.ImageServicePullResponse",
            many_replies=True,
        ),
        Method(
            "/machine.LifecycleService/Upgrade",
            "machine.LifecycleServiceUpgradeRequest",
            "machine.LifecycleServiceUpgradeResponse",
            many_replies=True,
        ),
        Method(
            "/cluster.ClusterService/HealthCheck",
            "cluster.HealthCheckRequest",
            "cluster.HealthCheckProgress",
            many_replies=True,
        ),
        Method("/storage.StorageService/Disks", EMPTY, "storage.DisksResponse"),
        Method("/time.TimeService/Time", EMPTY, "time.TimeResponse"),
    )
}

_SCALARS = {"bytes": 12, "bool": 8, "int32": 5, "int64": 3, "string": 9, "uint32": 13, "uint64": 4}
"""The numbers that protobuf itself gives to its types."""
_MESSAGE = 11
_SINGLE, _REPEATED = 1, 3
_MAKING = Lock()


def message(name: str) -> Any:
    """The class of a message, by its full name."""
    if name == EMPTY:
        from google.protobuf.empty_pb2 import Empty

        return Empty
    # Two threads that come first at once would make two classes of each, and neither takes the other's messages.
    with _MAKING:
        return _classes()[name]


@cache
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

    # A pool of our own: in the common one, another library with the same names would be an error.
    pool = descriptor_pool.DescriptorPool()
    for standard in (duration_pb2, timestamp_pb2):
        pool.AddSerializedFile(standard.DESCRIPTOR.serialized_pb)
    for package in dict.fromkeys(name.split(".")[0] for name in MESSAGES):
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        file.dependency.extend(["google/protobuf/duration.proto", "google/protobuf/timestamp.proto"])
        file.dependency.extend(["common.proto"] if package != "common" else [])
        for name, fields in MESSAGES.items():
            if name.split(".")[0] == package:
                _describe(file.message_type.add(name=name.split(".", 1)[1]), fields)
        pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in MESSAGES}


def _describe(into: Any, fields: tuple[str, ...]) -> None:
    for field in fields:
        *labels, kind, name, number = field.split()
        made = into.field.add(name=name, number=int(number), label=_REPEATED if "repeated" in labels else _SINGLE)
        if kind in _SCALARS:
            made.type = _SCALARS[kind]
        else:
            made.type, made.type_name = _MESSAGE, f".{kind}"
        if "oneof" in labels:
            if not into.oneof_decl:
                into.oneof_decl.add(name="response")
            made.oneof_index = 0
