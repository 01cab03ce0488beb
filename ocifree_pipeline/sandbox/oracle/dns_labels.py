"""The names that a virtual network's own resolver knows: labels of VCNs, of subnets, of hosts."""

import re
from collections.abc import Iterable

from ocifree_pipeline.sandbox.oracle import errors

NETWORK_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9]{0,14}")
HOST_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def check_network_label(label: str) -> None:
    if not NETWORK_LABEL.fullmatch(label):
        raise errors.invalid_parameter(
            f"dnsLabel {label!r} must be 1 to 15 letters and digits, and must begin with a letter"
        )


def check_host_label(label: str, taken: Iterable[str]) -> None:
    if not HOST_LABEL.fullmatch(label):
        raise errors.invalid_parameter(f"hostnameLabel {label!r} must comply with RFC 952 and RFC 1123")
    if label.lower() in {one.lower() for one in taken}:
        raise errors.conflict(f"The hostname label {label} is already in use in the subnet")


def host_label_of(name: str, taken: Iterable[str]) -> str | None:
    """The host name that a display name can serve as, if it can."""
    label = name.lower()
    return label if HOST_LABEL.fullmatch(label) and label not in {one.lower() for one in taken} else None
