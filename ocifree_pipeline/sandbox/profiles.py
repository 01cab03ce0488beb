"""What a tenancy looks like on its first day: region, availability domains, user and key, account kind, allowance."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from ocifree_pipeline.deployment.allowances import Resource, allowance
from ocifree_pipeline.sandbox.oracle.signatures import fingerprint, key_id
from ocifree_pipeline.sandbox.world import World

SHORT_AD_NAMES = {"us-phoenix-1": "PHX", "us-ashburn-1": "US-ASHBURN"}
THREE_AD_REGIONS = frozenset({"uk-london-1", "eu-frankfurt-1", "us-phoenix-1", "us-ashburn-1"})


@dataclass(frozen=True, slots=True)
class Profile:
    """``a1_*`` are the live limits: 2/12 is the allowance since June 2026, 4/24 the one before.

    ``free_*`` say what is not billed, each month; a limit above it is no gift.

    ADs are counted from 1. The Micro shape exists in one AD only; A1 may be absent from one (0: from none).
    """

    region: str = "uk-london-1"
    ad_prefix: str = "Kfkm"
    account: Literal["free", "payg"] = "free"
    a1_ocpus: int = 2
    a1_memory_gb: int = 12
    free_ocpu_hours: int = 1500
    free_memory_gb_hours: int = 9000
    free_block_storage_gb: int = 200
    micro_ad: int = 1
    a1_absent_ad: int = 0
    tenancy_name: str = "sandbox"
    user_name: str = "owner@example.com"


HOURS_A_MONTH = 750
"""In which Oracle counts what is free: 1500 OCPU hours are 2 OCPUs."""


def limits_of(name: str, account: str) -> dict[str, int]:
    """What an allowance decides of a profile: the limits, and that all of them is free. KeyError names them all."""
    free = allowance(name).limits_for(account)
    ocpus, memory = free[Resource.A1_OCPUS], free[Resource.A1_MEMORY_GB]
    return {
        "a1_ocpus": ocpus,
        "a1_memory_gb": memory,
        "free_ocpu_hours": ocpus * HOURS_A_MONTH,
        "free_memory_gb_hours": memory * HOURS_A_MONTH,
        "free_block_storage_gb": free[Resource.BLOCK_STORAGE_GB],
    }


@dataclass(frozen=True, slots=True)
class KeyPair:
    private_pem: str
    public_pem: str


def make_key_pair() -> KeyPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private.decode(), public.decode())


def write_private_key(keys: KeyPair, path: Path) -> Path:
    """Save the private key, readable by its owner only from the first byte on."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(keys.private_pem)
    return path


def ad_names(region: str, prefix: str) -> list[str]:
    """AD names as Oracle forms them; the prefix differs between tenancies."""
    count = 3 if region in THREE_AD_REGIONS else 1
    middle = SHORT_AD_NAMES.get(region, region.upper())
    return [f"{prefix}:{middle}-AD-{number}" for number in range(1, count + 1)]


def describe_region(world: World, region: str, prefix: str) -> list[dict[str, str]]:
    return [{"name": name, "id": world.new_ocid("availabilitydomain")} for name in ad_names(region, prefix)]


def seed(world: World, profile: Profile, public_pem: str) -> dict[str, str]:
    """Furnish an empty world. Returns tenancy, user, fingerprint and region: a client's configuration without key."""
    tenancy, user = world.new_ocid("tenancy"), world.new_ocid("user")
    world.profile = {
        "tenancy": tenancy,
        "user": user,
        "region": profile.region,
        "account": profile.account,
        "adPrefix": profile.ad_prefix,
        "a1Ocpus": profile.a1_ocpus,
        "a1MemoryGb": profile.a1_memory_gb,
        "freeOcpuHours": profile.free_ocpu_hours,
        "freeMemoryGbHours": profile.free_memory_gb_hours,
        "freeBlockStorageGb": profile.free_block_storage_gb,
        "tenancyName": profile.tenancy_name,
        "availabilityDomains": {profile.region: describe_region(world, profile.region, profile.ad_prefix)},
    }
    names = world.availability_domains(profile.region)
    world.profile["microAd"] = names[min(profile.micro_ad, len(names)) - 1]
    world.profile["a1Ads"] = [name for at, name in enumerate(names, 1) if at != profile.a1_absent_ad]
    root: dict[str, Any] = {
        "compartmentId": tenancy,
        "name": profile.tenancy_name,
        "description": "The root compartment of the tenancy",
        "lifecycleState": "ACTIVE",
    }
    world.add("compartment", root, ocid=tenancy, region="")
    owner: dict[str, Any] = {
        "compartmentId": tenancy,
        "name": profile.user_name,
        "description": "The administrator of the tenancy",
        "email": profile.user_name,
        "emailVerified": True,
        "isMfaActivated": True,
        "lifecycleState": "ACTIVE",
    }
    world.add("user", owner, ocid=user, region="")
    print_ = register_key(world, user, public_pem)
    return {"tenancy": tenancy, "user": user, "fingerprint": print_, "region": profile.region}


def register_key(world: World, user: str, public_pem: str) -> str:
    """Let a public key speak for a user. Returns its fingerprint; ValueError when it is no RSA public key."""
    print_ = fingerprint(public_pem)
    name = key_id(world.tenancy, user, print_)
    body = {
        "keyId": name,
        "keyValue": public_pem,
        "fingerprint": print_,
        "userId": user,
        "timeCreated": world.clock.stamp(),
        "lifecycleState": "ACTIVE",
    }
    world.add("apikey", body, ocid=name, region="", bare=True)
    world.keys[name] = public_pem
    return print_


def revoke_key(world: World, user: str, print_: str) -> None:
    """The key is refused from the next request on."""
    name = key_id(world.tenancy, user, print_)
    world.keys.pop(name, None)
    world.table("apikey").pop(name, None)
