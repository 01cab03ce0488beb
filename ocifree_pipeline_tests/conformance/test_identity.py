"""The unmodified SDK against the identity service, operation by operation."""

import oci
import pytest
from oci.identity import models
from oci.work_requests import WorkRequestClient

from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, other_keys, running


@pytest.fixture
def identity(sandbox: RunningSandbox) -> oci.identity.IdentityClient:
    return sandbox.client(oci.identity.IdentityClient)


def compartment(identity, tenancy: str, name: str = "apps"):
    details = models.CreateCompartmentDetails(compartment_id=tenancy, name=name, description="for tests")
    return identity.create_compartment(details)


def refused(status: int, code: str):
    return pytest.raises(oci.exceptions.ServiceError, check=lambda error: (error.status, error.code) == (status, code))


def test_tenancy_and_regions(sandbox, identity):
    tenancy = identity.get_tenancy(sandbox.tenancy).data
    assert (tenancy.id, tenancy.home_region_key) == (sandbox.tenancy, "LHR")
    assert "uk-london-1" in {region.name for region in identity.list_regions().data}
    (home,) = identity.list_region_subscriptions(sandbox.tenancy).data
    assert (home.region_name, home.status, home.is_home_region) == ("uk-london-1", "READY", True)
    with refused(404, "NotAuthorizedOrNotFound"):
        identity.get_tenancy("ocid1.tenancy.oc1..other")


def test_a_free_account_keeps_its_one_region(sandbox, identity):
    with refused(400, "LimitExceeded"):
        identity.create_region_subscription(models.CreateRegionSubscriptionDetails(region_key="FRA"), sandbox.tenancy)


def test_a_paying_account_subscribes_to_another_region(tmp_path):
    with running(tmp_path, mode="manual", profile=Profile(account="payg")) as here:
        identity = here.client(oci.identity.IdentityClient)
        wanted = models.CreateRegionSubscriptionDetails(region_key="FRA")
        assert identity.create_region_subscription(wanted, here.tenancy).data.status == "IN_PROGRESS"
        with refused(409, "Conflict"):
            identity.create_region_subscription(wanted, here.tenancy)
        here.advance(120)
        statuses = {one.region_name: one.status for one in identity.list_region_subscriptions(here.tenancy).data}
        assert statuses == {"uk-london-1": "READY", "eu-frankfurt-1": "READY"}
        assert here.inside(lambda world: len(world.availability_domains("eu-frankfurt-1"))) == 3


def test_availability_and_fault_domains(sandbox, identity):
    domains = identity.list_availability_domains(sandbox.tenancy).data
    assert [one.name for one in domains] == [f"Kfkm:UK-LONDON-1-AD-{n}" for n in (1, 2, 3)]
    faults = identity.list_fault_domains(sandbox.tenancy, domains[0].name).data
    assert [one.name for one in faults] == ["FAULT-DOMAIN-1", "FAULT-DOMAIN-2", "FAULT-DOMAIN-3"]
    with refused(400, "InvalidParameter"):
        identity.list_fault_domains(sandbox.tenancy, "Kfkm:UK-LONDON-1-AD-9")


def test_the_life_of_a_compartment(sandbox, identity):
    made = compartment(identity, sandbox.tenancy)
    assert made.data.lifecycle_state == "CREATING"
    assert made.headers["etag"]
    active = oci.wait_until(identity, identity.get_compartment(made.data.id), "lifecycle_state", "ACTIVE")
    update = models.UpdateCompartmentDetails(name="renamed")
    renamed = identity.update_compartment(made.data.id, update, if_match=active.headers["etag"])
    assert renamed.data.name == "renamed"
    assert renamed.headers["etag"] != active.headers["etag"]
    with refused(412, "NoEtagMatch"):
        identity.update_compartment(made.data.id, update, if_match=active.headers["etag"])
    gone = identity.delete_compartment(made.data.id)
    work = sandbox.client(WorkRequestClient)
    assert work.get_work_request(gone.headers["opc-work-request-id"]).data.status == "SUCCEEDED"
    assert identity.get_compartment(made.data.id).data.lifecycle_state == "DELETED"
    with refused(404, "NotAuthorizedOrNotFound"):
        identity.list_policies(made.data.id)


def test_a_compartment_with_something_inside_does_not_go(sandbox, identity):
    made = compartment(identity, sandbox.tenancy).data
    inner = compartment(identity, made.id, "inner").data
    gone = identity.delete_compartment(made.id)
    work = sandbox.client(WorkRequestClient)
    request = work.get_work_request(gone.headers["opc-work-request-id"]).data
    assert request.status == "FAILED"
    (error,) = work.list_work_request_errors(request.id).data
    assert "not empty" in error.message
    logs = work.list_work_request_logs(request.id, sort_order="ASC").data
    assert logs[0].message.startswith("DELETE_COMPARTMENT")
    assert [one.id for one in work.list_work_requests(made.id).data] == [request.id]
    assert identity.get_compartment(made.id).data.lifecycle_state == "ACTIVE"
    identity.delete_compartment(inner.id)
    identity.get_compartment(inner.id)
    identity.delete_compartment(made.id)
    assert identity.get_compartment(made.id).data.lifecycle_state == "DELETED"


def test_compartments_are_listed_filtered_and_paged(sandbox, identity):
    made = [compartment(identity, sandbox.tenancy, f"c{number}").data for number in range(5)]
    inner = compartment(identity, made[0].id, "inner").data
    tenancy = sandbox.tenancy
    page = identity.list_compartments(tenancy, limit=2, sort_by="NAME")
    assert [one.name for one in page.data] == ["c0", "c1"]
    everything = oci.pagination.list_call_get_all_results(identity.list_compartments, tenancy, limit=2, sort_by="NAME")
    assert [one.name for one in everything.data] == ["c0", "c1", "c2", "c3", "c4"]
    assert inner.id in {one.id for one in identity.list_compartments(tenancy, compartment_id_in_subtree=True).data}
    assert [one.id for one in identity.list_compartments(tenancy, name="c3").data] == [made[3].id]
    newest_first = identity.list_compartments(tenancy).data
    assert newest_first[0].name == "c4"
    with refused(400, "InvalidParameter"):
        identity.list_compartments(tenancy, limit=2, sort_by="TIMECREATED", page=page.next_page)
    with refused(400, "InvalidParameter"):
        identity.list_compartments(made[0].id, compartment_id_in_subtree=True)


def test_a_page_survives_what_vanished_before_it(sandbox, identity):
    for number in range(6):
        policy(identity, sandbox.tenancy, f"p{number}")
    first = identity.list_policies(sandbox.tenancy, limit=2, sort_by="NAME")
    identity.delete_policy(first.data[0].id)
    second = identity.list_policies(sandbox.tenancy, limit=2, sort_by="NAME", page=first.next_page)
    assert [one.name for one in second.data] == ["p2", "p3"]


def test_compartment_rules(sandbox, identity):
    made = compartment(identity, sandbox.tenancy).data
    with refused(409, "CompartmentAlreadyExists"):
        compartment(identity, sandbox.tenancy)
    with refused(400, "InvalidParameter"):
        compartment(identity, sandbox.tenancy, "a name with spaces")
    with refused(404, "NotAuthorizedOrNotFound"):
        compartment(identity, "ocid1.compartment.oc1..missing")
    with refused(400, "InvalidParameter"):
        identity.delete_compartment(sandbox.tenancy)
    identity.get_compartment(made.id)
    identity.delete_compartment(made.id)
    with refused(409, "IncorrectState"):
        identity.delete_compartment(made.id)


def test_a_compartment_moves_but_not_into_itself(sandbox, identity):
    left = compartment(identity, sandbox.tenancy, "left").data
    right = compartment(identity, sandbox.tenancy, "right").data
    identity.get_compartment(left.id)
    identity.move_compartment(right.id, models.MoveCompartmentDetails(target_compartment_id=left.id))
    assert identity.get_compartment(right.id).data.compartment_id == left.id
    with refused(400, "InvalidParameter"):
        identity.move_compartment(left.id, models.MoveCompartmentDetails(target_compartment_id=right.id))


def test_users(sandbox, identity):
    owner = identity.get_user(sandbox.config["user"]).data
    assert owner.name == "owner@example.com"
    details = models.CreateUserDetails(compartment_id=sandbox.tenancy, name="robot", description="for tests")
    robot = identity.create_user(details).data
    with refused(409, "UserAlreadyExists"):
        identity.create_user(details)
    assert {one.name for one in identity.list_users(sandbox.tenancy).data} == {"owner@example.com", "robot"}
    assert [one.id for one in identity.list_users(sandbox.tenancy, name="robot").data] == [robot.id]
    assert identity.update_user(robot.id, models.UpdateUserDetails(description="new")).data.description == "new"
    identity.delete_user(robot.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        identity.get_user(robot.id)


def test_an_api_key_speaks_until_it_is_revoked(sandbox, identity, tmp_path):
    user = sandbox.config["user"]
    key = identity.upload_api_key(user, models.CreateApiKeyDetails(key=other_keys().public_pem)).data
    assert {one.fingerprint for one in identity.list_api_keys(user).data} == {
        key.fingerprint,
        sandbox.config["fingerprint"],
    }
    with refused(409, "ApiKeyAlreadyExists"):
        identity.upload_api_key(user, models.CreateApiKeyDetails(key=other_keys().public_pem))
    with refused(400, "InvalidParameter"):
        identity.upload_api_key(user, models.CreateApiKeyDetails(key="no key at all"))
    (tmp_path / "second.pem").write_text(other_keys().private_pem)
    config = sandbox.config | {"fingerprint": key.fingerprint, "key_file": str(tmp_path / "second.pem")}
    second = oci.identity.IdentityClient(config, service_endpoint=sandbox.endpoint)
    assert second.get_user(user).data.id == user
    identity.delete_api_key(user, key.fingerprint)
    with refused(401, "NotAuthenticated"):
        second.get_user(user)
    with refused(404, "NotAuthorizedOrNotFound"):
        identity.delete_api_key(user, key.fingerprint)


def policy(identity, tenancy: str, name: str = "admins"):
    statements = ["Allow group Administrators to manage all-resources in tenancy"]
    details = models.CreatePolicyDetails(compartment_id=tenancy, name=name, description="d", statements=statements)
    return identity.create_policy(details).data


def test_policies(sandbox, identity):
    made = policy(identity, sandbox.tenancy)
    with refused(409, "PolicyAlreadyExists"):
        policy(identity, sandbox.tenancy)
    assert identity.get_policy(made.id).data.statements == made.statements
    assert [one.id for one in identity.list_policies(sandbox.tenancy).data] == [made.id]
    with refused(400, "InvalidParameter"):
        identity.update_policy(made.id, models.UpdatePolicyDetails(statements=["please let me in"]))
    assert identity.update_policy(made.id, models.UpdatePolicyDetails(description="new")).data.description == "new"
    identity.delete_policy(made.id)
    with refused(404, "NotAuthorizedOrNotFound"):
        identity.get_policy(made.id)


def test_every_request_is_recorded_as_verified(sandbox, identity):
    compartment(identity, sandbox.tenancy)
    identity.list_compartments(sandbox.tenancy)
    (created,) = sandbox.recorder.query(operation="CreateCompartment")
    assert (created.status, created.mutating, created.verified, created.service) == (200, True, True, "identity")
    assert sandbox.recorder.count(verified=True) == sandbox.recorder.total == 2
