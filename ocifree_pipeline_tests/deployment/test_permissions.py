"""The policy allows every call that the program can make, and no statement of it is for nothing."""

from __future__ import annotations

import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.permissions import FAMILIES, POLICY, Statement, needs, uncovered

ROOT = Path(__file__).parents[2]
CLIENTS = (
    "budget.BudgetClient", "core.BlockstorageClient", "core.ComputeClient", "core.VirtualNetworkClient",
    "dns.DnsClient", "identity.IdentityClient", "limits.LimitsClient", "limits.QuotasClient",
    "load_balancer.LoadBalancerClient", "monitoring.MonitoringClient",
    "network_load_balancer.NetworkLoadBalancerClient", "object_storage.ObjectStorageClient",
    "usage_api.UsageapiClient", "work_requests.WorkRequestClient",
)  # fmt: skip


@cache
def methods() -> frozenset[str]:
    found: set[str] = set()
    for name in CLIENTS:
        module, _, kind = name.partition(".")
        found |= {one for one in dir(getattr(importlib.import_module(f"oci.{module}"), kind)) if one[0] != "_"}
    return frozenset(found)


@cache
def called() -> frozenset[str]:
    """Every method of Oracle's clients that the code names, those that teardown calls by the name of their noun too."""
    found: set[str] = set()
    for path in (ROOT / "ocifree_pipeline" / "systems" / "oci").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and path.name == "teardown.py":
                found |= {node.value, f"list_{node.value}s"}
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and path.parent.name == "foundation":
                noun = node.value.removesuffix("s")  # those of load balancers are called by several at once
                found |= {f"{verb}_{noun}" for verb in ("get", "create", "update", "delete")}
    return frozenset(found & methods())


def operation(method: str) -> str:
    return "".join("RR" if word == "rr" else word.capitalize() for word in method.split("_")).replace("RRSet", "RRSet")


def test_the_policy_allows_every_call_of_the_program() -> None:
    operations = {operation(method) for method in called()}
    assert {"LaunchInstance", "DeleteVcn", "ListLoadBalancers", "CreateAlertRule", "GetRRSet"} <= operations
    assert list(uncovered(POLICY, operations)) == []


@pytest.mark.parametrize("statement", POLICY, ids=str)
def test_no_statement_is_for_nothing(statement: Statement) -> None:
    assert list(uncovered([one for one in POLICY if one != statement], needs()))


def test_a_weaker_verb_another_place_and_an_unknown_call_are_not_covered() -> None:
    need = Statement("manage", "instances", "compartment")
    assert Statement("manage", "instance-family", "tenancy").covers(need)
    assert not Statement("use", "instance-family", "compartment").covers(need)
    assert not Statement("manage", "instances", "compartment").covers(Statement("read", "instances", "tenancy"))
    assert not Statement("manage", "volume-family", "compartment").covers(need)
    assert list(uncovered(POLICY, ["BuyAMoon"])) == ["BuyAMoon: nobody has looked up what it needs"]


def test_families_do_not_share_members() -> None:
    members = [one for family in FAMILIES.values() for one in family]
    assert len(members) == len(set(members))


def test_the_page_shows_this_policy() -> None:
    page = (ROOT / "docs" / "permissions.md").read_text("utf-8")
    block = re.search(r"```text\n(Allow.*?)```", page, re.DOTALL)
    assert block
    assert block[1].splitlines() == [str(one) for one in POLICY]
