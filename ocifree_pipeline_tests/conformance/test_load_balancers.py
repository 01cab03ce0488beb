"""The unmodified SDK against flexible load balancers: parts, work requests of their own shape, limits, money."""

import json

import oci
import pytest
from oci.load_balancer import LoadBalancerClient, models

from ocifree_pipeline.sandbox import money
from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.network import create_network, create_subnet, refused, running_machine
from ocifree_pipeline_tests.sandbox.harness import running


@pytest.fixture
def network(sandbox):
    return create_network(sandbox)


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, profile=Profile(account="payg")) as here:
        yield create_network(here)


def client_of(network) -> LoadBalancerClient:
    return network.client_of(LoadBalancerClient)


def flexible(least=10, most=10):
    return models.ShapeDetails(minimum_bandwidth_in_mbps=least, maximum_bandwidth_in_mbps=most)


def details(network, **options):
    needed = {
        "compartment_id": network.tenancy,
        "display_name": "lb",
        "shape_name": "flexible",
        "shape_details": flexible(),
        "subnet_ids": [network.public.id],
    }
    return models.CreateLoadBalancerDetails(**needed | options)


def work(network, reply):
    return client_of(network).get_work_request(reply.headers["opc-work-request-id"]).data


def create(network, **options):
    reply = client_of(network).create_load_balancer(details(network, **options))
    network.settle()
    return client_of(network).get_load_balancer(work(network, reply).load_balancer_id).data


def web_set(*backends, **options):
    needed = {
        "policy": "ROUND_ROBIN",
        "health_checker": models.HealthCheckerDetails(protocol="TCP", port=22),
        "backends": list(backends),
    }
    return models.BackendSetDetails(**needed | options)


def with_set(network, *backends, **options):
    listener = models.ListenerDetails(default_backend_set_name="web", port=80, protocol="HTTP")
    return create(network, backend_sets={"web": web_set(*backends)}, listeners={"http": listener}, **options)


def backend(address="10.0.1.50", port=8080, **options):
    return models.BackendDetails(ip_address=address, port=port, **options)


def test_the_life_of_a_load_balancer(tmp_path):
    with running(tmp_path, mode="manual") as here:
        network = create_network(here)
        client = client_of(network)
        made = client.create_load_balancer(details(network))
        assert made.status == 204
        request = work(network, made)
        assert (request.type, request.lifecycle_state) == ("CreateLoadBalancer", "IN_PROGRESS")
        (listed,) = client.list_load_balancers(network.tenancy).data
        assert (listed.id, listed.lifecycle_state) == (request.load_balancer_id, "CREATING")
        with refused(409, "Conflict", "work request"):
            client.delete_load_balancer(listed.id)
        here.advance(60)
        done = work(network, made)
        assert (done.lifecycle_state, done.error_details) == ("SUCCEEDED", [])
        assert done.time_finished
        there = client.get_load_balancer(listed.id).data
        assert (there.lifecycle_state, there.shape_details.maximum_bandwidth_in_mbps) == ("ACTIVE", 10)
        (public,) = there.ip_addresses
        assert public.is_public
        assert public.ip_address.startswith(("203.0.113.", "198.51.100.", "192.0.2."))
        with refused(409, "Conflict", "references the load balancer"):
            network.client.delete_subnet(network.public.id)
        gone = client.delete_load_balancer(there.id)
        assert client.get_load_balancer(there.id).data.lifecycle_state == "DELETING"
        here.advance(30)
        assert work(network, gone).lifecycle_state == "SUCCEEDED"
        assert client.get_load_balancer(there.id).data.lifecycle_state == "DELETED"
        assert [one.type for one in client.list_work_requests(there.id).data] == [
            "DeleteLoadBalancer",
            "CreateLoadBalancer",
        ]
        network.client.delete_subnet(network.public.id)
        here.advance(61)
        with refused(404, "NotAuthorizedOrNotFound"):
            client.get_load_balancer(there.id)


def test_one_change_at_a_time_even_across_a_snapshot(tmp_path):
    with running(tmp_path, mode="manual") as here:
        network = create_network(here)
        client, balancer = client_of(network), with_set(network).id
        client.create_backend(models.CreateBackendDetails(ip_address="10.0.1.51", port=80), balancer, "web")
        assert client.get_load_balancer(balancer).data.lifecycle_state == "ACTIVE"
        with refused(409, "Conflict", "not done yet"):
            client.delete_listener(balancer, "http")
        here.inside(lambda world: world.load_json(json.loads(json.dumps(world.to_json()))))
        assert client.list_backends(balancer, "web").data == []
        here.advance(5)
        assert [one.name for one in client.list_backends(balancer, "web").data] == ["10.0.1.51:80"]
        client.delete_listener(balancer, "http")


def test_a_free_account_has_one_of_10_mbps(network):
    client = client_of(network)
    with refused(400, "LimitExceeded", "lb-flexible-bandwidth-sum"):
        client.create_load_balancer(details(network, shape_details=flexible(10, 20)))
    balancer = create(network)
    with refused(400, "LimitExceeded", "lb-flexible-count"):
        client.create_load_balancer(details(network))
    with refused(400, "LimitExceeded", "lb-flexible-bandwidth-sum"):
        client.update_load_balancer_shape(
            balancer.id,
            models.UpdateLoadBalancerShapeDetails(shape_name="flexible", shape_details=flexible(10, 20)),
        )


def test_its_least_bandwidth_is_paid_for_while_it_exists(paying):
    client = client_of(paying)
    balancer = create(paying, shape_details=flexible(20, 100)).id
    shape = models.UpdateLoadBalancerShapeDetails(shape_name="flexible", shape_details=flexible(50, 100))
    client.update_load_balancer_shape(balancer, shape)
    paying.settle()
    client.delete_load_balancer(balancer)
    paying.settle()

    def spans(world):
        return [(one.facts["bandwidthMbps"], one.end > one.start) for one in money.spans(world) if one.ocid == balancer]

    assert paying.sandbox.inside(spans) == [(20, True), (50, True)]
    paying.sandbox.advance(3600)
    ends = paying.sandbox.inside(lambda world: [one.end for one in money.spans(world) if one.ocid == balancer])
    assert all((paying.sandbox.inside(lambda world: world.clock.now()) - end).total_seconds() > 3500 for end in ends)


def test_parts_come_change_and_go(network):
    client = client_of(network)
    balancer = with_set(network, backend()).id
    client.create_backend(models.CreateBackendDetails(ip_address="10.0.1.51", port=8080), balancer, "web")
    names = [one.name for one in client.list_backends(balancer, "web").data]
    assert names == ["10.0.1.50:8080", "10.0.1.51:8080"]
    update = models.UpdateBackendDetails(weight=3, backup=False, drain=True, offline=False)
    client.update_backend(update, balancer, "web", names[1])
    there = client.get_backend(balancer, "web", names[1]).data
    assert (there.weight, there.drain, there.ip_address) == (3, True, "10.0.1.51")
    client.delete_backend(balancer, "web", names[0])
    (left,) = client.get_backend_set(balancer, "web").data.backends
    assert left.name == names[1]
    checker = models.HealthCheckerDetails(protocol="HTTP", url_path="/healthz", port=8080)
    client.update_backend_set(
        models.UpdateBackendSetDetails(policy="IP_HASH", backends=[backend(port=81)], health_checker=checker),
        balancer,
        "web",
    )
    kept = client.get_backend_set(balancer, "web").data
    assert (kept.policy, [one.name for one in kept.backends]) == ("IP_HASH", ["10.0.1.50:81"])
    client.update_health_checker(
        models.UpdateHealthCheckerDetails(
            protocol="TCP",
            port=22,
            return_code=200,
            retries=2,
            timeout_in_millis=1000,
            interval_in_millis=5000,
            response_body_regex="",
        ),
        balancer,
        "web",
    )
    assert client.get_health_checker(balancer, "web").data.retries == 2
    client.update_listener(
        models.UpdateListenerDetails(default_backend_set_name="web", port=8443, protocol="TCP"), balancer, "http"
    )
    listener = client.get_load_balancer(balancer).data.listeners["http"]
    assert (listener.port, listener.protocol, listener.connection_configuration.idle_timeout) == (8443, "TCP", 300)
    with refused(409, "Conflict", "in use by the listener"):
        client.delete_backend_set(balancer, "web")
    client.delete_listener(balancer, "http")
    client.delete_backend_set(balancer, "web")
    assert client.list_backend_sets(balancer).data == []
    client.update_load_balancer(models.UpdateLoadBalancerDetails(display_name="new"), balancer)
    assert client.get_load_balancer(balancer).data.display_name == "new"


def test_hostnames_and_certificates(network):
    client = client_of(network)
    balancer = with_set(network).id
    client.create_hostname(models.CreateHostnameDetails(name="app", hostname="app.example.com"), balancer)
    client.create_certificate(
        models.CreateCertificateDetails(certificate_name="cert", public_certificate="PEM", private_key="secret-key"),
        balancer,
    )
    assert [one.hostname for one in client.list_hostnames(balancer).data] == ["app.example.com"]
    assert [one.public_certificate for one in client.list_certificates(balancer).data] == ["PEM"]
    assert "secret-key" not in str(network.sandbox.state())
    tls = models.CreateListenerDetails(
        name="https",
        default_backend_set_name="web",
        port=443,
        protocol="HTTP2",
        hostname_names=["app"],
        ssl_configuration=models.SSLConfigurationDetails(certificate_name="cert"),
    )
    client.create_listener(tls, balancer)
    made = client.get_load_balancer(balancer).data.listeners["https"]
    assert (made.ssl_configuration.certificate_name, made.ssl_configuration.verify_depth) == ("cert", 1)
    with refused(409, "Conflict", "https"):
        client.delete_hostname(balancer, "app")
    with refused(409, "Conflict", "https"):
        client.delete_certificate(balancer, "cert")
    client.delete_listener(balancer, "https")
    client.delete_hostname(balancer, "app")
    client.delete_certificate(balancer, "cert")
    assert client.list_certificates(balancer).data == []


@pytest.mark.parametrize(
    ("options", "status", "code", "text"),
    [
        ({"shape_name": "100Mbps"}, 400, "InvalidParameter", "flexible"),
        ({"shape_details": None}, 400, "MissingParameter", "shapeDetails"),
        ({"shape_details": flexible(5, 10)}, 400, "InvalidParameter", "10 to 8000"),
        ({"shape_details": flexible(20, 10)}, 400, "InvalidParameter", "10 to 8000"),
        ({"subnet_ids": []}, 400, "InvalidParameter", "subnetIds"),
        ({"subnet_ids": ["ocid1.none"]}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ({"backend_sets": {"web": web_set(policy="RANDOM")}}, 400, "InvalidParameter", "ROUND_ROBIN"),
        ({"backend_sets": {"web": web_set(backend(weight=0))}}, 400, "InvalidParameter", "weight"),
        (
            {"backend_sets": {"web": web_set(health_checker=models.HealthCheckerDetails(protocol="HTTP"))}},
            400,
            "MissingParameter",
            "urlPath",
        ),
        (
            {"listeners": {"x": models.ListenerDetails(default_backend_set_name="y", port=1, protocol="HTTP")}},
            400,
            "InvalidParameter",
            "y",
        ),
        ({"ip_mode": "IPV6"}, 501, "MethodNotImplemented", "IPv6"),
        ({"network_security_group_ids": ["ocid1.none"]}, 400, "RelatedResourceNotAuthorizedOrNotFound", ""),
    ],
)
def test_load_balancers_that_are_refused(network, options, status, code, text):
    before = network.sandbox.state()
    with refused(status, code, text):
        client_of(network).create_load_balancer(details(network, **options))
    assert network.sandbox.state() == before


def listener(name, **options):
    needed = {"name": name, "default_backend_set_name": "web", "port": 80, "protocol": "HTTP"}
    return models.CreateListenerDetails(**needed | options)


@pytest.mark.parametrize(
    ("wanted", "status", "code", "text"),
    [
        (listener("http"), 409, "NotAuthorizedOrResourceAlreadyExists", "http"),
        (listener("x"), 409, "NotAuthorizedOrResourceAlreadyExists", "port 80"),
        (listener("x", port=81, protocol="SMTP"), 400, "InvalidParameter", "protocol"),
        (listener("x", port=81, protocol="HTTP2"), 400, "InvalidParameter", "sslConfiguration"),
        (listener("x", port=81, hostname_names=["none"]), 400, "InvalidParameter", "none"),
        (listener("x", port=81, rule_set_names=["none"]), 501, "MethodNotImplemented", "ruleSetNames"),
        (
            listener("x", port=81, ssl_configuration=models.SSLConfigurationDetails(certificate_name="none")),
            400,
            "InvalidParameter",
            "none",
        ),
    ],
)
def test_listeners_that_are_refused(network, wanted, status, code, text):
    balancer = with_set(network).id
    with refused(status, code, text):
        client_of(network).create_listener(wanted, balancer)


def test_the_subnets_of_a_load_balancer(paying):
    first = create_subnet(paying, "10.0.5.0/24", availability_domain="Kfkm:UK-LONDON-1-AD-1").id
    second = create_subnet(paying, "10.0.6.0/24", availability_domain="Kfkm:UK-LONDON-1-AD-2").id
    paying.settle()
    client = client_of(paying)
    for wrong in ([first], [first, paying.public.id]):
        with refused(400, "InvalidParameter", "availability domains"):
            client.create_load_balancer(details(paying, subnet_ids=wrong))
    assert create(paying, subnet_ids=[first, second]).subnet_ids == [first, second]
    with refused(400, "InvalidParameter", "prohibits public IPs"):
        client.create_load_balancer(details(paying, subnet_ids=[paying.private.id]))
    private = create(paying, subnet_ids=[paying.private.id], is_private=True)
    assert [one.is_public for one in private.ip_addresses] == [False]


def test_a_reserved_public_ip_and_delete_protection(network):
    core = network.client
    reserved = core.create_public_ip(
        oci.core.models.CreatePublicIpDetails(compartment_id=network.tenancy, lifetime="RESERVED")
    ).data
    core.get_public_ip(reserved.id)
    balancer = with_set(network, reserved_ips=[models.ReservedIP(id=reserved.id)], is_delete_protection_enabled=True)
    assert [one.ip_address for one in balancer.ip_addresses] == [reserved.ip_address]
    client = client_of(network)
    with refused(409, "Conflict", "protected"):
        client.delete_load_balancer(balancer.id)
    client.update_load_balancer(models.UpdateLoadBalancerDetails(is_delete_protection_enabled=False), balancer.id)
    client.get_load_balancer(balancer.id)
    client.delete_load_balancer(balancer.id)
    assert core.get_public_ip(reserved.id).data.lifecycle_state == "AVAILABLE"


def test_health_and_catalogues(network):
    client, tenancy = client_of(network), network.tenancy
    address = running_machine(network)
    balancer = with_set(network, backend(address), backend("10.0.1.253"), backend("10.0.1.254"))
    health = client.get_backend_health(balancer.id, "web", f"{address}:8080").data
    assert (health.status, health.health_check_results[0].health_check_status) == ("OK", "OK")
    assert client.get_backend_set_health(balancer.id, "web").data.status == "CRITICAL"
    found = client.get_load_balancer_health(balancer.id).data
    assert (found.status, found.critical_state_backend_set_names) == ("CRITICAL", ["web"])
    assert [one.status for one in client.list_load_balancer_healths(tenancy).data] == ["CRITICAL"]
    assert [one.name for one in client.list_shapes(tenancy).data] == ["flexible"]
    assert "ROUND_ROBIN" in {one.name for one in client.list_policies(tenancy).data}
    assert "TCP" in {one.name for one in client.list_protocols(tenancy).data}
