"""The bench of WebAssembly functions compares figures of one round only, and tells the worst one beside the median."""

from experiments.bench.gateway import table
from experiments.bench.wasm import PYTHON, WASM, Round, summary


def one(slower: float = 1.0, call_us: float = 20.0) -> Round:
    return {PYTHON: {"call_us": 40.0 * slower}, WASM: {"call_us": call_us * slower}}


def test_a_slow_moment_of_the_machine_changes_no_ratio() -> None:
    found = summary([one(), one(slower=5.0), one(call_us=30.0)])
    assert found["ratios"] == {"wasm_call_us_vs_python": 0.5, "wasm_call_us_vs_python_worst": 0.75}
    assert "| `wasm_call_us_vs_python`         |   0.50 |  0.75 |" in table(found)
