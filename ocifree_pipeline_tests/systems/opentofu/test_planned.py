"""Plans of OpenTofu: what they cost, what they would lose, and how they read."""

from __future__ import annotations

from typing import Any

import pytest

from ocifree_pipeline.deployment.allowances import Resource
from ocifree_pipeline.deployment.convergence import CannotChange
from ocifree_pipeline.deployment.errors import NotFree, Refused
from ocifree_pipeline.deployment.pricing import require_free
from ocifree_pipeline.systems.opentofu.planned import planned_of

FREE = {Resource.VCNS: 2, Resource.RESERVED_IPS: 2, Resource.BLOCK_STORAGE_GB: 200}
BUCKET = {"name": "lab-images", "storage_tier": "Standard", "versioning": "Disabled", "auto_tiering": "Disabled"}


def resource(type_: str, values: dict[str, Any], index: str | None = None, **more: Any) -> dict[str, Any]:
    key = {} if index is None else {"index": index}
    address = f"{type_}.this" + (f'["{index}"]' if index else "")
    return {"address": address, "mode": "managed", "type": type_, **key, "values": values, **more}


def document(*resources: dict[str, Any], changes: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    return {
        "format_version": "1.2",
        "planned_values": {"root_module": {"resources": list(resources)}},
        "resource_changes": list(changes),
        **more,
    }


def change(type_: str, actions: list[str], index: str | None = None, **more: Any) -> dict[str, Any]:
    found = resource(type_, {}, index)
    del found["values"]
    return {**found, "change": {"actions": actions, **more}}


def test_all_that_is_to_stand_is_priced_changed_or_not() -> None:
    vcns = [resource("oci_core_vcn", {"display_name": f"vcn-{number}"}, str(number)) for number in range(3)]
    assert len(require_free(planned_of(document(*vcns[:2])).items, FREE)) == 2
    with pytest.raises(NotFree, match="1 reason") as caught:
        require_free(planned_of(document(*vcns)).items, FREE)
    assert "3 in all, 2 are free" in caught.value.why


def test_resources_of_inner_modules_count_and_what_is_only_read_does_not() -> None:
    found = document(
        resource("oci_core_vcn", {}), {"address": "data.x.y", "mode": "data", "type": "oci_x", "values": {}}
    )
    inner = {
        "resources": [resource("oci_core_vcn", {}, "a")],
        "child_modules": [{"resources": [resource("oci_y", {})]}],
    }
    found["planned_values"]["root_module"]["child_modules"] = [inner]
    assert [item.kind for item in planned_of(found).items] == ["vcn", "vcn", "oci_y"]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (resource("oci_database_autonomous_database", {"is_free_tier": True}), "nobody has told this program"),
        (resource("oci_core_instance", {"shape": "VM.Standard.A1.Flex"}), "nobody has told this program"),
        (resource("oci_objectstorage_bucket", {**BUCKET, "versioning": "Enabled"}), "versioning is Enabled"),
        (resource("oci_objectstorage_bucket", {"name": "x"}), "storage_tier is not known"),
        (
            resource("oci_objectstorage_bucket", BUCKET, sensitive_values={"storage_tier": True}),
            "storage_tier is not known",
        ),
        (resource("oci_dns_zone", {"name": "example.org"}), "cents for a million queries"),
    ],
)
def test_what_is_unknown_or_kept_secret_is_not_free(one: dict[str, Any], why: str) -> None:
    with pytest.raises(NotFree) as caught:
        require_free(planned_of(document(one)).items, FREE)
    assert why in caught.value.why


def test_a_zone_that_was_declared_is_accepted_by_the_name_that_both_engines_use() -> None:
    planned = planned_of(document(resource("oci_dns_zone", {"name": "example.org"}), resource("oci_dns_rrset", {})))
    assert len(require_free(planned.items, FREE, {"dns_zone"})) == 2


def test_what_is_secret_is_neither_kept_nor_shown() -> None:
    secret = {"display_name": "x", "key": "very-secret"}
    planned = planned_of(
        document(
            resource("oci_core_vcn", secret, sensitive_values={"key": True, "rules": [{"key": True}]}),
            changes=(
                change("oci_core_vcn", ["create"], after=secret, after_sensitive={"key": True}),
                change(
                    "oci_core_subnet",
                    ["update"],
                    before={"key": "old-secret"},
                    after={"key": "very-secret"},
                    before_sensitive={"key": True},
                    after_sensitive={},
                ),
            ),
        )
    )
    assert "secret" not in repr(planned).replace("(kept secret)", "")
    assert planned.lines == ("create vcn x", "change subnet oci_core_subnet.this: key: (kept secret) -> (kept secret)")


@pytest.mark.parametrize("actions", [["delete"], ["delete", "create"], ["create", "delete"]])
@pytest.mark.parametrize("type_", ["oci_core_vcn", "oci_core_public_ip", "oci_objectstorage_bucket", "oci_dns_zone"])
def test_a_deletion_is_refused_by_its_address(type_: str, actions: list[str]) -> None:
    planned = planned_of(document(changes=(change(type_, actions, "a", before={}, after={}),)))
    with pytest.raises(CannotChange) as caught:
        planned.require_nothing_lost()
    assert f'{type_}.this["a"]' in caught.value.what
    assert not planned.is_noop


@pytest.mark.parametrize(
    ("type_", "before", "after", "words"),
    [
        ("oci_core_vcn", {"cidr_blocks": ["10.0.0.0/16"]}, {"cidr_blocks": ["10.1.0.0/16"]}, "+ 10.1.0.0/16"),
        ("oci_core_subnet", {"cidr_block": "10.0.0.0/24"}, {"cidr_block": "10.0.9.0/24"}, "10.0.0.0/24 -> 10.0.9.0/24"),
        ("oci_objectstorage_bucket", {"compartment_id": "a"}, {"compartment_id": "b"}, "compartment_id: a -> b"),
    ],
)
def test_a_move_that_the_provider_could_make_is_refused_as_the_native_engine_refuses_it(
    type_: str, before: dict[str, Any], after: dict[str, Any], words: str
) -> None:
    planned = planned_of(document(changes=(change(type_, ["update"], before=before, after=after),)))
    with pytest.raises(CannotChange) as caught:
        planned.require_nothing_lost()
    assert words in caught.value.what


@pytest.mark.parametrize("type_", ["oci_core_network_security_group_security_rule", "oci_dns_rrset"])
def test_doors_and_names_may_go(type_: str) -> None:
    planned = planned_of(document(changes=(change(type_, ["delete"], "ssh: tcp 22", before={}, after=None),)))
    planned.require_nothing_lost()
    assert planned.lines == (f"delete {'dns record' if 'dns' in type_ else 'security rule'} ssh: tcp 22",)


def test_lines_say_what_changes() -> None:
    rule = {"protocol": "6", "source": "0.0.0.0/0", "udp_options": []}
    planned = planned_of(
        document(
            changes=(
                change("oci_core_vcn", ["no-op"], before={"display_name": "v"}, after={"display_name": "v"}),
                change("oci_core_subnet", ["create"], "a", after={"display_name": "lab-a"}),
                change("oci_core_subnet", ["create"], "b", after={"display_name": "lab-b"}),
                change(
                    "oci_core_default_security_list",
                    ["update"],
                    before={"display_name": "list", "ingress": [rule], "n": 1, "same": {"a": 1}},
                    after={"display_name": "list", "ingress": [], "n": None, "same": {"a": 1}, "later": None},
                    after_unknown={"later": True},
                ),
                change("oci_core_route_table", ["update"], before={"a": 1}, after={"a": 1}),
                change(
                    "oci_core_public_ip",
                    ["no-op"],
                    before={"display_name": "lab-ingress"},
                    after={"display_name": "lab-ingress"},
                    importing={"id": "ocid1.publicip.oc1..a"},
                ),
            ),
            resource_drift=[change("oci_core_subnet", ["delete"], "b", before={}, after=None)],
        )
    )
    assert planned.lines == (
        "create subnet lab-a",
        "create subnet lab-b, which somebody has deleted",
        'change security list list: ingress: - {"protocol": "6", "source": "0.0.0.0/0"}',
        "change security list list: later: nothing -> known after the change",
        "change security list list: n: 1 -> nothing",
        "change route table oci_core_route_table.this",
        "take over reserved ip lab-ingress",
    )


@pytest.mark.parametrize("broken", [{"format_version": "2.0"}, {}, {"format_version": "1.2", "errored": True}])
def test_a_document_that_this_program_does_not_know_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        planned_of(broken)
