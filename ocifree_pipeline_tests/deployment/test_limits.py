"""min(live limit, allowance) less the use by others, and unknown resources are not free."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.deployment.allowances import LABELS, Resource, allowance, allowance_names
from ocifree_pipeline.deployment.limits import BOUND_TO_AD, Counts, envelope


@given(
    st.dictionaries(st.sampled_from(list(Resource)), st.integers(0, 300)),
    st.dictionaries(st.sampled_from(list(Resource)), st.integers(0, 300)),
    st.sampled_from(["free", "payg"]),
    st.sampled_from(allowance_names()),
)
def test_room_is_the_lower_bound_less_use(
    live: dict[Resource, int], used: dict[Resource, int], account: str, name: str
) -> None:
    free = allowance(name).limits_for(account)
    room = envelope(allowance(name), account, Counts(regional=live), Counts(regional=used))
    for resource in Resource:
        bound = min(free.get(resource, 0), live.get(resource, 10**9))
        assert room.region[resource].available == max(0, bound - used.get(resource, 0))


def test_a_domain_has_its_own_room_and_unnamed_means_none() -> None:
    limits = Counts(per_ad={"AD-1": {Resource.A1_OCPUS: 16}, "AD-2": {}})
    room = envelope(allowance("always-free-2026"), "payg", limits)
    assert room.ads["AD-1"][Resource.A1_OCPUS].available == 2
    assert room.ads["AD-1"][Resource.A1_OCPUS].source == "allowance always-free-2026"
    assert room.ads["AD-2"][Resource.A1_OCPUS].available == 0
    assert room.ads["AD-2"][Resource.A1_OCPUS].source == "live limit in AD-2"


def test_every_allowance_names_every_resource_for_both_accounts() -> None:
    for name in allowance_names():
        for account in ("free", "payg"):
            assert set(allowance(name).limits_for(account)) == set(Resource)
        assert len(allowance(name).source) > 40
        assert allowance(name).notes
    assert set(LABELS) == set(Resource)
    assert set(BOUND_TO_AD) < set(Resource)


def test_an_unknown_allowance_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="always-free-2025, always-free-2026"):
        allowance("always-free-2031")
