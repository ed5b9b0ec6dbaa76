"""Starting processes."""

from __future__ import annotations

import os
from pathlib import Path

from topologies import processes


def test_starting_one_runs_no_fork_handlers(tmp_path: Path) -> None:
    """gRPC's abort the new process before its exec, if the one that starts it has threads in gRPC."""
    ran: list[str] = []
    os.register_at_fork(before=lambda: ran.append("a fork handler"))
    started = processes.start("echo", ["echo", "hello"], tmp_path / "log")
    assert started.handle.wait() == 0
    assert (tmp_path / "log").read_text() == "hello\n"
    assert not ran
