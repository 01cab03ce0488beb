"""The solver never exceeds a limit, and every refusal names limits that truly bind."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.allowances import LABELS, Resource, allowance
from ocifree_pipeline.deployment.limits import BOUND_TO_AD, Counts, Envelope, Room, envelope
from ocifree_pipeline.deployment.plan import Plan, Refusal
from ocifree_pipeline.deployment.solver import Ask, Size, solve

IMAGES = {"proxmox-ceph": 1, "talos-native": 1}
BY_LABEL = {label: resource for resource, label in LABELS.items()}


def room_of(name: str, account: str = "payg", **live: int) -> Envelope:
    limits = Counts(regional={Resource(key): value for key, value in live.items()}) if live else None
    return envelope(allowance(name), account, limits)


def plan_of(ask: Ask, room: Envelope) -> Plan:
    answer = solve(ask, room)
    assert isinstance(answer, Plan), answer
    return answer


def refusal_of(ask: Ask, room: Envelope) -> Refusal:
    answer = solve(ask, room)
    assert isinstance(answer, Refusal), answer
    return answer


def sizes(plan: Plan) -> list[tuple[int, int, int]]:
    return [(m.ocpus, m.memory_gb, m.boot_volume_gb) for m in plan.ampere]


def test_four_ocpus_carry_three_proxmox_nodes_and_the_space_is_shown() -> None:
    plan = plan_of(Ask(None, images=IMAGES), room_of("always-free-2025"))
    assert plan.topology == "proxmox-ceph"
    assert sizes(plan) == [(2, 8, 50), (1, 8, 50), (1, 8, 50)]
    assert plan.bastion is not None
    assert sum(m.boot_volume_gb for m in plan.machines) == 200
    assert plan.ceph is not None
    assert (plan.ceph.osd_gb_per_node, plan.ceph.raw_gb, plan.ceph.usable_gb) == (34, 102, 43)
    assert "= 43 GB" in plan.ceph.how
    assert [(g.host, g.vcpus, g.memory_gb, g.disk_gb) for g in plan.guests] == [
        ("ampere_1", 2, 3, 14),
        ("ampere_2", 1, 3, 14),
        ("ampere_3", 1, 3, 14),
    ]
    assert plan.reserved_ips == ("ingress", "bastion")


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, [(2, 12, 150)]), (1, [(2, 12, 150)]), (2, [(1, 6, 75), (1, 6, 75)])],
)
def test_two_ocpus_carry_talos_alone(count: int | None, expected: list[tuple[int, int, int]]) -> None:
    plan = plan_of(Ask("talos-native", count=count, images=IMAGES), room_of("always-free-2026"))
    assert sizes(plan) == expected
    assert plan.control_planes == 1


def test_two_ocpus_refuse_proxmox_with_every_reason_and_the_nearest_plan() -> None:
    refusal = refusal_of(Ask("proxmox-ceph", images=IMAGES), room_of("always-free-2026"))
    assert [(s.limit, s.needed, s.available) for s in refusal.shortfalls] == [
        ("A1 OCPUs", 3, 2),
        ("A1 memory (GB)", 21, 12),
    ]
    assert all("allowance always-free-2026" in s.source for s in refusal.shortfalls)
    assert refusal.nearest is not None
    assert (refusal.nearest.topology, sizes(refusal.nearest)) == ("talos-native", [(2, 12, 150)])


def test_auto_says_why_the_first_choice_was_not_taken() -> None:
    plan = plan_of(Ask(None, images=IMAGES), room_of("always-free-2026"))
    assert plan.topology == "talos-native"
    assert [s.limit for s in plan.rejected[0].shortfalls] == ["A1 OCPUs", "A1 memory (GB)"]


def test_a_free_account_is_told_about_custom_images() -> None:
    refusal = refusal_of(Ask("talos-native", images=IMAGES), room_of("always-free-2026", "free"))
    assert [(s.limit, s.needed, s.available) for s in refusal.shortfalls] == [("custom images", 1, 0)]
    assert "pay-as-you-go" in refusal.shortfalls[0].why
    assert refusal.nearest is None


def test_use_by_others_counts_and_is_named() -> None:
    used = Counts(regional={Resource.BLOCK_STORAGE_GB: 150})
    refusal = refusal_of(
        Ask("talos-native", images=IMAGES), envelope(allowance("always-free-2026"), "payg", None, used)
    )
    assert [(s.limit, s.needed, s.available) for s in refusal.shortfalls] == [("boot and block storage (GB)", 100, 50)]
    assert "150 of 200 in use by others" in refusal.shortfalls[0].source
    assert refusal.nearest is not None
    assert refusal.nearest.bastion is None


def test_the_micro_goes_where_its_one_domain_is_and_nodes_stay_together() -> None:
    ads = {
        "AD-1": {Resource.A1_OCPUS: 4, Resource.A1_MEMORY_GB: 24, Resource.BLOCK_STORAGE_GB: 200},
        "AD-2": {Resource.A1_OCPUS: 4, Resource.A1_MEMORY_GB: 24, Resource.BLOCK_STORAGE_GB: 200},
        "AD-3": {Resource.MICRO_INSTANCES: 2, Resource.BLOCK_STORAGE_GB: 200},
    }
    plan = plan_of(
        Ask("proxmox-ceph", images=IMAGES), envelope(allowance("always-free-2025"), "payg", Counts(per_ad=ads))
    )
    assert plan.bastion is not None
    assert plan.bastion.availability_domain == "AD-3"
    assert len({m.availability_domain for m in plan.ampere}) == 1


def test_a_domain_that_carries_one_ocpu_each_spreads_the_nodes() -> None:
    ads = {
        ad: {Resource.A1_OCPUS: 1, Resource.A1_MEMORY_GB: 8, Resource.BLOCK_STORAGE_GB: 100} for ad in ("a", "b", "c")
    }
    room = envelope(allowance("always-free-2025"), "payg", Counts(per_ad=ads))
    plan = plan_of(Ask("proxmox-ceph", bastion=False, images=IMAGES), room)
    assert {m.availability_domain for m in plan.ampere} == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("ask", "limit", "needed", "available"),
    [
        (Ask("proxmox-ceph", count=2), "nodes", 3, 2),
        (Ask("talos-native", count=1, control_planes=3), "nodes", 3, 1),
        (Ask("proxmox-ceph", sizes=(Size(2, 8, 50), Size(1, 6, 50), Size(1, 8, 50))), "memory (GB)", 7, 6),
        (Ask("proxmox-ceph", ceph_size=3, sizes=(Size(1, 8, 50),) * 3), "boot volume (GB)", 52, 50),
        (Ask("talos-native", sizes=(Size(3, 12, 50),)), "A1 OCPUs", 3, 2),
        (Ask("talos-native", count=3), "A1 OCPUs", 3, 2),
    ],
)
def test_what_was_declared_is_judged_as_declared(ask: Ask, limit: str, needed: int, available: int) -> None:
    refusal = refusal_of(ask, room_of("always-free-2026"))
    assert (limit, needed, available) in [(s.limit, s.needed, s.available) for s in refusal.shortfalls]


def test_fewer_reserved_addresses_go_to_the_ingress_first() -> None:
    plan = plan_of(Ask("talos-native", images=IMAGES), room_of("always-free-2026", reserved_ips=1))
    assert plan.reserved_ips == ("ingress",)
    assert any("No reserved address for the bastion" in warning for warning in plan.warnings)


# Properties ----------------------------------------------------------------------------------------------------------

numbers = st.integers(min_value=0, max_value=6)
gigabytes = st.integers(min_value=0, max_value=40)
storage = st.integers(min_value=0, max_value=320)
counts = st.fixed_dictionaries(
    {
        Resource.A1_OCPUS: numbers,
        Resource.A1_MEMORY_GB: gigabytes,
        Resource.MICRO_INSTANCES: st.integers(min_value=0, max_value=2),
        Resource.BLOCK_STORAGE_GB: storage,
    }
)
regional_only = st.fixed_dictionaries(
    {
        Resource.CUSTOM_IMAGES: st.integers(min_value=0, max_value=2),
        Resource.OBJECT_STORAGE_GB: st.integers(min_value=0, max_value=20),
        Resource.RESERVED_IPS: st.integers(min_value=0, max_value=2),
        Resource.VCNS: st.integers(min_value=0, max_value=1),
    }
)


@st.composite
def rooms(draw: st.DrawFn) -> Envelope:
    def as_rooms(values: dict[Resource, int], ad: str | None) -> dict[Resource, Room]:
        return {resource: Room(resource, number, "drawn", ad) for resource, number in values.items()}

    region = dict.fromkeys(Resource, 0) | draw(counts) | draw(regional_only)
    ads = {f"AD-{n}": as_rooms(draw(counts), f"AD-{n}") for n in range(1, draw(st.integers(0, 3)) + 1)}
    return Envelope(as_rooms(region, None), ads, "drawn", live=bool(ads))


asks = st.builds(
    Ask,
    topology=st.sampled_from([None, "proxmox-ceph", "talos-native"]),
    count=st.none() | st.integers(1, 4),
    bastion=st.booleans(),
    control_planes=st.sampled_from([None, None, 1, 3]),
    ceph_size=st.sampled_from([2, 3]),
    images=st.sampled_from([None, IMAGES]),
)


def taken(plan: Plan, ad: str | None = None) -> dict[Resource, int]:
    machines = [m for m in plan.machines if ad is None or m.availability_domain == ad]
    return {
        Resource.A1_OCPUS: sum(m.ocpus for m in machines if m.is_ampere),
        Resource.A1_MEMORY_GB: sum(m.memory_gb for m in machines if m.is_ampere),
        Resource.MICRO_INSTANCES: sum(not m.is_ampere for m in machines),
        Resource.BLOCK_STORAGE_GB: sum(m.boot_volume_gb for m in machines),
    }


@settings(max_examples=200, deadline=None)
@given(asks, rooms())
def test_no_plan_ever_exceeds_any_limit(ask: Ask, room: Envelope) -> None:
    answer = solve(ask, room)
    plans = [answer] if isinstance(answer, Plan) else [answer.nearest] if answer.nearest else []
    for plan in plans:
        for resource, amount in taken(plan).items():
            assert amount <= room.region[resource].available
        for ad in room.domains:
            for resource, amount in taken(plan, ad).items():
                assert amount <= room.ads[ad][resource].available
        assert len(plan.reserved_ips) <= room.region[Resource.RESERVED_IPS].available
        assert all(h.left >= 0 for h in plan.headroom)
        for machine in plan.ampere:
            assert machine.ocpus >= 1
            assert machine.ocpus <= machine.memory_gb <= 64 * machine.ocpus
            assert machine.boot_volume_gb >= 50
            assert (machine.availability_domain in room.domains) if room.domains else not machine.availability_domain
        if plan.ceph:
            assert sum(guest.disk_gb for guest in plan.guests) <= plan.ceph.usable_gb
            assert all(guest.disk_gb >= 10 and guest.memory_gb >= 2 for guest in plan.guests)


def raised(room: Envelope, refusal: Refusal, but: int | None = None) -> Envelope:
    """The same room with every named limit raised to what was needed, except one."""
    region, ads = dict(room.region), {ad: dict(rooms_of) for ad, rooms_of in room.ads.items()}
    for index, shortfall in enumerate(refusal.shortfalls):
        if index == but:
            continue
        resource = BY_LABEL[shortfall.limit]
        where = region if shortfall.scope == "in the region" else ads[shortfall.scope.removeprefix("in ")]
        where[resource] = replace(where[resource], available=shortfall.needed)
    return Envelope(region, ads, room.allowance, room.live)


@settings(max_examples=200, deadline=None)
@given(asks.filter(lambda ask: ask.topology is not None), rooms())
def test_every_refusal_names_limits_that_truly_bind(ask: Ask, room: Envelope) -> None:
    refusal = solve(ask, room)
    if isinstance(refusal, Plan):
        return
    assert refusal.shortfalls
    assert all(shortfall.available < shortfall.needed for shortfall in refusal.shortfalls)
    if any(shortfall.scope == "in the declaration" for shortfall in refusal.shortfalls):
        return
    assert isinstance(solve(ask, raised(room, refusal)), Plan)
    for index in range(len(refusal.shortfalls)):
        assert isinstance(solve(ask, raised(room, refusal, but=index)), Refusal)


@settings(max_examples=100, deadline=None)
@given(rooms(), st.integers(1, 3), st.booleans())
def test_a_refusal_agrees_with_brute_force(room: Envelope, count: int, bastion: bool) -> None:
    """An independent search over the smallest nodes: it fits exactly when the solver says so."""
    takes = [{Resource.A1_OCPUS: 1, Resource.A1_MEMORY_GB: 4, Resource.BLOCK_STORAGE_GB: 50}] * count
    takes += [{Resource.MICRO_INSTANCES: 1, Resource.BLOCK_STORAGE_GB: 50}] * bastion

    def within(place: tuple[str, ...]) -> bool:
        return all(
            sum(t.get(r, 0) for t, at in zip(takes, place, strict=True) if at == ad) <= room.ads[ad][r].available
            for ad in room.domains
            for r in BOUND_TO_AD
        )

    regional = all(sum(t.get(r, 0) for t in takes) <= room.region[r].available for r in BOUND_TO_AD)
    regional = regional and room.region[Resource.VCNS].available >= 1
    placed = not room.domains or any(within(p) for p in itertools.product(room.domains, repeat=len(takes)))
    answer = solve(Ask("talos-native", count=count, bastion=bastion), room)
    assert isinstance(answer, Plan) == (regional and placed)


@given(rooms())
def test_an_answer_can_be_recorded_as_json(room: Envelope) -> None:
    import json

    json.dumps(solve(Ask(None), room).as_dict())
