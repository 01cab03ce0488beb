"""What Oracle's Usage API says was used, day by day, by service, part number and resource. Reads only.

Only the home region's API knows it, and it knows it late.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from ocifree_pipeline.deployment.cost import Bill, Usage, bill_of, span_to_ask
from ocifree_pipeline.systems.oci.errors import told
from ocifree_pipeline.systems.oci.session import Session, reading

GROUPS = ("service", "skuPartNumber", "resourceId", "region")
"""Oracle takes four at most."""


def read_bill(session: Session, now: datetime, since: date | None = None) -> Bill:
    """The bill of the whole tenancy: what costs money there is our business, whoever made it."""
    start, end = span_to_ask(now, since)
    return bill_of(read_usage(session, start, end), now, since)


def read_usage(session: Session, start: datetime, end: datetime) -> Iterator[Usage]:
    from oci.usage_api import models

    details = models.RequestSummarizedUsagesDetails(
        tenant_id=session.tenancy,
        time_usage_started=start,
        time_usage_ended=end,
        granularity="DAILY",
        query_type="COST",
        group_by=list(GROUPS),
    )
    client = session.client("usage_api.UsageapiClient")
    page: str | None = None
    while True:
        more = {"page": page} if page else {}
        with told("read what the tenancy cost"):
            answer = client.request_summarized_usages(details, retry_strategy=reading(), **more)
        yield from (_usage(item) for item in answer.data.items or ())
        page = answer.next_page
        if not page:
            return


def _usage(item: Any) -> Usage:
    # The SDK makes floats of Oracle's decimals; their shortest text is the decimal again.
    amount = item.computed_amount
    return Usage(
        day=item.time_usage_started.astimezone(UTC).date(),
        service=item.service or "",
        sku=item.sku_part_number or "",
        resource=item.resource_id or "",
        region=item.region or "",
        quantity=float(item.computed_quantity or 0.0),
        amount=None if amount is None else Decimal(repr(float(amount))),
        currency=item.currency.strip() if item.currency else None,
    )
