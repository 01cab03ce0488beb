"""What is free, what is not, and what nobody knows: the last two stop everything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.allowances import Resource, allowance
from ocifree_pipeline.deployment.blueprint import blueprint_of
from ocifree_pipeline.deployment.errors import NotFree
from ocifree_pipeline.deployment.examples import example
from ocifree_pipeline.deployment.foundation import PARTS, foundation_of
from ocifree_pipeline.deployment.loading import parse
from ocifree_pipeline.deployment.pricing import RULES, TOFU_TYPES, Item, free_of, price, require_free
from ocifree_pipeline.systems.oci.foundation.desired import guardrails, wanted_of
from ocifree_pipeline.systems.oci.foundation.engine import KINDS
from ocifree_pipeline.systems.oci.foundation.native import items_of

FREE = allowance("always-free-2026").limits_for("payg")
A1 = {"shape": "VM.Standard.A1.Flex", "ocpus": 1, "memory_gb": 6, "boot_volume_gb": 50}
BUCKET = {"storage_tier": "Standard", "versioning": "Disabled", "auto_tiering": "Disabled"}


@pytest.mark.parametrize(
    ("item", "because"),
    [
        (Item("exadata", "x"), "nobody has told this program what it costs"),
        (Item("oci_psql_db_system", "x"), "nobody has told this program what it costs"),
        (Item("instance", "x", {"shape": "VM.Standard.E4.Flex", "boot_volume_gb": 50}), "only VM.Standard.A1.Flex"),
        (Item("instance", "x", {**A1, "shape": None}), "a shape that is not known"),
        (Item("instance", "x", {**A1, "ocpus": None}), "ocpus is not known"),
        (Item("instance", "x", {**A1, "ocpus": True}), "ocpus is not known"),
        (Item("instance", "x", {**A1, "boot_volume_gb": None}), "size_gb is not known"),
        (Item("instance", "x", {**A1, "vpus_per_gb": 20}), "more than 10 are billed"),
        (Item("instance", "x", {**A1, "ocpus": 3}), "A1 OCPUs: 3 in all, 2 are free"),
        (Item("volume", "x", {"size_gb": 201, "vpus_per_gb": 10}), "201 in all, 200 are free"),
        (Item("volume", "x", {"size_gb": 50}), "vpus_per_gb is not known"),
        (Item("bucket", "x", {**BUCKET, "storage_tier": "InfrequentAccess"}), "storage_tier is InfrequentAccess"),
        (Item("bucket", "x", {**BUCKET, "versioning": "Enabled"}), "versioning is Enabled"),
        (Item("bucket", "x", {}), "storage_tier is not known"),
        (Item("object", "x", {"size_gb": 10.2}), "object storage (GB): 11 in all, 10 are free"),
        (Item("nat_gateway", "x"), "NAT gateways: 1 in all, 0 are free"),
        (Item("dns_zone", "x"), "cents for a million queries"),
        (
            Item("load_balancer", "x", {"shape": "flexible", "minimum_mbps": 10, "maximum_mbps": 100}),
            "only the flexible shape from 10 to 10 Mbps",
        ),
        (Item("load_balancer", "x", {"shape": "100Mbps", "minimum_mbps": 10, "maximum_mbps": 10}), "only the flexible"),
    ],
    ids=str,
)
def test_what_is_not_free_is_refused_with_its_reason(item: Item, because: str) -> None:
    with pytest.raises(NotFree) as caught:
        require_free([item], FREE)
    assert because in caught.value.why
    assert "nothing was made" in caught.value.what


@pytest.mark.parametrize(
    "item",
    [
        Item("instance", "x", A1),
        Item("instance", "x", {"shape": "VM.Standard.E2.1.Micro", "boot_volume_gb": 50}),
        Item("volume", "x", {"size_gb": 200, "vpus_per_gb": 10}),
        Item("bucket", "x", BUCKET),
        Item("oci_objectstorage_bucket", "x", BUCKET),
        Item("object", "x", {"size_gb": 9.5}),
        Item("reserved_ip", "x", {"lifetime": "RESERVED"}),
        Item("load_balancer", "x", {"shape": "flexible", "minimum_mbps": 10, "maximum_mbps": 10}),
        Item("network_load_balancer", "x"),
        Item("custom_image", "x"),
        Item("volume_backup", "x"),
    ],
    ids=lambda item: item.kind,
)
def test_what_is_free_passes(item: Item) -> None:
    (found,) = require_free([item], FREE)
    assert found.is_free


@given(number=st.integers(0, 6), lifetime=st.sampled_from(["RESERVED", "EPHEMERAL"]))
def test_what_is_free_is_a_sum(number: int, lifetime: str) -> None:
    items = [Item("oci_core_public_ip", f"ip{n}", {"lifetime": lifetime}) for n in range(number)]
    _, reasons = price(items, FREE)
    assert bool(reasons) == (lifetime == "RESERVED" and number > FREE[Resource.RESERVED_IPS])


@given(kind=st.text(min_size=1, max_size=30).filter(lambda kind: kind not in RULES and kind not in TOFU_TYPES))
def test_a_kind_without_a_rule_is_not_free(kind: str) -> None:
    with pytest.raises(NotFree):
        require_free([Item(kind, "x")], FREE)


def test_cents_that_were_declared_do_not_stop_us_and_are_not_called_free() -> None:
    (zone,) = require_free([Item("dns_zone", "example.org")], FREE, accepted={"dns_zone"})
    assert not zone.is_free


def test_every_kind_that_the_engine_makes_has_a_rule() -> None:
    assert set(KINDS) <= set(RULES)
    assert set(TOFU_TYPES.values()) <= set(RULES)


@pytest.mark.parametrize("name", ["proxmox-ceph", "talos-native"])
def test_the_whole_foundation_of_the_examples_is_free(name: str) -> None:
    found = blueprint_of(parse(example(name)))
    declaration = found.declaration
    spec = foundation_of(declaration, found.plan.topology, found.plan.reserved_ips)
    items = [item for part in PARTS for item in items_of(wanted_of(spec, part))]
    items += items_of(
        guardrails("lab", "ocid1.tenancy.oc1..x", ["zero database quotas in tenancy"], declaration.budget)
    )
    assert all(one.is_free for one in require_free(items, free_of(declaration)))
