"""Load balancers of layer 7: the hostnames and certificates that their listeners refer to by name."""

from ocifree_pipeline.sandbox.oracle import balancer_parts, errors
from ocifree_pipeline.sandbox.oracle.balancer_family import already_exists
from ocifree_pipeline.sandbox.oracle.load_balancers import FAMILY, MODELS, public_part, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply


@service.post(f"{FAMILY.one}/hostnames", operation="CreateHostname", body=f"{MODELS}.CreateHostnameDetails", status=204)
def create_hostname(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    name = call.body["name"]
    if name in balancer.body["hostnames"]:
        raise already_exists(f"The hostname {name} already exists")
    return balancer_parts.accepted(call, FAMILY, balancer, [(("hostnames", name), call.body)])


@service.get(f"{FAMILY.one}/hostnames", operation="ListHostnames", reply=f"list[{MODELS}.Hostname]")
def list_hostnames(call: Call) -> Reply:
    return Reply(list(FAMILY.find(call).body["hostnames"].values()))


@service.delete(f"{FAMILY.one}/hostnames/{{name}}", operation="DeleteHostname", status=204)
def delete_hostname(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    name = call.path["name"]
    if name not in balancer.body["hostnames"]:
        raise errors.not_found(f"The hostname {name} does not exist")
    for listener in balancer.body["listeners"].values():
        if name in listener["hostnameNames"]:
            raise errors.conflict(f"The hostname {name} is in use by the listener {listener['name']}")
    return balancer_parts.accepted(call, FAMILY, balancer, [(("hostnames", name), None)])


@service.post(
    f"{FAMILY.one}/certificates",
    operation="CreateCertificate",
    body=f"{MODELS}.CreateCertificateDetails",
    status=204,
)
def create_certificate(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    name = call.body["certificateName"]
    if name in balancer.body["certificates"]:
        raise already_exists(f"The certificate {name} already exists")
    return balancer_parts.accepted(call, FAMILY, balancer, [(("certificates", name), public_part(call.body))])


@service.get(f"{FAMILY.one}/certificates", operation="ListCertificates", reply=f"list[{MODELS}.Certificate]")
def list_certificates(call: Call) -> Reply:
    return Reply(list(FAMILY.find(call).body["certificates"].values()))


@service.delete(f"{FAMILY.one}/certificates/{{certificateName}}", operation="DeleteCertificate", status=204)
def delete_certificate(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    name = call.path["certificateName"]
    if name not in balancer.body["certificates"]:
        raise errors.not_found(f"The certificate {name} does not exist")
    for part in (*balancer.body["listeners"].values(), *balancer.body["backendSets"].values()):
        if part.get("sslConfiguration", {}).get("certificateName") == name:
            raise errors.conflict(f"The certificate {name} is in use by {part['name']}")
    return balancer_parts.accepted(call, FAMILY, balancer, [(("certificates", name), None)])
