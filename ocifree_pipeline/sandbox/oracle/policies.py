"""Identity, policies: kept and checked for form. The sandbox's users are administrators; nothing is refused by them."""

import re

from ocifree_pipeline.sandbox.oracle import errors, pages
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service

MODELS = "oci.identity.models"
STATEMENT = re.compile(r"\s*(allow|endorse|admit|define|deny)\s+\S.*", re.IGNORECASE | re.DOTALL)
MOST_STATEMENTS = 50

service = Service("identity")


@service.post("/policies", operation="CreatePolicy", body=f"{MODELS}.CreatePolicyDetails", reply=f"{MODELS}.Policy")
def create_policy(call: Call) -> Reply:
    call.home_region_only()
    compartment = call.compartment(call.body["compartmentId"]).ocid
    _check_statements(call.body["statements"])
    name = call.body["name"]
    for one in call.world.all("policy"):
        if (one.body["compartmentId"], one.body["name"]) == (compartment, name):
            raise errors.already_exists("PolicyAlreadyExists", f"Policy '{name}' already exists")
    return Reply.of(call.world.add("policy", call.body | {"lifecycleState": "ACTIVE"}, region=""))


@service.get("/policies/{policyId}", operation="GetPolicy", reply=f"{MODELS}.Policy")
def get_policy(call: Call) -> Reply:
    return Reply.of(call.find("policy", call.path["policyId"]))


@service.get("/policies", operation="ListPolicies", reply=f"list[{MODELS}.Policy]")
def list_policies(call: Call) -> Reply:
    return pages.listing(call, "policy", filters=("name", "lifecycleState"), sort=("TIMECREATED", "NAME"))


@service.put(
    "/policies/{policyId}",
    operation="UpdatePolicy",
    body=f"{MODELS}.UpdatePolicyDetails",
    reply=f"{MODELS}.Policy",
)
def update_policy(call: Call) -> Reply:
    call.home_region_only()
    policy = call.edit("policy", call.path["policyId"])
    _check_statements(call.body.get("statements", policy.body["statements"]))
    return Reply.of(call.world.change(policy, **call.body))


@service.delete("/policies/{policyId}", operation="DeletePolicy")
def delete_policy(call: Call) -> Reply:
    call.home_region_only()
    call.world.remove(call.edit("policy", call.path["policyId"]))
    return Reply()


def _check_statements(statements: list[str]) -> None:
    if not 1 <= len(statements) <= MOST_STATEMENTS:
        raise errors.invalid_parameter(f"statements must hold 1 to {MOST_STATEMENTS} statements")
    for one in statements:
        if not STATEMENT.fullmatch(one):
            raise errors.invalid_parameter(f"Failed to parse policy statement: {one}")
