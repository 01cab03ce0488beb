"""Identity, the places: tenancy, regions and subscriptions, availability and fault domains."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.profiles import describe_region
from ocifree_pipeline.sandbox.world import World, transition

FAULT_DOMAINS = ("FAULT-DOMAIN-1", "FAULT-DOMAIN-2", "FAULT-DOMAIN-3")
SUBSCRIBE_SECONDS = 120
MODELS = "oci.identity.models"

service = Service("identity")


def region_keys() -> dict[str, str]:
    """Region name -> key (uk-london-1 -> LHR) of the commercial realm, from the installed SDK."""
    from oci import regions

    return {
        name: key.upper() for key, name in regions.REGIONS_SHORT_NAMES.items() if regions.REGION_REALMS[name] == "oc1"
    }


def require_ad(world: World, region: str, name: str) -> str:
    """The name of an existing availability domain, or 400."""
    if name not in world.availability_domains(region):
        raise errors.invalid_parameter(f"Availability domain {name!r} does not exist in region {region}")
    return name


def _own_tenancy(call: Call) -> str:
    if call.path["tenancyId"] != call.world.tenancy:
        raise errors.not_found()
    return call.world.tenancy


@service.get("/tenancies/{tenancyId}", operation="GetTenancy", reply=f"{MODELS}.Tenancy")
def get_tenancy(call: Call) -> Reply:
    root = call.find("compartment", _own_tenancy(call))
    return Reply(
        {
            "id": root.ocid,
            "name": root.body["name"],
            "description": root.body["description"],
            "homeRegionKey": region_keys()[call.world.home_region],
            "freeformTags": root.body["freeformTags"],
            "definedTags": root.body["definedTags"],
        }
    )


@service.get("/regions", operation="ListRegions", reply=f"list[{MODELS}.Region]")
def list_regions(_call: Call) -> Reply:
    return Reply([{"key": key, "name": name} for name, key in sorted(region_keys().items())])


@service.get(
    "/tenancies/{tenancyId}/regionSubscriptions",
    operation="ListRegionSubscriptions",
    reply=f"list[{MODELS}.RegionSubscription]",
)
def list_region_subscriptions(call: Call) -> Reply:
    _own_tenancy(call)
    ready = [_subscription(call.world, name, "READY") for name in call.world.regions]
    waiting = [_subscription(call.world, name, "IN_PROGRESS") for name in call.world.facts.get("subscribing", ())]
    return Reply(ready + waiting)


@service.post(
    "/tenancies/{tenancyId}/regionSubscriptions",
    operation="CreateRegionSubscription",
    body=f"{MODELS}.CreateRegionSubscriptionDetails",
    reply=f"{MODELS}.RegionSubscription",
)
def create_region_subscription(call: Call) -> Reply:
    _own_tenancy(call)
    call.home_region_only()
    names = {key: name for name, key in region_keys().items()}
    wanted = call.body["regionKey"].upper()
    if wanted not in names:
        raise errors.invalid_parameter(f"regionKey {call.body['regionKey']!r} is not a region")
    name = names[wanted]
    waiting = call.world.facts.setdefault("subscribing", [])
    if name in call.world.regions or name in waiting:
        raise errors.conflict(f"The tenancy is already subscribed to region {name}")
    if call.world.profile["account"] == "free":
        raise errors.limit_exceeded("subscribed-region-count")
    waiting.append(name)
    call.world.clock.later(SUBSCRIBE_SECONDS, "identity.subscribed", region=name)
    return Reply(_subscription(call.world, name, "IN_PROGRESS"))


@transition("identity.subscribed")
def _subscribed(world: World, region: str) -> None:
    world.facts["subscribing"].remove(region)
    world.profile["availabilityDomains"][region] = describe_region(world, region, world.profile["adPrefix"])


def _subscription(world: World, name: str, status: str) -> dict[str, Any]:
    return {
        "regionKey": region_keys()[name],
        "regionName": name,
        "status": status,
        "isHomeRegion": name == world.home_region,
    }


@service.get("/availabilityDomains", operation="ListAvailabilityDomains", reply=f"list[{MODELS}.AvailabilityDomain]")
def list_availability_domains(call: Call) -> Reply:
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    known = call.world.profile["availabilityDomains"][call.region]
    return Reply([one | {"compartmentId": compartment} for one in known])


@service.get("/faultDomains", operation="ListFaultDomains", reply=f"list[{MODELS}.FaultDomain]")
def list_fault_domains(call: Call) -> Reply:
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    domain = require_ad(call.world, call.region, call.query.need("availabilityDomain"))
    return Reply(
        [
            {
                "id": f"ocid1.faultdomain.oc1..{domain.lower()}-{name.lower()}",
                "name": name,
                "availabilityDomain": domain,
                "compartmentId": compartment,
            }
            for name in FAULT_DOMAINS
        ]
    )
