"""What Oracle has to allow: a policy, and for each call that is ever made what Oracle documents that it needs.

The needs are those of Oracle's policy reference (core services, object storage, DNS, load balancing, IAM, quotas,
budgets, monitoring). A call about the whole tenancy, or about every compartment in it, needs them there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Place = Literal["tenancy", "compartment"]
VERBS = ("inspect", "read", "use", "manage")
GROUP, COMPARTMENT = "ocifree", "NAME"

FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "instance-family": ("instances", "instance-images", "console-histories", "compute-image-capability-schema"),
        "virtual-network-family": (
            "vcns", "subnets", "route-tables", "network-security-groups", "security-lists", "dhcp-options",
            "internet-gateways", "nat-gateways", "private-ips", "public-ips", "vnics", "vnic-attachments",
        ),
        "volume-family": ("volumes", "volume-attachments", "volume-backups", "boot-volume-backups"),
        "object-family": ("buckets", "objects"),
        "dns": ("dns-zones", "dns-records"),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Statement:
    verb: str
    kind: str
    place: Place

    def __str__(self) -> str:
        where = "tenancy" if self.place == "tenancy" else f"compartment {COMPARTMENT}"
        return f"Allow group {GROUP} to {self.verb} {self.kind} in {where}"

    def covers(self, need: Statement) -> bool:
        """A statement about the tenancy is one about each of its compartments, a verb brings those before it."""
        return (
            VERBS.index(self.verb) >= VERBS.index(need.verb)
            and (self.kind == need.kind or need.kind in FAMILIES.get(self.kind, ()))
            and (self.place == "tenancy" or need.place == "compartment")
        )


POLICY = (
    Statement("inspect", "tenancies", "tenancy"),
    Statement("manage", "compartments", "tenancy"),
    Statement("inspect", "limits", "tenancy"),
    Statement("read", "resource-availability", "tenancy"),
    Statement("manage", "compute-capacity-reports", "tenancy"),
    Statement("manage", "quota", "tenancy"),
    Statement("manage", "usage-budgets", "tenancy"),
    Statement("read", "usage-report", "tenancy"),
    Statement("read", "instance-family", "tenancy"),
    Statement("read", "virtual-network-family", "tenancy"),
    Statement("inspect", "volume-family", "tenancy"),
    Statement("read", "object-family", "tenancy"),
    Statement("inspect", "dns", "tenancy"),
    Statement("inspect", "load-balancers", "tenancy"),
    Statement("inspect", "network-load-balancers", "tenancy"),
    Statement("manage", "instance-family", "compartment"),
    Statement("manage", "virtual-network-family", "compartment"),
    Statement("manage", "volume-family", "compartment"),
    Statement("manage", "object-family", "compartment"),
    Statement("manage", "dns", "compartment"),
    Statement("manage", "load-balancers", "compartment"),
    Statement("manage", "network-load-balancers", "compartment"),
    Statement("inspect", "work-requests", "compartment"),
    Statement("read", "metrics", "compartment"),
)

# The calls by what they need. One that needs several things stands in several lines.
_NEEDED: tuple[tuple[Place, str, str], ...] = (
    ("tenancy", "inspect tenancies", "GetTenancy ListRegionSubscriptions"),
    ("tenancy", "inspect compartments", "ListAvailabilityDomains ListCompartments GetCompartment"),
    ("tenancy", "manage compartments", "CreateCompartment UpdateCompartment DeleteCompartment"),
    ("tenancy", "inspect limits", "ListLimitValues"),
    ("tenancy", "read resource-availability", "GetResourceAvailability"),
    ("tenancy", "manage compute-capacity-reports", "CreateComputeCapacityReport"),
    ("tenancy", "manage quota", "ListQuotas GetQuota CreateQuota UpdateQuota DeleteQuota"),
    ("tenancy", "manage usage-budgets", "ListBudgets GetBudget CreateBudget UpdateBudget DeleteBudget"),
    ("tenancy", "manage usage-budgets", "ListAlertRules GetAlertRule CreateAlertRule UpdateAlertRule DeleteAlertRule"),
    ("tenancy", "read usage-report", "RequestSummarizedUsages"),
    # What is priced wherever it is, whoever made it.
    ("tenancy", "inspect instances", "ListShapes ListBootVolumeAttachments"),
    ("tenancy", "read instances", "ListInstances"),
    ("tenancy", "inspect instance-images", "ListImages GetImage"),
    ("tenancy", "inspect volumes", "ListBootVolumes ListVolumes ListBootVolumeBackups ListVolumeBackups"),
    ("tenancy", "inspect volume-attachments", "ListBootVolumeAttachments"),
    ("tenancy", "inspect boot-volume-backups", "ListBootVolumeBackups"),
    ("tenancy", "inspect volume-backups", "ListVolumeBackups"),
    ("tenancy", "read public-ips", "ListPublicIps"),
    ("tenancy", "read private-ips", "ListPublicIps"),
    ("tenancy", "read vcns", "ListVcns"),
    ("tenancy", "read nat-gateways", "ListNatGateways"),
    ("tenancy", "inspect load-balancers", "ListLoadBalancers"),
    ("tenancy", "inspect network-load-balancers", "ListNetworkLoadBalancers"),
    ("tenancy", "inspect dns-zones", "ListZones"),
    ("tenancy", "inspect buckets", "ListBuckets"),
    ("tenancy", "read buckets", "GetBucket ListMultipartUploads"),
    ("tenancy", "inspect objects", "ListObjects"),
    # What is made, changed and ended in the compartment of the deployment.
    ("compartment", "manage instances", "LaunchInstance TerminateInstance UpdateInstance CreateImage"),
    ("compartment", "read instances", "GetInstance CaptureConsoleHistory GetConsoleHistoryContent"),
    ("compartment", "inspect instances", "ListVnicAttachments ListConsoleHistories GetConsoleHistory"),
    ("compartment", "read instance-images", "LaunchInstance CaptureConsoleHistory GetConsoleHistoryContent"),
    ("compartment", "read instance-images", "ListImageShapeCompatibilityEntries"),
    ("compartment", "manage instance-images", "CreateImage DeleteImage AddImageShapeCompatibilityEntry GetWorkRequest"),
    ("compartment", "manage instance-images", "ListWorkRequestErrors"),
    ("compartment", "read console-histories", "ListConsoleHistories GetConsoleHistory GetConsoleHistoryContent"),
    ("compartment", "manage console-histories", "CaptureConsoleHistory DeleteConsoleHistory"),
    ("compartment", "manage compute-image-capability-schema", "ListComputeImageCapabilitySchemas"),
    ("compartment", "manage compute-image-capability-schema", "ListComputeGlobalImageCapabilitySchemas"),
    ("compartment", "manage compute-image-capability-schema", "GetComputeImageCapabilitySchema"),
    ("compartment", "manage compute-image-capability-schema", "CreateComputeImageCapabilitySchema"),
    ("compartment", "manage compute-image-capability-schema", "DeleteComputeImageCapabilitySchema"),
    ("compartment", "use vnics", "LaunchInstance TerminateInstance"),
    ("compartment", "read vnics", "GetVnic"),
    ("compartment", "read vnic-attachments", "ListVnicAttachments"),
    ("compartment", "use subnets", "LaunchInstance TerminateInstance"),
    ("compartment", "use network-security-groups", "LaunchInstance"),
    ("compartment", "manage vcns", "GetVcn CreateVcn UpdateVcn DeleteVcn"),
    ("compartment", "manage vcns", "CreateSubnet DeleteSubnet CreateRouteTable DeleteRouteTable"),
    ("compartment", "manage vcns", "CreateInternetGateway DeleteInternetGateway CreateNatGateway DeleteNatGateway"),
    ("compartment", "manage vcns", "CreateNetworkSecurityGroup DeleteNetworkSecurityGroup"),
    ("compartment", "manage subnets", "ListSubnets GetSubnet CreateSubnet UpdateSubnet DeleteSubnet"),
    ("compartment", "use dhcp-options", "CreateSubnet DeleteSubnet"),
    ("compartment", "manage route-tables", "ListRouteTables GetRouteTable CreateRouteTable UpdateRouteTable"),
    ("compartment", "manage route-tables", "DeleteRouteTable CreateSubnet DeleteSubnet"),
    ("compartment", "manage security-lists", "ListSecurityLists GetSecurityList UpdateSecurityList CreateSubnet"),
    ("compartment", "manage security-lists", "CreateSecurityList DeleteSecurityList"),
    ("compartment", "manage internet-gateways", "ListInternetGateways GetInternetGateway CreateInternetGateway"),
    ("compartment", "manage internet-gateways", "UpdateInternetGateway DeleteInternetGateway CreateRouteTable"),
    ("compartment", "manage nat-gateways", "GetNatGateway CreateNatGateway UpdateNatGateway DeleteNatGateway"),
    ("compartment", "manage network-security-groups", "ListNetworkSecurityGroups GetNetworkSecurityGroup"),
    ("compartment", "manage network-security-groups", "CreateNetworkSecurityGroup DeleteNetworkSecurityGroup"),
    (
        "compartment",
        "manage network-security-groups",
        "UpdateNetworkSecurityGroup ListNetworkSecurityGroupSecurityRules",
    ),
    ("compartment", "manage network-security-groups", "AddNetworkSecurityGroupSecurityRules"),
    ("compartment", "manage network-security-groups", "RemoveNetworkSecurityGroupSecurityRules"),
    ("compartment", "read private-ips", "ListPrivateIps GetPublicIp GetPublicIpByPrivateIpId"),
    ("compartment", "use private-ips", "CreatePublicIp UpdatePublicIp DeletePublicIp"),
    ("compartment", "manage public-ips", "GetPublicIp GetPublicIpByPrivateIpId CreatePublicIp UpdatePublicIp"),
    ("compartment", "manage public-ips", "DeletePublicIp"),
    ("compartment", "manage volumes", "GetBootVolume UpdateBootVolume DeleteBootVolume DeleteVolume"),
    ("compartment", "use volumes", "TerminateInstance"),
    ("compartment", "manage volume-attachments", "TerminateInstance"),
    ("compartment", "manage boot-volume-backups", "DeleteBootVolumeBackup"),
    ("compartment", "manage volume-backups", "DeleteVolumeBackup"),
    ("compartment", "manage buckets", "CreateBucket UpdateBucket DeleteBucket"),
    ("compartment", "manage objects", "HeadObject GetObject PutObject DeleteObject CreateMultipartUpload UploadPart"),
    (
        "compartment",
        "manage objects",
        "CommitMultipartUpload AbortMultipartUpload ListMultipartUploadParts CreateImage",
    ),
    ("compartment", "manage dns-zones", "GetZone CreateZone UpdateZone DeleteZone"),
    ("compartment", "manage dns-records", "GetZoneRecords GetRRSet UpdateRRSet DeleteRRSet"),
    ("compartment", "manage load-balancers", "DeleteLoadBalancer"),
    ("compartment", "manage network-load-balancers", "DeleteNetworkLoadBalancer"),
    ("compartment", "inspect work-requests", "ListWorkRequests"),
    ("compartment", "read metrics", "SummarizeMetricsData"),
)

FOR_EVERYBODY = frozenset({"GetNamespace"})
"""Whoever may sign a request may ask this."""


def needs() -> Mapping[str, tuple[Statement, ...]]:
    """Each call, and all that it needs."""
    found: dict[str, tuple[Statement, ...]] = dict.fromkeys(FOR_EVERYBODY, ())
    for place, words, operations in _NEEDED:
        verb, _, kind = words.partition(" ")
        for operation in operations.split():
            found[operation] = (*found.get(operation, ()), Statement(verb, kind, place))
    return found


def uncovered(policy: Iterable[Statement], operations: Iterable[str]) -> Iterator[str]:
    """What this policy does not allow of these calls, and calls of which nobody knows what they need."""
    statements, known = tuple(policy), needs()
    for operation in sorted(set(operations)):
        if operation not in known:
            yield f"{operation}: nobody has looked up what it needs"
            continue
        for need in known[operation]:
            if not any(statement.covers(need) for statement in statements):
                yield f"{operation}: {need.verb} {need.kind} in the {need.place}"
