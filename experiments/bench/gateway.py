"""A node's gateway beside a bare aiohttp server with the same handler: requests a second, and what the gateway adds."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from experiments.wrk import WrkReport, read_wrk
from greengrass_agent.gateway.settings import Configure, GatewaySettings
from greengrass_agent.host.processes import environment
from greengrass_agent.measure.queue_page import Page
from hitless.component.endpoint import ServiceProtocol
from topologies.testbed import REPOSITORY_ROOT

GATEWAY, FRONT, BARE = "gateway", "front", "bare"
"""The gateway with a worker; its HTTP server alone, before a function that answers at once; aiohttp."""
CONNECTIONS = 8
SERVICE_ID = 1
PORT = 18480
"""On loopback; the servers have this one and the next ones."""
HANDLER = """
def lambda_handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "ok"}
"""
TRIVIAL = ("--handler", "trivial.lambda_handler")
REPORT_S = 0.01
START_S = 30.0

Figures = Mapping[str, float]
Round = Mapping[str, Figures]
"""A round's figures by server: `a_second` with all connections, and the CPU time of its processes for each request
(`cpu_us`; of a gateway's worker: `worker_us`); `p50_ms` and `p99_ms` with one connection."""


class WrkFailed(RuntimeError):
    """wrk met an error."""


def bench_gateway(rounds: int, seconds: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measure the servers in alternation; the part of the summary about them. Raises WrkFailed, OSError."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-gateway-")))
        processes = {GATEWAY: stack.enter_context(running_gateway(scratch, PORT, "tcp"))}
        for number, name in enumerate((FRONT, BARE), start=1):
            command = [sys.executable, "-m", "experiments.bench.gateway_servers", name, str(PORT + number)]
            processes[name] = [stack.enter_context(_process(command)).pid]
        urls = {name: f"http://127.0.0.1:{PORT + number}/" for number, name in enumerate((GATEWAY, FRONT, BARE))}
        return summary(in_alternation(urls, processes, rounds, seconds, lambda said: tell(f"gateway, {said}")))


def in_alternation(
    urls: Mapping[str, str],
    processes: Mapping[str, Sequence[int]],
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> list[Round]:
    """Measure servers by turns, each with its processes. Raises WrkFailed, OSError."""
    for url in urls.values():
        _until_it_serves(url)
    done: list[Round] = []
    for number in range(rounds):
        one = {name: _measure(url, processes[name], seconds) for name, url in urls.items()}
        done.append(one)
        shown = ", ".join(f"{name} {found['a_second']:.0f}/s {found['p50_ms']:.2f} ms" for name, found in one.items())
        tell(f"round {number + 1} of {rounds}: {shown}")
    return done


def summary(rounds: Sequence[Round], base: str = BARE) -> dict[str, Any]:
    """Medians of the rounds' ratios to `base` and of the milliseconds added to it, the worst round beside."""
    found: dict[str, float] = {}
    for name in rounds[0]:
        if name == base:
            continue
        ratios = [one[name]["a_second"] / one[base]["a_second"] for one in rounds]
        found |= {f"{name}_vs_{base}": median(ratios), f"{name}_vs_{base}_worst": min(ratios)}
        costs = [_cost_us(one[name]) / _cost_us(one[base]) for one in rounds]
        found |= {f"{name}_cpu_vs_{base}": median(costs), f"{name}_cpu_vs_{base}_worst": max(costs)}
        for quantile in ("p50_ms", "p99_ms"):
            added = [one[name][quantile] - one[base][quantile] for one in rounds]
            found |= {f"{name}_adds_{quantile}": median(added), f"{name}_adds_{quantile}_worst": max(added)}
    return {
        "ratios": {name: round(value, 3) for name, value in found.items()},
        "medians": {
            name: {figure: round(median(one[name][figure] for one in rounds), 3) for figure in rounds[0][name]}
            for name in rounds[0]
        },
        "rounds": [dict(one) for one in rounds],
    }


def _cost_us(figures: Figures) -> float:
    """CPU time of all processes for each request."""
    return figures["cpu_us"] + figures.get("worker_us", 0.0)


def table(found: Mapping[str, Any]) -> str:
    """The summary's ratios and milliseconds in Markdown."""
    ratios = found["ratios"]
    lines = [f"| {'':32} | median | worst |", f"|{'-' * 34}|-------:|------:|"]
    for name in ratios:
        if f"{name}_worst" in ratios:
            lines.append(f"| {f'`{name}`':32} | {ratios[name]:6.2f} | {ratios[f'{name}_worst']:5.2f} |")
    return "\n".join(lines)


def _measure(url: str, pids: Sequence[int], seconds: float) -> Figures:
    before = [_cpu_s(pid) for pid in pids]
    many = _wrk(url, CONNECTIONS, seconds)
    cpu, *worker = ((_cpu_s(pid) - then) * 1e6 / many.requests for pid, then in zip(pids, before, strict=True))
    one = _wrk(url, 1, seconds)
    assert one.p50_ms is not None and one.p99_ms is not None  # it was asked for them
    found = {"a_second": many.a_second, "cpu_us": cpu, "p50_ms": one.p50_ms, "p99_ms": one.p99_ms}
    return found | ({"worker_us": sum(worker)} if worker else {})


def _cpu_s(pid: int) -> float:
    """CPU time of a process, and of those that it forked."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_cpu_s(int(child)) for child in children)


def all_served(report: WrkReport) -> WrkReport:
    """A report, if it is of requests that were all served; raises WrkFailed."""
    if report.errors:
        raise WrkFailed(f"wrk met {report.errors} errors: {report.output.strip()}")
    return report


def _wrk(url: str, connections: int, seconds: float) -> WrkReport:
    whole = max(1, round(seconds))  # wrk takes no fractions
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--latency", url]
    return all_served(read_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def _until_it_serves(url: str) -> None:
    deadline = time.monotonic() + START_S
    while subprocess.run(["curl", "-sf", "-o", "/dev/null", url], check=False).returncode != 0:
        if time.monotonic() > deadline:
            raise OSError(f"{url} does not answer {START_S:g} s after its start")
        time.sleep(0.05)


@contextmanager
def running_gateway(
    folder: Path, port: int, protocol: ServiceProtocol, options: Sequence[str] = TRIVIAL
) -> Iterator[list[int]]:
    """A gateway and a function of these options, as the agent starts them; their processes.

    The function's files lie in `folder`, among them `trivial.py`. Raises OSError if the gateway does not start.
    """
    (folder / "trivial.py").write_text(HANDLER)
    settings = GatewaySettings(
        node="bench",
        component="trivial",
        service="trivial",
        service_id=SERVICE_ID,
        addresses=("127.0.0.1",),
        port=port,
        protocols=(protocol,),
        worker_socket=str(folder / "workers.sock"),
        page=str(folder / "page"),
        notify_socket=str(folder / "notify.sock"),
        execution_log=None,
    )
    (folder / "settings.json").write_text(settings.model_dump_json())
    configure = Configure(concurrency=1, queue_limit=100, timeout_ms=10_000, configuration={})
    gateway = [sys.executable, "-m", "greengrass_agent.gateway", str(folder / "settings.json")]
    function = [sys.executable, "-m", "hitless.function", *options]
    with _process(gateway) as process:
        assert process.stdin is not None
        process.stdin.write(configure.model_dump_json() + "\n")
        process.stdin.flush()
        deadline = time.monotonic() + START_S
        while not (folder / "workers.sock").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise OSError("the gateway has not started")
            time.sleep(0.01)
        own = {"HITLESS_GATEWAY": settings.worker_socket, "HITLESS_COMPONENT": "trivial"}
        command = [*function, "--artifacts", str(folder)]
        with _process(command, {**environment(), **own}) as worker, _reporting(folder / "page"):
            yield [process.pid, worker.pid]


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    """Do as the emitter does: without it a gateway would try at each request to tell of its growing queue."""
    ended = threading.Event()

    def report() -> None:
        with Page(path) as page:
            while not ended.wait(REPORT_S):
                page.report(page.read().queue_depth)

    thread = threading.Thread(target=report)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _process(command: list[str], variables: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended with the block; its output is no part of the bench's."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, cwd=REPOSITORY_ROOT, env=variables, **pipes) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
