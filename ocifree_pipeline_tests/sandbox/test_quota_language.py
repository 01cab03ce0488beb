"""The quota language by itself: every form that means something, every form that is refused, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.oracle.limit_catalogue import FAMILIES, quota_names
from ocifree_pipeline.sandbox.oracle.quota_language import BadStatement, Statement, parse

AD = "Kfkm:UK-LONDON-1-AD-1"


def read(text: str) -> Statement:
    return parse(text, families=FAMILIES, known=quota_names)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("zero compute-core quotas in tenancy", Statement("zero", "compute-core", "*", 0)),
        ("Zero email-delivery quotas in tenancy", Statement("zero", "email-delivery", "*", 0)),
        (
            "set compute-core quota standard-a1-core-count to 2 in tenancy",
            Statement("set", "compute-core", "standard-a1-core-count", 2),
        ),
        ("set compute-core quotas to 0 in tenancy", Statement("set", "compute-core", "*", 0)),
        (
            f"set block-storage quota total-storage-gb to 200 in tenancy where request.ad = '{AD}'",
            Statement("set", "block-storage", "total-storage-gb", 200, "", "request.ad", AD),
        ),
        (
            "set vcn quota vcn-count to 2 in tenancy where request.region=uk-london-1",
            Statement("set", "vcn", "vcn-count", 2, "", "request.region", "uk-london-1"),
        ),
        (
            "  UNSET  compute-core  quota /*standard*/  in  compartment apps:web  ",
            Statement("unset", "compute-core", "*standard*", None, "apps:web"),
        ),
        (
            "zero kms quota virtual-private-vault-count in tenancy",
            Statement("zero", "kms", "virtual-private-vault-count", 0),
        ),
    ],
)
def test_what_a_statement_means(text, meaning):
    assert read(text) == meaning


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it ends where set or unset or zero is expected"),
        ("allow compute-core quotas in tenancy", "'allow' stands where set or unset or zero is expected"),
        ("zero compute-gpu quotas in tenancy", "'compute-gpu' is not a service family"),
        ("zero compute-core in tenancy", "'in' stands where quota or quotas is expected"),
        (
            "set compute-core quota standard-a1-cores to 2 in tenancy",
            "'standard-a1-cores' is not a quota of the family compute-core",
        ),
        (
            "set compute-memory quota standard-a1-core-count to 2 in tenancy",
            "'standard-a1-core-count' is not a quota of the family compute-memory",
        ),
        ("set compute-core quota /standard*/ in tenancy", "'in' stands where to is expected"),
        ("set vcn quota vcn-count to many in tenancy", "'many' is not a whole number from 0 on"),
        ("set vcn quota vcn-count to -1 in tenancy", "'-1' is not a whole number from 0 on"),
        ("set vcn quota vcn-count to 1.5 in tenancy", "'1.5' is not a whole number from 0 on"),
        ("zero vcn quota vcn-count to 2 in tenancy", "zero takes no value; only set does"),
        ("unset vcn quota vcn-count to 2 in tenancy", "unset takes no value; only set does"),
        ("zero vcn quotas", "it ends where in is expected"),
        ("zero vcn quotas in region", "'region' stands where tenancy or compartment is expected"),
        ("zero vcn quotas in compartment", "it ends where the name of a compartment is expected"),
        (
            "zero vcn quotas in tenancy where request.user = 'x'",
            "'request.user' cannot be a condition; request.region and request.ad can",
        ),
        ("zero vcn quotas in tenancy where request.region", "it ends where = is expected"),
        ("zero vcn quotas in tenancy where request.region = ''", "request.region is compared with nothing"),
        (
            f"zero vcn quotas in tenancy where request.region = 'uk-london-1' and request.ad = '{AD}'",
            "'and' is too much; only one condition may end a statement",
        ),
        ("zero vcn quotas in tenancy where request.ad = 'unfinished", '"\'unfinished" cannot be read'),
        ("set vcn quota vcn-count, nat-gateway-count to 1 in tenancy", "',' stands where to is expected"),
    ],
)
def test_what_is_refused_and_why(text, why):
    with pytest.raises(BadStatement) as refusal:
        read(text)
    assert str(refusal.value) == why


WORDS = (
    *("set", "unset", "zero", "compute-core", "vcn", "quota", "quotas", "/standard*/", "vcn-count", "to", "2", "in"),
    *("tenancy", "compartment", "apps", "where", "request.region", "request.ad", "=", "'x'", ",", "and", "/", "'"),
    "99999999999999999999",
)


@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), st.text(max_size=60)))
def test_any_text_is_read_or_refused(text):
    try:
        statement = read(text)
    except BadStatement:
        return
    assert statement.family in FAMILIES
    assert (statement.amount is None) == (statement.action == "unset")


@given(
    action=st.sampled_from(["set", "unset", "zero"]),
    quota=st.sampled_from(["*", "vcn-count", "*-count"]),
    amount=st.integers(0, 2**63 - 1),
    compartment=st.sampled_from(["", "apps", "apps:web"]),
    condition=st.sampled_from([(None, ""), ("request.region", "uk-london-1"), ("request.ad", AD)]),
)
def test_what_is_written_is_what_is_read(action, quota, amount, compartment, condition):
    name = {"*": "", "vcn-count": " vcn-count", "*-count": " /*-count/"}[quota]
    value = f" to {amount}" if action == "set" else ""
    place = f"compartment {compartment}" if compartment else "tenancy"
    where = f" where {condition[0]} = '{condition[1]}'" if condition[0] else ""
    expected = {"set": amount, "zero": 0, "unset": None}[action]
    assert read(f"{action} vcn quota{name}{value} in {place}{where}") == Statement(
        action, "vcn", quota, expected, compartment, *condition
    )
