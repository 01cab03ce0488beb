"""Security groups, and the security list that every network is born with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from ocifree_pipeline.deployment.convergence import Found, Ref
from ocifree_pipeline.deployment.port_rules import ANY_CODE, SecurityRule
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.foundation.kinds import ROLE_TAG, Plain, Scope
from ocifree_pipeline.systems.oci.session import every

_NUMBERS = {"icmp": "1", "tcp": "6", "udp": "17", "all": "all"}
_NAMES = {number: name for name, number in _NUMBERS.items()}
_MOST_AT_ONCE = 25
"""Oracle takes at most so many rules in one call."""


class _SecurityGroups(Plain):
    """The rules of a group are things of their own at Oracle, with ids; here they are a field of their group."""

    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        # The rules of other people's groups are none of our business, and a call each.
        rules = tuple(self.rules_of(scope, thing.id).values()) if scope.is_ours(thing) else ()
        return {"vcn_id": thing.vcn_id, "rules": rules}

    def create(self, scope: Scope, name: str, values: Mapping[str, Any], tags: Mapping[str, str], token: str) -> str:
        bare = {key: value for key, value in values.items() if key != "rules"}
        made = super().create(scope, name, bare, tags, token)
        itself = Ref(tags[ROLE_TAG])
        rules = tuple(replace(rule, peer=made) if rule.peer == itself else rule for rule in values["rules"])
        # The token may have led to a group that is there already, with some of its rules.
        self._set_rules(scope, made, name, rules)
        return made

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        rest = {key: value for key, value in changes.items() if key != "rules"}
        if rest or dict(tags) != dict(found.tags):
            super().update(scope, found, rest, tags)
        if "rules" in changes:
            self._set_rules(scope, found.id, found.name, changes["rules"])

    def _set_rules(self, scope: Scope, group: str, name: str, wanted: tuple[SecurityRule, ...]) -> None:
        """First open what is missing, then close what is too much, so that nothing in use is cut off meanwhile."""
        has = self.rules_of(scope, group)
        client = self._client(scope)
        kept: set[str] = set()
        missing: list[SecurityRule] = []
        for rule in wanted:
            same = next((key for key, there in has.items() if there == rule and key not in kept), None)
            if same is None:
                missing.append(rule)
            else:
                kept.add(same)
        with told(f"open ports of the security group {name}"):
            for some in _in_portions(missing):
                details = [self._ingress("AddSecurityRuleDetails", rule) for rule in some]
                client.add_network_security_group_security_rules(
                    group, self.sdk_model("AddNetworkSecurityGroupSecurityRulesDetails", {"security_rules": details})
                )
        with told(f"close ports of the security group {name}"):
            for gone in _in_portions([key for key in has if key not in kept]):
                client.remove_network_security_group_security_rules(
                    group, self.sdk_model("RemoveNetworkSecurityGroupSecurityRulesDetails", {"security_rule_ids": gone})
                )

    def rules_of(self, scope: Scope, group: str) -> dict[str, SecurityRule]:
        """The rules of a group, by their ids."""
        operation = self._client(scope).list_network_security_group_security_rules
        with told(f"list the rules of the security group {group}"):
            return {rule.id: _read_rule(rule) for rule in every(operation, group)}

    def _ingress(self, model: str, rule: SecurityRule) -> Any:
        peer = str(rule.peer)
        kind = "NETWORK_SECURITY_GROUP" if peer.startswith("ocid1.networksecuritygroup.") else "CIDR_BLOCK"
        return self.sdk_model(
            model, {**_options(self, rule), "direction": "INGRESS", "source": peer, "source_type": kind}
        )


class _SecurityLists(Plain):
    def values_of(self, scope: Scope, thing: Any) -> dict[str, Any]:
        return {
            "ingress": tuple(_read_rule(rule) for rule in thing.ingress_security_rules or ()),
            "egress": tuple(_read_rule(rule) for rule in thing.egress_security_rules or ()),
        }

    def to_sdk(self, values: Mapping[str, Any]) -> dict[str, Any]:
        fields = dict(values)
        if "ingress" in fields:
            fields["ingress_security_rules"] = [
                self.sdk_model("IngressSecurityRule", {**_options(self, rule), "source": str(rule.peer)})
                for rule in fields.pop("ingress")
            ]
        if "egress" in fields:
            fields["egress_security_rules"] = [
                self.sdk_model("EgressSecurityRule", {**_options(self, rule), "destination": str(rule.peer)})
                for rule in fields.pop("egress")
            ]
        return fields

    def update(self, scope: Scope, found: Found, changes: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        # Oracle replaces both arrays by what is sent; one that is left out must not become empty.
        both = {"ingress": found.values["ingress"], "egress": found.values["egress"], **changes}
        super().update(scope, found, both, tags)


def _options(kind: Plain, rule: SecurityRule) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "protocol": _NUMBERS[rule.protocol],
        "is_stateless": False,
        "description": rule.reason,
    }
    if rule.ports is None:
        return fields
    first, last = rule.ports
    if rule.protocol == "icmp":
        code = {} if last == ANY_CODE else {"code": last}
        fields["icmp_options"] = kind.sdk_model("IcmpOptions", {"type": first, **code})
    else:
        ports = kind.sdk_model("PortRange", {"min": first, "max": last})
        model = "TcpOptions" if rule.protocol == "tcp" else "UdpOptions"
        fields[f"{rule.protocol}_options"] = kind.sdk_model(model, {"destination_port_range": ports})
    return fields


def _read_rule(rule: Any) -> SecurityRule:
    """The rule in our words. What our words cannot say makes it different from every rule that we want."""
    protocol = _NAMES.get(rule.protocol, f"protocol {rule.protocol}")
    direction = getattr(rule, "direction", None)
    peer = getattr(rule, "destination", None) if direction == "EGRESS" else getattr(rule, "source", None)
    read = SecurityRule(protocol, peer or rule.destination, _ports(rule), rule.description or "")  # type: ignore[arg-type]
    odd = [
        word
        for word, is_so in (
            ("outgoing", direction == "EGRESS"),
            ("stateless", bool(rule.is_stateless)),
            ("by source port", _by_source_port(rule)),
        )
        if is_so
    ]
    return replace(read, reason=f"{read.reason} ({', '.join(odd)})") if odd else read


def _ports(rule: Any) -> tuple[int, int] | None:
    if rule.icmp_options is not None:
        code = rule.icmp_options.code
        return rule.icmp_options.type, ANY_CODE if code is None else code
    options = rule.tcp_options or rule.udp_options
    ports = options.destination_port_range if options else None
    return (ports.min, ports.max) if ports else None


def _by_source_port(rule: Any) -> bool:
    options = rule.tcp_options or rule.udp_options
    return options is not None and options.source_port_range is not None


def _in_portions(things: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(things)
    while portion := list(islice(rest, _MOST_AT_ONCE)):
        yield portion


SECURITY_GROUP = _SecurityGroups(
    "security_group",
    "core.VirtualNetworkClient",
    "network_security_group",
    "network_security_groups",
    "NetworkSecurityGroup",
)
SECURITY_LIST = _SecurityLists(
    "security_list", "core.VirtualNetworkClient", "security_list", "security_lists", "SecurityList"
)
