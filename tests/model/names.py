"""Names of what the program counts, as its P4Info has them."""

from __future__ import annotations

from finsy.proto import p4i
from google.protobuf import text_format


def counter_names(p4info: str) -> dict[str, dict[str, int]]:
    """Index of each drop reason and event, by counter and name."""
    info = text_format.Parse(p4info, p4i.P4Info())
    return {
        counter.preamble.name: {
            pair.key: pair.value.int64_value
            for annotation in counter.preamble.structured_annotations
            for pair in annotation.kv_pair_list.kv_pairs
        }
        for counter in info.counters
    }
