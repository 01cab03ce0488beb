"""What we send is what a receiver of remote write reads."""

from __future__ import annotations

import cramjam
from hypothesis import given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.grafana import wire
from ocifree_pipeline.systems.grafana.remote_write import Sample, encoded
from ocifree_pipeline_tests.sandbox.grafana import senders

NAMES = st.from_regex(r"[a-z_]{1,9}", fullmatch=True)
SAMPLES = st.builds(
    Sample,
    NAMES,
    st.floats(allow_nan=False),
    st.dictionaries(NAMES, st.text(max_size=200), max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SAMPLES, max_size=4), st.integers(0, 2**45))
def test_samples_arrive_as_they_were(samples, time) -> None:
    body = encoded(samples, time)
    assert [(one.labels, one.samples) for one in wire.write_request(body)] == [
        ({**one.labels, "__name__": one.name}, ((time, one.value),)) for one in samples
    ]
    series = [({**one.labels, "__name__": one.name}, [(time, one.value)]) for one in samples]
    assert bytes(cramjam.snappy.decompress_raw(senders.write_request(series))) == body
