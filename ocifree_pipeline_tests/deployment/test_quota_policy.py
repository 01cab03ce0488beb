"""Quota statements: in Oracle's language, in the right order, and never more than the allowance."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.allowances import Resource, allowance
from ocifree_pipeline.deployment.quota_policy import Need, needs_of, stands_in_the_way, statements, storage_by_domain
from ocifree_pipeline.sandbox.oracle.limit_catalogue import FAMILIES, quota_names
from ocifree_pipeline.sandbox.oracle.quota_language import Statement, parse

FREE = allowance("always-free-2026").limits_for("payg")
REGION, AD1, AD2 = "uk-london-1", "Kfkm:UK-LONDON-1-AD-1", "Kfkm:UK-LONDON-1-AD-2"

EXPECTED = f"""\
zero compute-core quotas in tenancy
zero compute-memory quotas in tenancy
set compute-core quota standard-a1-core-count to 2 in tenancy where request.region = '{REGION}'
set compute-core quota standard-a1-core-regional-count to 2 in tenancy where request.region = '{REGION}'
set compute-memory quota standard-a1-memory-count to 12 in tenancy where request.region = '{REGION}'
set compute-memory quota standard-a1-memory-regional-count to 12 in tenancy where request.region = '{REGION}'
set compute-core quota standard-e2-micro-core-count to 2 in tenancy where request.region = '{REGION}'
zero block-storage quota total-storage-gb in tenancy
set block-storage quota total-storage-gb to 50 in tenancy where request.ad = '{AD1}'
set block-storage quota total-storage-gb to 150 in tenancy where request.ad = '{AD2}'
set block-storage quota backup-count to 5 in tenancy
set object-storage quota storage-bytes to 10000000000 in tenancy
set vcn quota vcn-count to 2 in tenancy
set vcn quota reserved-public-ip-count to 2 in tenancy
zero load-balancer quotas in tenancy
zero compute-management quotas in tenancy
zero auto-scaling quotas in tenancy
zero database quotas in tenancy
zero filesystem quotas in tenancy
zero kms quota virtual-private-vault-count in tenancy"""


def parsed(text: str) -> Statement:
    return parse(text, families=FAMILIES, known=quota_names)


def test_the_policy_word_for_word() -> None:
    storage = storage_by_domain([((AD1,), 50), ((AD2,), 50), ((AD2,), 50)], FREE[Resource.BLOCK_STORAGE_GB])
    lines = statements(FREE, region=REGION, storage_gb=storage)
    assert "\n".join(map(str, lines)) == EXPECTED


def test_a_load_balancer_is_given_back_after_all_were_taken() -> None:
    lines = [str(line) for line in statements(FREE, region=REGION, storage_gb={}, load_balancer=True)]
    at = lines.index("zero load-balancer quotas in tenancy")
    assert lines[at + 1 : at + 3] == [
        "set load-balancer quota lb-flexible-count to 1 in tenancy",
        "set load-balancer quota lb-flexible-bandwidth-sum to 10 in tenancy",
    ]


@given(
    free=st.dictionaries(st.sampled_from(list(Resource)), st.integers(0, 500)),
    storage=st.dictionaries(st.sampled_from([AD1, AD2]), st.integers(0, 500)),
    balancer=st.booleans(),
)
def test_every_statement_is_oracles_language_and_no_set_is_undone_by_a_later_zero(
    free: dict[Resource, int], storage: dict[str, int], balancer: bool
) -> None:
    lines = [parsed(str(line)) for line in statements(free, region=REGION, storage_gb=storage, load_balancer=balancer)]
    for at, line in enumerate(lines):
        if line.action == "set":
            after = [
                other
                for other in lines[at + 1 :]
                if other.action == "zero" and other.family == line.family and fnmatchcase(line.quota, other.quota)
            ]
            assert not after
    zeroed = {(line.family, line.quota) for line in lines if line.action == "zero"}
    assert {("compute-core", "*"), ("compute-memory", "*"), ("block-storage", "total-storage-gb")} <= zeroed


@given(
    volumes=st.lists(
        st.tuples(st.lists(st.sampled_from([AD1, AD2]), unique=True).map(tuple), st.integers(50, 100)), max_size=5
    ),
    free_gb=st.integers(0, 400),
)
def test_every_domain_has_room_for_what_may_come_and_no_more_once_all_are_claimed(
    volumes: list[tuple[tuple[str, ...], int]], free_gb: int
) -> None:
    storage = storage_by_domain(volumes, free_gb)
    for ad in (AD1, AD2):
        assert storage.get(ad, 0) >= sum(size for domains, size in volumes if ad in domains)
    if all(len(domains) <= 1 for domains, _ in volumes):
        planned = sum(size for domains, size in volumes if domains)
        assert sum(storage.values()) == (max(planned, free_gb) if planned else 0)


def test_needs_are_added_up_by_domain_and_for_the_region() -> None:
    assert needs_of([(AD1, 1, 6), (AD1, 1, 6), (AD2, 1, 8), (None, 1, 1)]) == (
        Need("standard-a1-core-count", AD1, 2),
        Need("standard-a1-core-count", AD2, 1),
        Need("standard-a1-memory-count", AD1, 12),
        Need("standard-a1-memory-count", AD2, 8),
        Need("standard-a1-core-regional-count", None, 4),
        Need("standard-a1-memory-regional-count", None, 21),
    )


def test_a_foreign_policy_may_be_in_the_way_in_the_region_only() -> None:
    texts = {"theirs": ["zero compute-core quota standard-a1-core-regional-count in tenancy"]}
    need = Need("standard-a1-core-regional-count", None, 2)
    assert len(list(stands_in_the_way(texts, need, compartment="lab", region=REGION))) == 1


NEED = Need("standard-a1-core-count", AD1, 2)


@pytest.mark.parametrize(
    ("texts", "blocked"),
    [
        (["zero compute-core quotas in tenancy"], True),
        (["Zero compute-core quota /standard-a1-*/ in tenancy"], True),
        (["zero compute-core quota standard-a1-core-regional-count in tenancy"], False),
        (["set compute-core quota standard-a1-core-count to 1 in tenancy"], True),
        (["zero compute-core quotas in compartment lab"], True),
        (["zero compute-core quotas in compartment teams:lab"], True),
        (["zero compute-core quotas in compartment other"], False),
        (["zero compute-core quotas in tenancy where request.region = 'uk-london-1'"], True),
        (["zero compute-core quotas in tenancy where request.region = eu-frankfurt-1"], False),
        ([f"zero compute-core quotas in tenancy where request.ad = '{AD1}'"], True),
        ([f"zero compute-core quotas in tenancy where request.ad = '{AD2}'"], False),
        (["zero compute-memory quotas in tenancy"], False),
        (["zero compute-core quotas in tenancy", "unset compute-core quotas in tenancy"], False),
        (["zero compute-core quotas in tenancy", "set compute-core quota /standard-a1-*/ to 2 in tenancy"], False),
        (["set compute-core quota standard-a1-core-count to 9 in tenancy"], False),
        (["what is this"], False),
        ([], False),
    ],
)
def test_a_foreign_policy_in_the_way_is_found_and_quoted(texts: list[str], blocked: bool) -> None:
    found = list(stands_in_the_way({"theirs": texts}, NEED, compartment="lab", region=REGION))
    assert bool(found) == blocked
    if blocked:
        assert "quota policy theirs holds standard-a1-core" in found[0]
        assert texts[0] in found[0]
