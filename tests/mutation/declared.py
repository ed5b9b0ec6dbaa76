"""What cannot be computed: which packet tests are likeliest to miss a guard, and which guards nothing can miss."""

from __future__ import annotations

TESTS: dict[str, tuple[str, ...]] = {
    "affinity.p4": ("clock", "shares", "affinity_flow", "affinity_request", "affinity_store", "icmp_errors", "flood"),
    "arp.p4": ("arp",),
    "authentication.p4": ("authentication",),
    "checksums.p4": ("malformed", "packet_io", "path_mtu"),
    "choose.p4": ("choices", "staleness", "affinity_flow"),
    "classify.p4": ("routing", "icmp_errors"),
    "commit.p4": ("single", "staleness", "damping", "spread", "path_mtu"),
    "draw.p4": ("choices", "affinity_flow"),
    "guard.p4": ("malformed", "ports"),
    "icmp_error.p4": ("told", "path_mtu", "tunnel"),
    "host.p4": ("single", "pinned", "digests", "staleness"),
    "outcome.p4": ("answers", "counters", "digests", "packet_io", "path_mtu", "staleness"),
    "packet_io.p4": ("packet_io",),
    "ping.p4": ("routing",),
    "ports.p4": ("ports",),
    "registers.p4": ("clock", "staleness"),
    "reports.p4": ("reports", "spread", "answers"),
    "routing.p4": ("told", "routing", "fragments"),
    "settle.p4": ("single", "tree", "affinity_store", "digests"),
    "steer.p4": ("single", "affinity_flow", "affinity_request", "pinned", "staleness"),
    "steering.p4": ("single", "packet_io", "authentication", "tunnel", "reports"),
    "tree.p4": ("tree", "spread"),
    "tunnel.p4": ("tunnel", "ports"),
}
"""Files of `tests/packet` to try first for a guard of a source; the rest follow."""

EQUIVALENT: dict[str, str] = {
    "affinity.p4 AffinityLookup: !meta.sticky": (
        "what stays with its flow is neither drawn nor new work, whatever `drawn` says"
    ),
    "checksums.p4 SteeringCompute: hdr.ipv4.isValid()": (
        "a header that is not there is not sent, whatever is written to it"
    ),
    "outcome.p4 Outcome: meta.passes < MAX_RESUBMITS": (
        "each round takes out or puts off another of 64 members: nothing goes round more often"
    ),
}
"""Guards without which the program does the same, by name, and why. `make mutate` tries them all the same."""
