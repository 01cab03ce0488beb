"""Identity, users and their API keys. A key that is deleted is refused from the next request on."""

from typing import Any

from ocifree_pipeline.sandbox import profiles
from ocifree_pipeline.sandbox.oracle import errors, pages
from ocifree_pipeline.sandbox.oracle.signatures import fingerprint, key_id
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource

MODELS = "oci.identity.models"
MOST_KEYS = 3

service = Service("identity")


@service.post("/users", operation="CreateUser", body=f"{MODELS}.CreateUserDetails", reply=f"{MODELS}.User")
def create_user(call: Call) -> Reply:
    call.home_region_only()
    if call.body["compartmentId"] != call.world.tenancy:
        raise errors.invalid_parameter("compartmentId must be the OCID of the tenancy: users live in the root")
    name = call.body["name"]
    if any(one.body["name"] == name for one in call.world.all("user")):
        raise errors.already_exists("UserAlreadyExists", f"User '{name}' already exists")
    body: dict[str, Any] = call.body | {
        "lifecycleState": "ACTIVE",
        "isMfaActivated": False,
        "emailVerified": False,
        "capabilities": {
            "canUseConsolePassword": True,
            "canUseApiKeys": True,
            "canUseAuthTokens": True,
            "canUseSmtpCredentials": True,
            "canUseCustomerSecretKeys": True,
            "canUseOAuth2ClientCredentials": True,
        },
    }
    return Reply.of(call.world.add("user", body, region=""))


@service.get("/users/{userId}", operation="GetUser", reply=f"{MODELS}.User")
def get_user(call: Call) -> Reply:
    return Reply.of(call.find("user", call.path["userId"]))


@service.get("/users", operation="ListUsers", reply=f"list[{MODELS}.User]")
def list_users(call: Call) -> Reply:
    return pages.listing(call, "user", filters=("name", "lifecycleState"), sort=("TIMECREATED", "NAME"))


@service.put("/users/{userId}", operation="UpdateUser", body=f"{MODELS}.UpdateUserDetails", reply=f"{MODELS}.User")
def update_user(call: Call) -> Reply:
    call.home_region_only()
    return Reply.of(call.world.change(call.edit("user", call.path["userId"]), **call.body))


@service.delete("/users/{userId}", operation="DeleteUser")
def delete_user(call: Call) -> Reply:
    call.home_region_only()
    user = call.edit("user", call.path["userId"])
    if user.ocid == call.principal.user:
        raise errors.conflict("A user cannot delete itself")
    for key in _keys_of(call, user.ocid):
        profiles.revoke_key(call.world, user.ocid, key.body["fingerprint"])
    call.world.remove(user)
    return Reply()


@service.post(
    "/users/{userId}/apiKeys",
    operation="UploadApiKey",
    body=f"{MODELS}.CreateApiKeyDetails",
    reply=f"{MODELS}.ApiKey",
)
def upload_api_key(call: Call) -> Reply:
    call.home_region_only()
    user = call.find("user", call.path["userId"])
    try:
        print_ = fingerprint(call.body["key"])
    except ValueError as error:
        raise errors.invalid_parameter("key must be an RSA public key in PEM format") from error
    if key_id(call.world.tenancy, user.ocid, print_) in call.world.keys:
        raise errors.already_exists("ApiKeyAlreadyExists", f"The user already has an API key {print_}")
    if len(_keys_of(call, user.ocid)) >= MOST_KEYS:
        raise errors.limit_exceeded("api-key-count")
    profiles.register_key(call.world, user.ocid, call.body["key"])
    return Reply.of(call.world.table("apikey")[key_id(call.world.tenancy, user.ocid, print_)])


@service.get("/users/{userId}/apiKeys", operation="ListApiKeys", reply=f"list[{MODELS}.ApiKey]")
def list_api_keys(call: Call) -> Reply:
    user = call.find("user", call.path["userId"])
    return Reply([one.body for one in _keys_of(call, user.ocid)])


@service.delete("/users/{userId}/apiKeys/{fingerprint}", operation="DeleteApiKey")
def delete_api_key(call: Call) -> Reply:
    call.home_region_only()
    user = call.find("user", call.path["userId"])
    name = key_id(call.world.tenancy, user.ocid, call.path["fingerprint"])
    call.edit("apikey", name)
    profiles.revoke_key(call.world, user.ocid, call.path["fingerprint"])
    return Reply()


def _keys_of(call: Call, user: str) -> list[Resource]:
    return [one for one in call.world.all("apikey") if one.body["userId"] == user]
