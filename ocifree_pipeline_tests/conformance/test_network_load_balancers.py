"""The unmodified SDK against network load balancers: their parts, their work requests, their health."""

import oci
import pytest
from oci.network_load_balancer import NetworkLoadBalancerClient, models

from ocifree_pipeline.sandbox.oracle import balancer_health
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.network import create_network, refused, running_machine
from ocifree_pipeline_tests.sandbox.harness import running


@pytest.fixture
def network(sandbox):
    return create_network(sandbox)


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, profile=Profile(account="payg")) as here:
        yield create_network(here)


def client_of(network) -> NetworkLoadBalancerClient:
    return network.client_of(NetworkLoadBalancerClient)


def details(network, **options):
    needed = {"compartment_id": network.tenancy, "display_name": "nlb", "subnet_id": network.public.id}
    return models.CreateNetworkLoadBalancerDetails(**needed | options)


def create(network, **options):
    made = client_of(network).create_network_load_balancer(details(network, **options)).data
    network.settle()
    return client_of(network).get_network_load_balancer(made.id).data


def checker(**options):
    return models.HealthCheckerDetails(**{"protocol": "TCP", "port": 22} | options)


def set_details(name="api", **options):
    needed = {"name": name, "policy": "FIVE_TUPLE", "health_checker": checker()}
    return models.CreateBackendSetDetails(**needed | options)


def backend(**options):
    return models.BackendDetails(**{"ip_address": "10.0.1.50", "port": 6443} | options)


def with_set(network, *backends, **options):
    """A balancer with one backend set ``api`` and one listener ``api`` on port 6443."""
    api = models.BackendSetDetails(
        policy="FIVE_TUPLE", health_checker=models.HealthChecker(protocol="TCP", port=22), backends=list(backends)
    )
    listener = models.ListenerDetails(name="api", default_backend_set_name="api", port=6443, protocol="TCP")
    return create(network, backend_sets={"api": api}, listeners={"api": listener}, **options)


def work(network, reply):
    return client_of(network).get_work_request(reply.headers["opc-work-request-id"]).data


def test_the_life_of_a_network_load_balancer(tmp_path):
    with running(tmp_path, mode="manual") as here:
        network = create_network(here)
        client = client_of(network)
        made = client.create_network_load_balancer(details(network))
        assert (made.data.lifecycle_state, made.data.ip_addresses) == ("CREATING", [])
        request = work(network, made)
        assert (request.operation_type, request.status) == ("CREATE_NETWORK_LOAD_BALANCER", "IN_PROGRESS")
        assert request.resources[0].action_type == "IN_PROGRESS"
        here.advance(15)
        assert work(network, made).percent_complete == 50
        with refused(409, "Conflict", "from Creating to Updating"):
            client.create_backend_set(made.data.id, set_details())
        here.advance(15)
        request = work(network, made)
        assert (request.status, request.percent_complete) == ("SUCCEEDED", 100)
        assert [(one.action_type, one.identifier) for one in request.resources] == [("CREATED", made.data.id)]
        there = client.get_network_load_balancer(made.data.id).data
        assert there.lifecycle_state == "ACTIVE"
        public, private = sorted(there.ip_addresses, key=lambda one: not one.is_public)
        assert public.ip_address.startswith(("203.0.113.", "198.51.100.", "192.0.2."))
        assert private.ip_address.startswith("10.0.1.")
        with refused(409, "Conflict", f"references the load balancer {there.id}"):
            network.client.delete_subnet(network.public.id)

        changed = client.create_backend_set(there.id, set_details())
        assert client.get_network_load_balancer(there.id).data.lifecycle_state == "UPDATING"
        with refused(409, "Conflict", "from Updating to Updating"):
            client.create_backend_set(there.id, set_details("other"))
        with refused(404, "NotAuthorizedOrNotFound", "api"):
            client.get_backend_set(there.id, "api")
        here.advance(5)
        assert work(network, changed).status == "SUCCEEDED"
        assert client.get_backend_set(there.id, "api").data.policy == "FIVE_TUPLE"

        gone = client.delete_network_load_balancer(there.id)
        assert client.get_network_load_balancer(there.id).data.lifecycle_state == "DELETING"
        here.advance(20)
        assert work(network, gone).resources[0].action_type == "DELETED"
        assert client.get_network_load_balancer(there.id).data.lifecycle_state == "DELETED"
        network.client.delete_subnet(network.public.id)
        here.advance(61)
        with refused(404, "NotAuthorizedOrNotFound"):
            client.get_network_load_balancer(there.id)
        listed = client.list_work_requests(network.tenancy).data.items
        assert [one.operation_type for one in listed] == [
            "DELETE_NETWORK_LOAD_BALANCER",
            "CREATE_BACKENDSET",
            "CREATE_NETWORK_LOAD_BALANCER",
        ]
        logs = client.list_work_request_logs(listed[0].id, network.tenancy).data.items
        assert [one.message.rpartition(" ")[2] for one in logs] == ["started", "succeeded"]
        assert client.list_work_request_errors(listed[0].id, network.tenancy).data.items == []


def test_a_free_account_has_one(network):
    create(network)
    with refused(400, "LimitExceeded", "nlb"):
        create(network)


def test_balancers_are_listed_and_updated(paying):
    client = client_of(paying)
    ids = {name: create(paying, display_name=name).id for name in ("b", "a")}
    listed = client.list_network_load_balancers(paying.tenancy, sort_by="displayName").data.items
    assert [one.display_name for one in listed] == ["a", "b"]
    assert [one.id for one in client.list_network_load_balancers(paying.tenancy, display_name="b").data.items] == [
        ids["b"]
    ]
    page = client.list_network_load_balancers(paying.tenancy, limit=1)
    assert len(page.data.items) == 1
    assert page.has_next_page
    update = models.UpdateNetworkLoadBalancerDetails(display_name="new", freeform_tags={"a": "b"})
    client.update_network_load_balancer(ids["a"], update)
    there = client.get_network_load_balancer(ids["a"]).data
    assert (there.display_name, there.freeform_tags, there.lifecycle_state) == ("new", {"a": "b"}, "ACTIVE")


def test_backends_come_change_and_go(network):
    client = client_of(network)
    balancer = with_set(network, models.Backend(ip_address="10.0.1.50", port=6443)).id
    client.create_backend(balancer, models.CreateBackendDetails(ip_address="10.0.1.51", port=6443, weight=2), "api")
    names = [one.name for one in client.list_backends(balancer, "api").data.items]
    assert names == ["10.0.1.50:6443", "10.0.1.51:6443"]
    client.update_backend(balancer, models.UpdateBackendDetails(is_drain=True), "api", names[1])
    there = client.get_backend(balancer, "api", names[1]).data
    assert (there.weight, there.is_drain, there.is_backup) == (2, True, False)
    with refused(409, "NotAuthorizedOrResourceAlreadyExists", "Duplicate backend"):
        client.create_backend(balancer, models.CreateBackendDetails(ip_address="10.0.1.50", port=6443), "api")
    client.delete_backend(balancer, "api", names[0])
    assert [one.name for one in client.get_backend_set(balancer, "api").data.backends] == [names[1]]
    with refused(404, "NotAuthorizedOrNotFound"):
        client.delete_backend(balancer, "api", names[0])


def test_a_backend_is_a_private_ip_or_an_instance(network):
    client = client_of(network)
    balancer = with_set(network).id
    private = network.primary_ip(network.vnic())
    client.create_backend(balancer, models.CreateBackendDetails(target_id=private.id, port=6443), "api")
    (made,) = client.list_backends(balancer, "api").data.items
    assert (made.name, made.target_id, made.ip_address) == (f"{private.id}:6443", private.id, None)
    with refused(400, "RelatedResourceNotAuthorizedOrNotFound"):
        client.create_backend(balancer, models.CreateBackendDetails(target_id="ocid1.none", port=6443), "api")


def test_sets_checkers_and_listeners_change(network):
    client = client_of(network)
    balancer = with_set(network).id
    client.update_backend_set(balancer, models.UpdateBackendSetDetails(policy="TWO_TUPLE"), "api")
    there = client.get_backend_set(balancer, "api").data
    assert (there.policy, there.health_checker.port) == ("TWO_TUPLE", 22)
    client.update_health_checker(
        balancer, models.UpdateHealthCheckerDetails(protocol="HTTPS", url_path="/healthz"), "api"
    )
    kept = client.get_health_checker(balancer, "api").data
    assert (kept.protocol, kept.url_path, kept.return_code, kept.port) == ("HTTPS", "/healthz", 200, 22)
    client.update_listener(balancer, models.UpdateListenerDetails(port=443), "api")
    assert client.get_listener(balancer, "api").data.port == 443
    client.create_listener(
        balancer,
        models.CreateListenerDetails(name="talos", default_backend_set_name="api", port=50000, protocol="TCP"),
    )
    assert [one.name for one in client.list_listeners(balancer).data.items] == ["api", "talos"]
    with refused(409, "Conflict", "in use by the listener"):
        client.delete_backend_set(balancer, "api")
    client.delete_listener(balancer, "api")
    client.delete_listener(balancer, "talos")
    client.delete_backend_set(balancer, "api")
    assert client.list_backend_sets(balancer).data.items == []


@pytest.mark.parametrize(
    ("change", "status", "code", "text"),
    [
        (lambda c, n: c.create_backend_set(n, set_details()), 409, "NotAuthorizedOrResourceAlreadyExists", "api"),
        (lambda c, n: c.create_backend_set(n, set_details("a b")), 400, "InvalidParameter", "name"),
        (
            lambda c, n: c.create_backend_set(n, set_details("x", health_checker=checker(retries=0))),
            400,
            "InvalidParameter",
            "retries",
        ),
        (
            lambda c, n: c.create_backend_set(n, set_details("x", health_checker=checker(protocol="UDP"))),
            400,
            "MissingParameter",
            "requestData",
        ),
        (
            lambda c, n: c.create_backend_set(n, set_details("x", backends=[backend(), backend()])),
            409,
            "NotAuthorizedOrResourceAlreadyExists",
            "Duplicate",
        ),
        (
            lambda c, n: c.create_backend_set(n, set_details("x", backends=[backend(target_id="ocid1.x")])),
            400,
            "InvalidParameter",
            "only one",
        ),
        (
            lambda c, n: c.create_backend_set(n, set_details("x", backends=[backend(port=65536)])),
            400,
            "InvalidParameter",
            "port",
        ),
        (lambda c, n: c.create_listener(n, listener("api")), 409, "NotAuthorizedOrResourceAlreadyExists", "api"),
        (lambda c, n: c.create_listener(n, listener("x", default_backend_set_name="y")), 400, "InvalidParameter", "y"),
        (lambda c, n: c.create_listener(n, listener("x")), 409, "NotAuthorizedOrResourceAlreadyExists", "6443"),
        (lambda c, n: c.create_listener(n, listener("x", port=0)), 400, "InvalidParameter", "ANY"),
        (lambda c, n: c.delete_listener(n, "x"), 404, "NotAuthorizedOrNotFound", "x"),
        (
            lambda c, n: c.update_backend_set(n, models.UpdateBackendSetDetails(), "x"),
            404,
            "NotAuthorizedOrNotFound",
            "x",
        ),
        (
            lambda c, n: c.update_network_security_groups(
                n, models.UpdateNetworkSecurityGroupsDetails(network_security_group_ids=["ocid1.none"])
            ),
            400,
            "RelatedResourceNotAuthorizedOrNotFound",
            "",
        ),
    ],
)
def test_changes_that_are_refused(network, change, status, code, text):
    balancer = with_set(network).id
    before = network.sandbox.state()
    with refused(status, code, text):
        change(client_of(network), balancer)
    assert network.sandbox.state() == before


def listener(name, **options):
    needed = {"name": name, "default_backend_set_name": "api", "port": 6443, "protocol": "TCP"}
    return models.CreateListenerDetails(**needed | options)


@pytest.mark.parametrize(
    ("options", "status", "code", "text"),
    [
        ({"subnet_id": "ocid1.none"}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"subnet_id": "PRIVATE"}, 400, "InvalidParameter", "prohibits public IPs"),
        ({"reserved_ips": [models.ReservedIP(id="ocid1.none")]}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"assigned_private_ipv4": "10.0.2.9"}, 400, "InvalidParameter", "not a usable address"),
        ({"nlb_ip_version": "IPV6"}, 501, "MethodNotImplemented", "IPv6"),
        (
            {
                "listeners": {
                    "x": models.ListenerDetails(name="x", default_backend_set_name="y", port=1, protocol="TCP")
                }
            },
            400,
            "InvalidParameter",
            "y",
        ),
    ],
)
def test_balancers_that_are_refused(network, options, status, code, text):
    if options.get("subnet_id") == "PRIVATE":
        options = options | {"subnet_id": network.private.id}
    before = network.sandbox.state()
    with refused(status, code, text):
        create(network, **options)
    assert network.sandbox.state() == before


def test_udp_and_tcp_share_a_port(network):
    balancer = with_set(network).id
    client_of(network).create_listener(balancer, listener("udp", protocol="UDP"))
    with refused(409, "NotAuthorizedOrResourceAlreadyExists"):
        client_of(network).create_listener(balancer, listener("both", protocol="TCP_AND_UDP"))


def test_a_reserved_public_ip_survives_its_balancer(network):
    core = network.client
    reserved = core.create_public_ip(
        oci.core.models.CreatePublicIpDetails(compartment_id=network.tenancy, lifetime="RESERVED")
    ).data
    core.get_public_ip(reserved.id)
    balancer = create(network, reserved_ips=[models.ReservedIP(id=reserved.id)])
    (public,) = [one for one in balancer.ip_addresses if one.is_public]
    assert (public.ip_address, public.reserved_ip.id) == (reserved.ip_address, reserved.id)
    there = core.get_public_ip(reserved.id).data
    assert (there.lifecycle_state, there.assigned_entity_type) == ("ASSIGNED", "PRIVATE_IP")
    with refused(409, "Conflict", balancer.id):
        core.delete_private_ip(there.assigned_entity_id)
    client_of(network).delete_network_load_balancer(balancer.id)
    assert core.get_public_ip(reserved.id).data.lifecycle_state == "AVAILABLE"


def test_a_private_balancer_and_its_security_groups(network):
    group = network.client.create_network_security_group(
        oci.core.models.CreateNetworkSecurityGroupDetails(compartment_id=network.tenancy, vcn_id=network.vcn.id)
    ).data
    network.settle()
    balancer = create(network, subnet_id=network.private.id, is_private=True, assigned_private_ipv4="10.0.2.77")
    assert [(one.ip_address, one.is_public) for one in balancer.ip_addresses] == [("10.0.2.77", False)]
    client = client_of(network)
    update = models.UpdateNetworkSecurityGroupsDetails(network_security_group_ids=[group.id])
    client.update_network_security_groups(balancer.id, update)
    assert client.get_network_load_balancer(balancer.id).data.network_security_group_ids == [group.id]
    with refused(409, "Conflict", "load balancer"):
        network.client.delete_network_security_group(group.id)


def test_health_is_what_the_machines_say(network):
    client = client_of(network)
    alive = running_machine(network)
    balancer = with_set(network, models.Backend(ip_address=alive, port=6443))
    name = f"{alive}:6443"
    health = client.get_backend_health(balancer.id, "api", name).data
    assert (health.status, health.health_check_results[0].health_check_status) == ("OK", "OK")
    assert client.get_network_load_balancer_health(balancer.id).data.status == "OK"
    client.create_backend(balancer.id, models.CreateBackendDetails(ip_address="10.0.1.254", port=6443), "api")
    found = client.get_backend_set_health(balancer.id, "api").data
    assert (found.status, found.critical_state_backend_names) == ("WARNING", ["10.0.1.254:6443"])
    client.update_health_checker(balancer.id, models.UpdateHealthCheckerDetails(port=6443), "api")
    failed = client.get_backend_health(balancer.id, "api", name).data
    assert (failed.status, failed.health_check_results[0].health_check_status) == ("CRITICAL", "CONNECT_FAILED")
    (summary,) = client.list_network_load_balancer_healths(network.tenancy).data.items
    assert (summary.network_load_balancer_id, summary.status) == (balancer.id, "CRITICAL")
    client.delete_listener(balancer.id, "api")
    assert client.get_backend_set_health(balancer.id, "api").data.status == "UNKNOWN"


def test_where_a_balancer_passes_connections_on_to(network):
    client = client_of(network)
    first, second = running_machine(network), running_machine(network)
    balancer = with_set(
        network,
        models.Backend(ip_address=first, port=6443),
        models.Backend(ip_address=second, port=6443, is_backup=True),
        models.Backend(ip_address="10.0.1.254", port=6443),
    )
    (public,) = [one.ip_address for one in balancer.ip_addresses if one.is_public]

    def behind(port):
        return network.sandbox.inside(lambda world: balancer_health.behind(world, public, port))

    assert behind(6443) == [(first, 6443)]
    assert behind(80) == []
    client.update_backend(balancer.id, models.UpdateBackendDetails(is_offline=True), "api", f"{first}:6443")
    client.get_network_load_balancer(balancer.id)
    assert behind(6443) == [(second, 6443)]
