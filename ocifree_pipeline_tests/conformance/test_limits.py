"""The unmodified SDK against limits: values from the profile, use from what exists, refusals with every name."""

from typing import Any

import oci
import pytest

from ocifree_pipeline.sandbox.oracle import limits
from ocifree_pipeline.sandbox.oracle.errors import OracleError
from ocifree_pipeline.sandbox.oracle.limit_catalogue import LIMITS, find
from ocifree_pipeline.sandbox.oracle.limit_usage import haunt
from ocifree_pipeline.sandbox.oracle.shape_catalogue import SHAPES
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

AD1, AD2, AD3 = (f"Kfkm:UK-LONDON-1-AD-{number}" for number in (1, 2, 3))


@pytest.fixture
def client(sandbox: RunningSandbox) -> oci.limits.LimitsClient:
    return sandbox.client(oci.limits.LimitsClient)


def refused(status: int, code: str, message: str = ""):
    return pytest.raises(
        oci.exceptions.ServiceError,
        check=lambda error: (error.status, error.code) == (status, code) and message in error.message,
    )


def instance(world: World, ad: str = AD1, ocpus: float = 1, memory: float = 6, **fields: Any):
    body = {
        "compartmentId": world.tenancy,
        "availabilityDomain": ad,
        "shape": "VM.Standard.A1.Flex",
        "shapeConfig": {"ocpus": ocpus, "memoryInGBs": memory},
        "lifecycleState": "RUNNING",
    }
    return world.add("instance", body | fields)


def volume(world: World, size: int, ad: str = AD1, kind: str = "bootvolume", state: str = "AVAILABLE"):
    body = {
        "compartmentId": world.tenancy,
        "availabilityDomain": ad,
        "sizeInGBs": size,
        "lifecycleState": state,
    }
    return world.add(kind, body)


def ask(sandbox: RunningSandbox, ad: str | None = AD1, compartment: str = "", **needs: int) -> str:
    """``ok``, or the code and message of the refusal."""

    def look(world: World) -> str:
        try:
            limits.require(
                world,
                compartment=compartment or world.tenancy,
                ad=ad,
                needs={name.replace("_", "-"): amount for name, amount in needs.items()},
            )
        except OracleError as error:
            return f"{error.code}: {error.message}"
        return "ok"

    return sandbox.inside(look)


def test_services_and_definitions(sandbox, client):
    names = [one.name for one in client.list_services(sandbox.tenancy).data]
    assert names == sorted(names)
    assert {"compute", "block-storage", "vcn", "object-storage", "load-balancer"} <= set(names)
    page = client.list_services(sandbox.tenancy, limit=4, sort_order="DESC")
    assert [one.name for one in page.data] == names[::-1][:4]
    everything = oci.pagination.list_call_get_all_results(client.list_limit_definitions, sandbox.tenancy, limit=7)
    assert {one.name for one in everything.data} == set(LIMITS)
    (core,) = client.list_limit_definitions(sandbox.tenancy, name="standard-a1-core-count").data
    assert (core.service_name, core.scope_type, core.supported_quota_families) == ("compute", "AD", ["compute-core"])
    assert core.are_quotas_supported
    assert core.is_resource_availability_supported


def test_every_limit_of_the_shape_catalogue_is_known():
    named = {
        limit
        for shape in SHAPES.values()
        for limit in (
            shape.core_limit,
            shape.memory_limit,
            shape.regional_core_limit,
            shape.regional_memory_limit,
        )
        if limit
    }
    assert named <= set(LIMITS)


def test_the_values_of_a_free_tenancy(sandbox, client):
    def values(service: str, **options: str):
        rows = client.list_limit_values(sandbox.tenancy, service, **options).data
        return {(one.name, one.availability_domain): one.value for one in rows}

    compute = values("compute")
    assert [compute["standard-a1-core-count", ad] for ad in (AD1, AD2, AD3)] == [2, 2, 2]
    assert [compute["standard-a1-memory-count", ad] for ad in (AD1, AD2, AD3)] == [12, 12, 12]
    assert compute["standard-a1-core-regional-count", None] == 2
    assert [compute["standard-e2-micro-core-count", ad] for ad in (AD1, AD2, AD3)] == [2, 0, 0]
    assert compute["standard-e4-core-count", AD1] == 0
    assert compute["custom-image-count", None] == 0
    assert values("vcn", name="vcn-count") == {("vcn-count", None): 2}
    assert values("vcn", name="nat-gateway-count") == {("nat-gateway-count", None): 0}
    assert values("vcn", name="reserved-public-ip-count") == {("reserved-public-ip-count", None): 1}
    assert values("object-storage", name="storage-bytes") == {("storage-bytes", None): 21474836480}
    assert values("block-storage", name="total-storage-gb", availability_domain=AD2) == {("total-storage-gb", AD2): 200}
    assert {scope for _, scope in values("block-storage", scope_type="REGION")} == {None}
    with refused(404, "NotAuthorizedOrNotFound"):
        client.list_limit_values(sandbox.tenancy, "computing")


def test_a_paying_tenancy_has_more_but_its_free_part_is_the_same(tmp_path):
    with running(tmp_path, profile=Profile(account="payg", a1_ocpus=16, a1_memory_gb=96)) as here:
        client = here.client(oci.limits.LimitsClient)

        def value(service: str, name: str) -> int:
            return client.list_limit_values(here.tenancy, service, name=name).data[0].value

        assert value("compute", "standard-a1-core-count") == 16
        assert value("compute", "custom-image-count") > 0
        assert value("vcn", "reserved-public-ip-count") == 50
        assert value("block-storage", "total-free-storage-gb-regional") == 200
        assert ask(here, **{"total-storage-gb": 1000}) == "ok"


def availability(client, sandbox, service: str, name: str, ad: str | None = None):
    options = {"availability_domain": ad} if ad else {}
    found = client.get_resource_availability(service, name, sandbox.tenancy, **options).data
    return found.used, found.available


def test_use_is_what_exists(sandbox, client):
    def furnish(world: World) -> None:
        instance(world)
        instance(world, lifecycleState="STOPPED", memory=3)
        instance(world, lifecycleState="TERMINATED", memory=3)
        world.add(
            "instance",
            {
                "compartmentId": world.tenancy,
                "availabilityDomain": AD1,
                "shape": "VM.Standard.E2.1.Micro",
                "shapeConfig": {"ocpus": 1, "memoryInGBs": 1},
                "lifecycleState": "RUNNING",
            },
        )
        volume(world, 50)
        volume(world, 70, kind="volume")
        volume(world, 500, state="TERMINATED")
        volume(world, 50, ad=AD2)
        world.add("image", {"compartmentId": None, "lifecycleState": "AVAILABLE"})
        world.add("image", {"compartmentId": world.tenancy, "lifecycleState": "AVAILABLE"})
        for lifetime in ("RESERVED", "EPHEMERAL"):
            world.add("publicip", {"compartmentId": world.tenancy, "lifetime": lifetime, "lifecycleState": "ASSIGNED"})

    sandbox.inside(furnish)
    assert availability(client, sandbox, "compute", "standard-a1-core-count", AD1) == (2, 0)
    assert availability(client, sandbox, "compute", "standard-a1-memory-count", AD1) == (9, 3)
    assert availability(client, sandbox, "compute", "standard-a1-core-count", AD2) == (0, 2)
    assert availability(client, sandbox, "compute", "standard-a1-core-regional-count") == (2, 0)
    assert availability(client, sandbox, "compute", "standard-e2-micro-core-count", AD1) == (1, 1)
    assert availability(client, sandbox, "compute", "custom-image-count") == (1, -1)
    assert availability(client, sandbox, "block-storage", "total-storage-gb", AD1) == (120, 80)
    assert availability(client, sandbox, "block-storage", "total-free-storage-gb-regional") == (170, 30)
    assert availability(client, sandbox, "vcn", "reserved-public-ip-count") == (1, 0)


@pytest.mark.parametrize(
    ("question", "refusal"),
    [
        (("compute", "standard-a1-core-count", None), (400, "InvalidParameter", "availabilityDomain is required")),
        (("compute", "standard-a1-core-count", "AD-9"), (400, "InvalidParameter", "does not exist in region")),
        (("vcn", "vcn-count", AD1), (400, "InvalidParameter", "must not be given")),
        (("vcn", "standard-a1-core-count", AD1), (404, "NotAuthorizedOrNotFound", "")),
        (("compute", "no-such-count", None), (404, "NotAuthorizedOrNotFound", "")),
        (("vcn", "subnet-count", None), (404, "NotAuthorizedOrNotFound", "")),
    ],
)
def test_refused_questions(sandbox, client, question, refusal):
    with refused(*refusal):
        availability(client, sandbox, *question)


EXCEEDED = "LimitExceeded: The following service limits were exceeded: {}."


def test_a_refusal_names_every_limit_that_is_hit(sandbox):
    a1 = {"standard-a1-core-count": 1, "standard-a1-memory-count": 6}
    assert ask(sandbox, **a1) == "ok"
    sandbox.inside(lambda world: instance(world, ocpus=2, memory=12))
    assert ask(sandbox, **a1) == EXCEEDED.format(
        "standard-a1-core-count, standard-a1-memory-count, "
        "standard-a1-core-regional-count, standard-a1-memory-regional-count"
    )
    assert ask(sandbox, AD2, **a1) == EXCEEDED.format(
        "standard-a1-core-regional-count, standard-a1-memory-regional-count"
    )
    assert ask(sandbox, AD2, **{"standard-e2-micro-core-count": 1}) == EXCEEDED.format("standard-e2-micro-core-count")
    assert ask(sandbox, **{"standard-e4-core-count": 1}) == EXCEEDED.format("standard-e4-core-count")
    assert ask(sandbox, None, **{"vcn-count": 3, "nat-gateway-count": 1}) == EXCEEDED.format(
        "vcn-count, nat-gateway-count"
    )
    assert ask(sandbox, None, **{"network-load-balancer-count": 2}) == EXCEEDED.format("max-nlb-flexible-count")


def test_a_free_account_has_one_pool_of_storage_over_all_domains(sandbox):
    sandbox.inside(lambda world: volume(world, 150))
    assert ask(sandbox, AD2, **{"total-storage-gb": 50}) == "ok"
    assert ask(sandbox, AD2, **{"total-storage-gb": 51}) == EXCEEDED.format("total-free-storage-gb-regional")


def test_a_failed_launch_haunts_the_limits_for_an_hour(manual):
    client = manual.client(oci.limits.LimitsClient)
    needs = {"standard-a1-core-count": 2}
    manual.inside(
        lambda world: haunt(world, compartment=world.tenancy, region="uk-london-1", ad=AD1, needs=needs, seconds=3600)
    )
    assert availability(client, manual, "compute", "standard-a1-core-count", AD1) == (2, 0)
    assert ask(manual, **needs) == EXCEEDED.format("standard-a1-core-count, standard-a1-core-regional-count")
    manual.advance(3600)
    assert ask(manual, **needs) == "ok"


def test_limits_can_be_set_by_hand(sandbox, client):
    def value(ad: str) -> int:
        rows = client.list_limit_values(
            sandbox.tenancy, "compute", name="standard-a1-core-count", availability_domain=ad
        ).data
        return rows[0].value

    sandbox.inside(lambda world: limits.override(world, "standard-a1-core-count", 4))
    sandbox.inside(lambda world: limits.override(world, "standard-a1-core-count", 1, AD2))
    assert (value(AD1), value(AD2)) == (4, 1)
    sandbox.inside(lambda world: limits.override(world, "standard-a1-core-count", None))
    sandbox.inside(lambda world: limits.override(world, "*", 0))
    assert (value(AD1), value(AD2)) == (0, 1)
    assert ask(sandbox, None, **{"vcn-count": 1}) == EXCEEDED.format("vcn-count")


def test_mistakes_of_other_services_are_loud(sandbox):
    with pytest.raises(LookupError, match="no limit is called 'a1-count'"):
        ask(sandbox, **{"a1-count": 1})
    with pytest.raises(ValueError, match="say which one"):
        ask(sandbox, None, **{"standard-a1-core-count": 1})
    assert find("network-load-balancer-count").name == "max-nlb-flexible-count"
