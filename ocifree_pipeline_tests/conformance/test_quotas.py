"""The unmodified SDK against quota policies, and what the policies then refuse."""

import oci
import pytest
from oci.limits import models

from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.test_limits import AD1, AD2, ask, instance, refused, volume
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

REGION = "uk-london-1"
RECOMMENDED = f"""
zero compute-core quotas in tenancy
zero compute-memory quotas in tenancy
set compute-core quota standard-a1-core-count to 2 in tenancy where request.region = '{REGION}'
set compute-core quota standard-a1-core-regional-count to 2 in tenancy where request.region = '{REGION}'
set compute-memory quota standard-a1-memory-count to 12 in tenancy where request.region = '{REGION}'
set compute-memory quota standard-a1-memory-regional-count to 12 in tenancy where request.region = '{REGION}'
set compute-core quota standard-e2-micro-core-count to 2 in tenancy where request.region = '{REGION}'
zero block-storage quota total-storage-gb in tenancy
set block-storage quota total-storage-gb to 200 in tenancy where request.ad = '{AD1}'
set block-storage quota backup-count to 5 in tenancy
set object-storage quota storage-bytes to 20000000000 in tenancy
set vcn quota vcn-count to 2 in tenancy
set vcn quota reserved-public-ip-count to 2 in tenancy
zero load-balancer quotas in tenancy
zero compute-management quotas in tenancy
zero auto-scaling quotas in tenancy
zero database quotas in tenancy
zero filesystem quotas in tenancy
zero kms quota virtual-private-vault-count in tenancy
""".strip().splitlines()

A1 = {"standard-a1-core-count": 1, "standard-a1-memory-count": 6}


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, profile=Profile(account="payg", a1_ocpus=16, a1_memory_gb=96)) as here:
        yield here


def quotas_of(sandbox: RunningSandbox) -> oci.limits.QuotasClient:
    return sandbox.client(oci.limits.QuotasClient)


def create(sandbox: RunningSandbox, *statements: str, name: str = "guard"):
    details = models.CreateQuotaDetails(
        compartment_id=sandbox.tenancy, name=name, description="for tests", statements=list(statements)
    )
    made = quotas_of(sandbox).create_quota(details).data
    quotas_of(sandbox).list_quotas(sandbox.tenancy)  # one more request, so that the policy is in force
    return made


def compartment(sandbox: RunningSandbox, name: str, parent: str = "") -> str:
    identity = sandbox.client(oci.identity.IdentityClient)
    details = oci.identity.models.CreateCompartmentDetails(
        compartment_id=parent or sandbox.tenancy, name=name, description="d"
    )
    made = identity.create_compartment(details).data.id
    identity.get_compartment(made)
    return made


def exceeded(*names: str) -> str:
    return f"QuotaExceeded: The following compartment quotas were exceeded: {', '.join(names)}. Check the policy."


def test_the_life_of_a_quota(sandbox):
    quotas = quotas_of(sandbox)
    made = create(sandbox, *RECOMMENDED)
    assert made.lifecycle_state == "ACTIVE"
    assert made.statements == RECOMMENDED
    got = quotas.get_quota(made.id)
    update = models.UpdateQuotaDetails(description="new", freeform_tags={"by": "tests"})
    changed = quotas.update_quota(made.id, update, if_match=got.headers["etag"]).data
    assert (changed.description, changed.statements) == ("new", RECOMMENDED)
    with refused(412, "NoEtagMatch"):
        quotas.update_quota(made.id, update, if_match=got.headers["etag"])
    with refused(409, "QuotaAlreadyExists"):
        create(sandbox, "zero vcn quotas in tenancy")
    other = create(sandbox, "zero vcn quotas in tenancy", name="another")
    assert [one.name for one in quotas.list_quotas(sandbox.tenancy).data] == ["another", "guard"]
    assert [one.id for one in quotas.list_quotas(sandbox.tenancy, name="guard").data] == [made.id]
    page = quotas.list_quotas(sandbox.tenancy, limit=1)
    assert [one.id for one in quotas.list_quotas(sandbox.tenancy, limit=1, page=page.next_page).data] == [made.id]
    quotas.delete_quota(other.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        quotas.get_quota(other.id)


def test_a_quota_lives_in_the_tenancy_only(sandbox):
    inner = compartment(sandbox, "apps")
    details = models.CreateQuotaDetails(
        compartment_id=inner, name="guard", description="d", statements=["zero vcn quotas in tenancy"]
    )
    with refused(400, "InvalidParameter", "must be the tenancy"):
        quotas_of(sandbox).create_quota(details)


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([], "at least one statement"),
        (["zero compute-gpu quotas in tenancy"], "'compute-gpu' is not a service family"),
        (["zero vcn quotas in compartment nowhere"], "there is no compartment 'nowhere'"),
        (
            [
                "zero vcn quotas in tenancy",
                "zero vcn quotas in tenancy where request.region = 'a' and request.ad = 'b'",
            ],
            "'and' is too much",
        ),
    ],
)
def test_bad_statements_are_refused_and_change_nothing(sandbox, statements, message):
    with refused(400, "InvalidParameter", message):
        create(sandbox, *statements)
    made = create(sandbox, "zero vcn quotas in tenancy")
    with refused(400, "InvalidParameter", message):
        quotas_of(sandbox).update_quota(made.id, models.UpdateQuotaDetails(statements=statements))
    assert ask(sandbox, None, **{"vcn-count": 1}) == exceeded("vcn-count")


def test_the_recommended_policy_lets_through_what_is_free_and_refuses_the_rest(paying):
    create(paying, *RECOMMENDED)
    both = A1 | {"total-storage-gb": 50}
    assert ask(paying, **both) == "ok"
    assert ask(paying, **{"standard-e2-micro-core-count": 2}) == "ok"
    assert ask(paying, **{"standard-e4-core-count": 1, "standard-e4-memory-count": 16}) == exceeded(
        "standard-e4-core-count", "standard-e4-memory-count"
    )
    assert ask(paying, AD2, **{"total-storage-gb": 50}) == exceeded("total-storage-gb")
    assert ask(paying, None, **{"lb-flexible-count": 1}) == exceeded("lb-flexible-count")
    assert ask(paying, None, **{"network-load-balancer-count": 1}) == "ok", "no quota family covers it"
    paying.inside(lambda world: instance(world, ocpus=2, memory=12))
    assert ask(paying, AD2, **A1) == exceeded("standard-a1-core-regional-count", "standard-a1-memory-regional-count")
    found = paying.client(oci.limits.LimitsClient).get_resource_availability(
        "compute", "standard-a1-core-count", paying.tenancy, availability_domain=AD1
    )
    assert (found.data.used, found.data.available, found.data.effective_quota_value) == (2, 0, 2)


def test_forgetting_the_regional_name_refuses_every_launch(paying):
    create(
        paying,
        "zero compute-core quotas in tenancy",
        "set compute-core quota standard-a1-core-count to 2 in tenancy",
    )
    assert ask(paying, **A1) == exceeded("standard-a1-core-regional-count")


def test_service_limits_come_first_and_win_over_larger_quotas(sandbox):
    create(sandbox, "set vcn quota vcn-count to 9 in tenancy")
    assert ask(sandbox, None, **{"vcn-count": 3}).startswith("LimitExceeded")


def test_later_statements_override_earlier_ones(sandbox):
    create(sandbox, "set vcn quota vcn-count to 2 in tenancy", "zero vcn quotas in tenancy")
    assert ask(sandbox, None, **{"vcn-count": 1}) == exceeded("vcn-count")


def test_the_strictest_of_several_policies_counts(sandbox):
    create(sandbox, "set vcn quota vcn-count to 1 in tenancy", name="one")
    create(sandbox, "set vcn quota vcn-count to 2 in tenancy", name="two")
    assert ask(sandbox, None, **{"vcn-count": 1}) == "ok"
    assert ask(sandbox, None, **{"vcn-count": 2}) == exceeded("vcn-count")


def test_compartments_inherit_and_what_they_use_counts_for_their_parents(paying):
    apps = compartment(paying, "apps")
    web = compartment(paying, "web", apps)
    other = compartment(paying, "other")
    create(paying, "set block-storage quota total-storage-gb to 100 in compartment apps")
    gb = {"total-storage-gb": 60}
    assert ask(paying, compartment=web, **gb) == "ok"
    paying.inside(lambda world: volume(world, 60).body.update(compartmentId=web))
    assert ask(paying, compartment=web, **gb) == exceeded("total-storage-gb")
    assert ask(paying, compartment=apps, **gb) == exceeded("total-storage-gb")
    assert ask(paying, AD2, compartment=apps, **gb) == "ok", "the quota is one for each availability domain"
    assert ask(paying, compartment=other, **gb) == "ok"


def test_unset_frees_a_compartment_from_what_its_parent_was_given(paying):
    apps = compartment(paying, "apps")
    create(paying, "zero vcn quotas in tenancy", "unset vcn quota vcn-count in compartment apps")
    assert ask(paying, None, compartment=apps, **{"vcn-count": 1}) == "ok"
    assert ask(paying, None, **{"vcn-count": 1}) == exceeded("vcn-count")
    assert ask(paying, None, compartment=apps, **{"reserved-public-ip-count": 1}) == exceeded(
        "reserved-public-ip-count"
    )


def test_nested_compartments_are_written_with_colons(paying):
    web = compartment(paying, "web", compartment(paying, "apps"))
    with refused(400, "InvalidParameter", "there is no compartment 'web'"):
        create(paying, "zero vcn quotas in compartment web")
    create(paying, "zero vcn quotas in compartment apps:web")
    assert ask(paying, None, compartment=web, **{"vcn-count": 1}) == exceeded("vcn-count")


def test_a_policy_is_in_force_after_a_while_and_gone_at_once(manual):
    made = create(manual, "zero vcn quotas in tenancy")
    assert ask(manual, None, **{"vcn-count": 1}) == "ok"
    manual.advance(120)
    assert ask(manual, None, **{"vcn-count": 1}) == exceeded("vcn-count")
    quotas_of(manual).delete_quota(made.id)
    assert ask(manual, None, **{"vcn-count": 1}) == "ok"
