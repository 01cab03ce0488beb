"""The chain around every operation: routes, hosts, retry tokens, faults, records, and the check of replies."""

import re
import threading

import oci
import pytest
import requests
from oci.identity import models

from ocifree_pipeline.sandbox import snapshot
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.oracle.wire import Call, Operation, Reply, Router, Service, load_services
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline.sandbox.world import TRANSITIONS
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

PATH = "/20160918/compartments"


def details(sandbox: RunningSandbox, name: str = "apps") -> models.CreateCompartmentDetails:
    return models.CreateCompartmentDetails(compartment_id=sandbox.tenancy, name=name, description="for tests")


def identity(sandbox: RunningSandbox, **options: object) -> oci.identity.IdentityClient:
    return sandbox.client(oci.identity.IdentityClient, **options)


def names(sandbox: RunningSandbox) -> list[str]:
    return sandbox.inside(lambda world: [one.body["name"] for one in world.all("compartment")][1:])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PATCH", "/20160918/regions", 405, "MethodNotAllowed"),
        ("GET", "/20160918/networkSources", 501, "MethodNotImplemented"),
        ("GET", "/20160918/users/ocid1.user.oc1..none", 404, "NotAuthorizedOrNotFound"),
        ("GET", "/20160918/compartments", 400, "MissingParameter"),
        ("GET", "/20160918/compartments?compartmentId=%(tenancy)s&limit=0", 400, "InvalidParameter"),
        ("GET", "/20160918/compartments?compartmentId=%(tenancy)s&limit=many", 400, "InvalidParameter"),
        ("GET", "/20160918/compartments?compartmentId=%(tenancy)s&page=bm9uc2Vuc2U=", 400, "InvalidParameter"),
        ("GET", "/20160918/compartments?compartmentId=%(tenancy)s&page=%%%%", 400, "InvalidParameter"),
        ("GET", "/20160918/compartments?compartmentId=%(tenancy)s&sortBy=SIZE", 400, "InvalidParameter"),
        ("GET", "/20160918/compartments?compartmentId=%(tenancy)s&compartmentIdInSubtree=yes", 400, "InvalidParameter"),
        ("POST", "/20160918/compartments", 400, "CannotParseRequest"),
    ],
)
def test_refusals_of_the_frame(sandbox, method, path, status, code):
    response = sandbox.request(method, path % {"tenancy": sandbox.tenancy})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert sandbox.recorder.count(status=status, code=code) == 1


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        ("{", "application/json", 400, "CannotParseRequest"),
        ("null", "application/json", 400, "CannotParseRequest"),
        ('{"name": NaN}', "application/json", 400, "CannotParseRequest"),
        ("a=b", "application/x-www-form-urlencoded", 415, "UnsupportedMediaType"),
        (" " * (2 * 1024 * 1024 + 1), "application/json", 413, "RequestEntityTooLarge"),
        ('{"colour": "red"}', "application/json", 400, "InvalidParameter"),
    ],
)
def test_refusals_of_bodies(sandbox, body, kind, status, code):
    response = sandbox.request("POST", PATH, data=body, headers={"content-type": kind})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert names(sandbox) == []


def test_request_ids_extend_what_the_client_sent(sandbox):
    plain = sandbox.request("GET", "/20160918/regions").headers["opc-request-id"]
    assert re.fullmatch(r"[A-Z2-7]{32}/[A-Z2-7]{32}/[A-Z2-7]{32}", plain)
    mine = sandbox.request("GET", "/20160918/regions", headers={"opc-request-id": "mine"}).headers["opc-request-id"]
    assert mine.startswith("mine/")


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("identity.uk-london-1.oci.oraclecloud.com", "/20160918/regions", 200),
        ("identity.uk-london-1.oraclecloud.com:443", "/20160918/regions", 200),
        ("IDENTITY.uk-london-1.oci.oraclecloud.com", "/20160918/regions", 200),
        ("iaas.uk-london-1.oraclecloud.com", "/20160918/regions", 501),
        ("identity.eu-frankfurt-1.oci.oraclecloud.com", "/20160918/regions", 401),
        ("identity.uk-london-1.oci.oraclecloud.com.example.net", "/20160918/regions", 501),
        ("www.example.net", "/", 501),
    ],
)
def test_the_host_says_which_service_and_region_is_meant(sandbox, host, path, status):
    assert sandbox.request("GET", path, host=host).status_code == status


def test_hosts_that_real_clients_build_are_known():
    import oci.budget
    import oci.core
    import oci.dns
    import oci.limits
    import oci.load_balancer
    import oci.network_load_balancer
    import oci.object_storage
    import oci.usage_api
    import oci.work_requests

    from ocifree_pipeline_tests.sandbox.harness import owner_keys

    config = {
        "tenancy": "ocid1.tenancy.oc1..a",
        "user": "ocid1.user.oc1..a",
        "fingerprint": ":".join(["00"] * 16),
        "key_content": owner_keys().private_pem,
        "region": "uk-london-1",
    }
    clients = {
        oci.identity.IdentityClient: "identity",
        oci.core.ComputeClient: "iaas",
        oci.core.VirtualNetworkClient: "iaas",
        oci.core.BlockstorageClient: "iaas",
        oci.work_requests.WorkRequestClient: "iaas",
        oci.object_storage.ObjectStorageClient: "objectstorage",
        oci.budget.BudgetClient: "budget",
        oci.usage_api.UsageapiClient: "usageapi",
        oci.limits.LimitsClient: "limits",
        oci.limits.QuotasClient: "limits",
        oci.dns.DnsClient: "dns",
        oci.load_balancer.LoadBalancerClient: "loadbalancer",
        oci.network_load_balancer.NetworkLoadBalancerClient: "networkloadbalancer",
    }
    for client, service in clients.items():
        host = re.sub(r"\{[^}]*\}", "", client(config).base_client.endpoint).split("/")[2]
        destination = load_services().destination(host, "us-phoenix-1")
        assert destination is not None, host
        assert service in destination.services
        assert destination.region == "uk-london-1"


def test_another_region_has_no_home_rights(tmp_path):
    with running(tmp_path) as here:
        here.inside(lambda world: world.profile["availabilityDomains"].update({"eu-frankfurt-1": []}))
        host = "identity.eu-frankfurt-1.oci.oraclecloud.com"
        assert here.request("GET", "/20160918/regions", host=host).status_code == 200
        response = here.request(
            "POST",
            PATH,
            json={"compartmentId": here.tenancy, "name": "n", "description": "d"},
            host=host,
        )
        assert (response.status_code, response.json()["code"]) == (403, "NotAllowed")


# retry tokens ---------------------------------------------------------------------------------------------------


def test_the_same_token_and_body_get_the_same_reply(manual):
    client = identity(manual)
    first = client.create_compartment(details(manual), opc_retry_token="t1")
    again = client.create_compartment(details(manual), opc_retry_token="t1")
    assert again.data == first.data
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["opc-request-id"] != first.headers["opc-request-id"]
    assert names(manual) == ["apps"]
    assert manual.recorder.count(replayed=True) == 1


@pytest.mark.parametrize("case", ["other body", "gone", "too long"])
def test_tokens_that_may_not_be_used(manual, case):
    client = identity(manual)
    made = client.create_compartment(details(manual), opc_retry_token="t1").data
    name, token, status, code = "apps", "t1", 409, "InvalidatedRetryToken"
    if case == "other body":
        name = "other"
    elif case == "gone":
        manual.inside(lambda world: world.set_state("compartment", made.id, "DELETED"))
    else:
        token, status, code = "x" * 65, 400, "InvalidParameter"
    with pytest.raises(oci.exceptions.ServiceError) as refused:
        client.create_compartment(details(manual, name), opc_retry_token=token)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_a_token_lives_for_a_day_of_virtual_time(manual):
    client = identity(manual)
    client.create_compartment(details(manual), opc_retry_token="t1")
    manual.advance(24 * 3600 - 1)
    client.create_compartment(details(manual), opc_retry_token="t1")
    manual.advance(1)
    with pytest.raises(oci.exceptions.ServiceError, match="already exists"):
        client.create_compartment(details(manual), opc_retry_token="t1")


def test_a_refused_request_does_not_use_up_its_token(manual):
    client = identity(manual)
    with pytest.raises(oci.exceptions.ServiceError):
        client.create_compartment(details(manual, "not a name"), opc_retry_token="t1")
    client.create_compartment(details(manual), opc_retry_token="t1")
    assert names(manual) == ["apps"]


def test_tokens_of_two_operations_do_not_meet(manual):
    client = identity(manual)
    client.create_compartment(details(manual), opc_retry_token="t1")
    user = models.CreateUserDetails(compartment_id=manual.tenancy, name="robot", description="d")
    assert client.create_user(user, opc_retry_token="t1").data.name == "robot"


# faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "commits", "seen"),
    [
        ("before", False, 429),
        ("after", True, 429),
        ("drop", False, requests.exceptions.ConnectionError),
        ("reset", True, requests.exceptions.ConnectionError),
        ("truncate", True, requests.exceptions.ChunkedEncodingError),
        ("slow", True, 200),
    ],
)
def test_every_moment_of_a_fault(sandbox, moment, commits, seen):
    rule = sandbox.faults.add(
        Rule(
            "identity", "Create*", moment, 429, "TooManyRequests", "slow down", delay=0.01, headers={"retry-after": "1"}
        )
    )
    body = {"compartmentId": sandbox.tenancy, "name": "apps", "description": "d"}
    if isinstance(seen, int):
        response = sandbox.request("POST", PATH, json=body)
        assert response.status_code == seen
        assert response.headers.get("retry-after") == ("1" if seen == 429 else None)
    else:
        with pytest.raises(seen):
            sandbox.request("POST", PATH, json=body)
    assert names(sandbox) == (["apps"] if commits else [])
    (fired,) = sandbox.faults.fired
    assert (fired.rule, fired.moment, fired.operation) == (rule.number, moment, "CreateCompartment")
    (entry,) = sandbox.recorder.query(fault=rule.number)
    assert entry.request_id == fired.request_id
    assert sandbox.request("GET", "/20160918/regions").status_code == 200


def test_a_lost_reply_is_found_again_by_the_token(sandbox):
    sandbox.faults.add(Rule("identity", "CreateCompartment", "after", 503, "ServiceUnavailable"))
    builder = oci.retry.RetryStrategyBuilder(
        max_attempts=3, retry_base_sleep_time_seconds=0.01, retry_max_wait_between_calls_seconds=0.01
    )
    made = identity(sandbox).create_compartment(details(sandbox), retry_strategy=builder.get_retry_strategy())
    assert made.status == 200
    assert names(sandbox) == ["apps"]
    assert [one.replayed for one in sandbox.recorder.query(operation="CreateCompartment")] == [False, True]


def test_rules_strike_as_often_as_they_say_and_no_other_operation(sandbox):
    sandbox.faults.add(Rule("identity", "ListRegions", times=2))
    statuses = [sandbox.request("GET", "/20160918/regions").status_code for _ in range(3)]
    assert statuses == [500, 500, 200]
    assert sandbox.request("GET", f"/20160918/tenancies/{sandbox.tenancy}").status_code == 200


def test_chance_is_the_same_for_the_same_seed(tmp_path):
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with running(tmp_path / name) as here:
            here.faults.add(Rule("*", "ListRegions", probability=0.5, times=None))
            runs.append([here.request("GET", "/20160918/regions").status_code for _ in range(12)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [({"moment": "later"}, "choose one of"), ({"probability": 2}, "between 0 and 1"), ({"status": 200}, "no error")],
)
def test_a_wrong_rule_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Rule(**wrong)


# registration ---------------------------------------------------------------------------------------------------


def test_a_reply_that_the_sdk_would_not_understand_fails_the_test_that_sees_it(tmp_path):
    operations: dict[str, list[Operation]] = {}

    @Service("identity", operations).get("/regions", operation="ListRegions", reply="list[oci.identity.models.Region]")
    def list_regions(_call: Call) -> Reply:
        return Reply([{"key": "LHR", "colour": "red"}])

    with (
        pytest.raises(AssertionError, match="colour"),
        running(tmp_path, router=Router(operations)) as here,
    ):
        assert here.request("GET", "/20160918/regions").status_code == 500


def test_two_operations_cannot_share_a_path():
    operations: dict[str, list[Operation]] = {}
    service = Service("iaas", operations)
    service.get("/vcns", operation="ListVcns")(lambda call: Reply([]))
    with pytest.raises(ValueError, match="two operations"):
        service.get("/vcns", operation="ListVcnsAgain")(lambda call: Reply([]))
    with pytest.raises(ValueError, match="no hosts"):
        Service("kitchen", operations)


def test_a_literal_path_wins_over_a_parameter():
    operations: dict[str, list[Operation]] = {}
    service = Service("iaas", operations)
    service.post("/publicIps/{id}/{verb}", operation="General")(lambda call: Reply())
    service.post("/publicIps/actions/getByIpAddress", operation="Special")(lambda call: Reply())
    router = Router(operations)
    destination = router.destination("127.0.0.1:1", "uk-london-1")
    assert destination is not None
    special = router.route(destination, "POST", "/20160918/publicIps/actions/getByIpAddress")
    general = router.route(destination, "POST", "/20160918/publicIps/x%2Fy/z/")
    assert special is not None
    assert special.operation.name == "Special"
    assert general is not None
    assert general.parameters == {"id": "x/y", "verb": "z"}


# the running sandbox --------------------------------------------------------------------------------------------


def test_a_snapshot_turns_a_running_sandbox_back(sandbox, tmp_path):
    client = identity(sandbox)
    client.create_compartment(details(sandbox, "before"))
    sandbox.inside(lambda world: snapshot.save(world, tmp_path / "saved"))
    client.create_compartment(details(sandbox, "after"))
    sandbox.inside(lambda world: snapshot.restore(world, tmp_path / "saved"))
    assert [one.name for one in client.list_compartments(sandbox.tenancy).data] == ["before"]
    again = client.create_compartment(details(sandbox, "after")).data
    assert again.name == "after"


def test_time_works_while_nobody_asks(tmp_path):
    rung = threading.Event()
    with running(tmp_path, mode="seconds") as here:
        TRANSITIONS["test.ring"] = lambda _world: rung.set()
        try:
            here.inside(lambda world: world.clock.later(0, "test.ring"))
            assert rung.wait(10)
        finally:
            del TRANSITIONS["test.ring"]
        assert here.recorder.total == 0


def test_the_recorder_forgets_the_oldest_and_counts_all():
    recorder = Recorder(capacity=2)
    for number in range(3):
        recorder.add(
            Entry("t", "h", "GET", "/", "identity", f"Op{number}", 200, "", "id", mutating=False, verified=True)
        )
    assert [entry.operation for entry in recorder] == ["Op1", "Op2"]
    assert (recorder.total, recorder.count(operation="Op2"), recorder.count(operation="Op0")) == (3, 1, 0)
    recorder.clear()
    assert (recorder.total, list(recorder)) == (0, [])
