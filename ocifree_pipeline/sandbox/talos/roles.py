"""Who may call what: the roles in a client certificate, and those that each call lets in."""

from typing import Any

ADMIN, OPERATOR, READER, ETCD_BACKUP = "os:admin", "os:operator", "os:reader", "os:etcd:backup"

_READ = frozenset({ADMIN, OPERATOR, READER})
_OPERATE = frozenset({ADMIN, OPERATOR})
_ETCD_READ = _READ | {ETCD_BACKUP}
_ADMIN = frozenset({ADMIN})

_LETS_IN: dict[str, frozenset[str]] = {
    "Dmesg": _READ,
    "EtcdMemberList": _ETCD_READ,
    "EtcdSnapshot": _OPERATE | {ETCD_BACKUP},
    "EtcdStatus": _ETCD_READ,
    "HealthCheck": _READ,
    "Hostname": _READ,
    "Logs": _READ,
    "Pull": _OPERATE,
    "Reboot": _OPERATE,
    "ServiceList": _READ,
    "Shutdown": _OPERATE,
    "Disks": _READ,
    "Time": _READ,
    "Version": _READ,
}

IN_MAINTENANCE = frozenset({"ApplyConfiguration", "Version", "Disks", "Reset", "Upgrade"})
"""What anybody may call while the node has no configuration; the rest does not exist then."""

WRITES = frozenset(
    {
        "ApplyConfiguration",
        "Bootstrap",
        "EtcdLeaveCluster",
        "EtcdRecover",
        "EtcdRemoveMemberByID",
        "Pull",
        "Reboot",
        "Reset",
        "Shutdown",
        "Upgrade",
    }
)


def roles_of(certificate: Any) -> frozenset[str]:
    """The organizations of a client certificate, as Python's TLS shows it."""
    subject = certificate.get("subject", ()) if certificate else ()
    return frozenset(value for part in subject for name, value in part if name == "organizationName")


def may(call: str, roles: frozenset[str]) -> bool:
    return bool(roles & _LETS_IN.get(call, _ADMIN))
