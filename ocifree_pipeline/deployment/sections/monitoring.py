"""`monitoring`: where metrics, logs and traces go, and how much of the free plan they may use."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from ocifree_pipeline.deployment.secret_reference import SecretRef
from ocifree_pipeline.deployment.sections.section import (
    Email,
    HttpsUrl,
    Section,
    Several,
    between,
    matching,
    without_repeats,
)

Dashboard = Literal["proxmox", "ceph", "kubernetes", "talos", "tailscale", "logs"]
DASHBOARDS: tuple[Dashboard, ...] = get_args(Dashboard)


class Endpoint(Section):
    """One of the three stores; the stack's details page shows both values."""

    url: HttpsUrl = Field(
        description="The address that takes the data.", examples=["https://prometheus-prod-05-gb-south-0.grafana.net"]
    )
    user: Annotated[
        str,
        matching(r"[0-9]{1,12}", "not a user number of Grafana Cloud", 'write the number in quotes, such as "123456"'),
    ] = Field(description="The number of the instance, in quotes.", examples=["123456"])


class GrafanaCloud(Section):
    """A Grafana Cloud stack. The free plan is enough."""

    stack: Annotated[
        str,
        matching(
            r"[a-z][a-z0-9-]{0,62}",
            "not the name of a stack",
            "write the first part of its address: `lab` for lab.grafana.net",
        ),
    ] = Field(description="The name of the stack: `lab` if its address is lab.grafana.net.", examples=["lab"])
    prometheus: Endpoint = Field(description="Where metrics go.")
    loki: Endpoint = Field(description="Where logs go.")
    tempo: Endpoint | None = Field(None, description="Where traces go. Left out: no traces.")
    token: SecretRef = Field(
        description="Reference to an access policy token that may write and read metrics, logs and traces.",
        examples=["env:GRAFANA_CLOUD_TOKEN"],
    )
    service_account_token: SecretRef | None = Field(
        None,
        description="Reference to a service account token for dashboards and alert rules. An access policy token does "
        "not open that part of Grafana. Left out: no dashboards.",
    )


class Monitoring(Section):
    """Left out, nothing is sent anywhere."""

    grafana_cloud: GrafanaCloud | None = Field(None, description="The Grafana Cloud stack.")
    series_budget: Annotated[int, between(100, 10_000, "the free plan drops what is above 10,000 active series")] = (
        Field(8000, description="How many active series the platform may cause. 10,000 are free.")
    )
    logs_budget_gb: Annotated[int, between(1, 50, "the free plan drops what is above 50 GB a month")] = Field(
        40, description="How many GB of logs a month. 50 are free."
    )
    scrape_interval_seconds: Annotated[
        int, between(60, 300, "more than one point a minute counts as more series; fewer leaves gaps")
    ] = Field(60, description="How often metrics are read.")
    dashboards: Annotated[Several[Dashboard], without_repeats()] = Field(
        DASHBOARDS, description="Which dashboards to make. Those of the other topology are left out by themselves."
    )
    contact_emails: Annotated[Several[Email], without_repeats()] = Field(
        (), description="Who gets an e-mail when something critical happens. Left out: budget.alert_emails."
    )
