"""One set of credentials and the clients made from it.

Nothing here knows where Oracle is: host names come from the region, and HTTPS_PROXY and REQUESTS_CA_BUNDLE are honoured
by the SDK. That is all the sandbox needs.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ocifree_pipeline.deployment.errors import AuthFailed
from ocifree_pipeline.deployment.sections.site import Site

CONNECT_SECONDS = 10
READ_SECONDS = 60


@dataclass(frozen=True)
class Session:
    """Credentials of one profile for one region. Clients are made once and kept."""

    config: dict[str, Any] = field(repr=False)
    region: str
    tenancy: str
    profile_region: str | None = None
    """What the credentials themselves say; the declaration decides."""
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    def client(self, name: str) -> Any:
        """A client by module and class, such as `identity.IdentityClient`, without any retrying of its own."""
        if name not in self._clients:
            import oci.exceptions
            import oci.retry

            module, _, kind = name.rpartition(".")
            # One signer for all of them: reading an RSA key and proving it sound takes as long as ten requests.
            first = next(iter(self._clients.values()), None)
            signer = {"signer": first.base_client.signer} if first else {}
            try:
                self._clients[name] = getattr(importlib.import_module(f"oci.{module}"), kind)(
                    self.config,
                    retry_strategy=oci.retry.NoneRetryStrategy(),
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    **signer,
                )
            except oci.exceptions.InvalidPrivateKey as error:
                raise AuthFailed(
                    f"{self.config.get('key_file')} cannot be used to sign requests",
                    why="it is no private key in PEM form, or `pass_phrase` is missing or wrong",
                    fix="let `key_file` of the profile name the private half of an API key that Oracle's console lists",
                ) from error
        return self._clients[name]


def session_for(site: Site) -> Session:
    """The session that the declaration names; AuthFailed if the profile is not usable."""
    import oci.config
    import oci.exceptions

    file, profile = credentials_file(site), site.credentials.profile
    where = f"profile {profile} of {file}"
    try:
        config = oci.config.from_file(str(Path(file).expanduser()), profile)
        of_profile = config.get("region")
        config["region"] = site.region
        oci.config.validate_config(config)
    except oci.exceptions.ConfigFileNotFound as error:
        raise AuthFailed(
            f"{file} does not exist",
            why="the Oracle credentials are read from it",
            fix="make an API key in Oracle's console under Profile > API keys and save the file it shows",
        ) from error
    except (oci.exceptions.ClientError, ValueError) as error:
        raise AuthFailed(
            f"{where} is not usable",
            why=str(error).splitlines()[0],
            fix="compare it with what Oracle's console shows under Profile > API keys",
        ) from error
    return Session(config=config, region=site.region, tenancy=config["tenancy"], profile_region=of_profile)


def credentials_file(site: Site, environ: Mapping[str, str] = os.environ) -> str:
    """As Oracle's own tools do it: OCI_CONFIG_FILE stands in for the usual place, not for one that was declared."""
    declared = site.credentials.config_file
    usual = type(site.credentials)().config_file
    return environ.get("OCI_CONFIG_FILE") or declared if declared == usual else declared


def reading() -> Any:
    """The retry strategy for reads: a few tries with growing pauses. Never use it for a launch."""
    import oci.retry

    return (
        oci.retry.RetryStrategyBuilder(
            max_attempts=4,
            total_elapsed_time_seconds=90,
            retry_base_sleep_time_seconds=1,
            retry_max_wait_between_calls_seconds=20,
        )
        .add_service_error_check(service_error_retry_on_any_5xx=True, service_error_retry_config={429: []})
        .get_retry_strategy()
    )


def every(operation: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """All pages of a list operation."""
    import oci.pagination

    found: list[Any] = oci.pagination.list_call_get_all_results(
        operation, *args, retry_strategy=reading(), **kwargs
    ).data
    return found
