"""One device: its engine, the pipeline that runs, the one that is saved, and who may change them.

Nothing here waits for a client. What changes pipelines takes long, so a server calls it from a thread, one call at a
time; beside `write`, `read` and `ports_changed` only `verify` and `prepare_reconcile`.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import CompilerMissing
from softswitch.engine.compiled import Compiled
from softswitch.engine.engine import Engine
from softswitch.p4runtime import p4info, program_schema, read, schema, write
from softswitch.p4runtime.arbitration import Arbitration
from softswitch.p4runtime.carry import carry
from softswitch.p4runtime.config import program_text
from softswitch.p4runtime.entities.replication import ReplicationStore
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.formats import formats
from softswitch.p4runtime.pipeline import Pipeline

LOGGER = logging.getLogger("softswitch.p4runtime")

_Action = p4r.SetForwardingPipelineConfigRequest


@dataclass(frozen=True, slots=True)
class Verified:
    """A config that the engine can run."""

    config: p4r.ForwardingPipelineConfig
    schema: schema.Schema
    compiled: Compiled


class Device:
    """A P4Runtime device over `engine`, which has `cpu_port` (None: no packet-in and packet-out). `spare_engine`
    makes another engine like it, on which a saved pipeline lives until it is committed; no packets reach it."""

    def __init__(
        self, device_id: int, engine: Engine, spare_engine: Callable[[], Engine], cpu_port: int | None
    ) -> None:
        self.engine = engine
        self.cpu_port = cpu_port
        self.arbitration = Arbitration(device_id)
        self.device_id = device_id
        self._running: Pipeline | None = None
        self._spare_engine = spare_engine
        self._saved: Pipeline | None = None

    def close(self) -> None:
        """Give up the saved pipeline. The engine is the caller's."""
        self._discard_saved()

    @property
    def running(self) -> Pipeline | None:
        """The pipeline that runs, as P4Runtime has it: None for a program without P4Info too."""
        return _described(self._running)

    @property
    def present(self) -> Pipeline | None:
        """What writes and reads refer to, P4Info or not: the saved pipeline, else the one that runs."""
        return self._saved or self._running

    @property
    def saved(self) -> Pipeline | None:
        """The pipeline that waits for a COMMIT."""
        return self._saved

    def write(
        self, updates: Sequence[p4r.Update], atomicity: int, serialized: bytes | None = None
    ) -> list[P4RuntimeError | None]:
        """Do a batch of updates; `serialized` is a WriteRequest that holds them. Returns one result per update, None
        for success. Raises P4RuntimeError when none was tried."""
        pipeline = self.current()
        known = atomicity in p4r.WriteRequest.Atomicity.values()
        if serialized is not None and known and pipeline.batches.write(serialized, len(updates)):
            return [None] * len(updates)
        return write.write(pipeline, updates, atomicity)

    def write_pieces(self, updates: Sequence[p4r.Update], stretch: int) -> Iterator[list[P4RuntimeError | None]]:
        """Do a CONTINUE_ON_ERROR batch in pieces of up to `stretch` updates, as results are asked for. Pieces in which
        something is wrong or unusual are shorter, as they take longer. The results are as those of `write`."""
        pipeline = self.current()
        short = max(stretch // 10, 1)
        for first in range(0, len(updates), stretch):
            piece = updates[first : first + stretch]
            if pipeline.batches.write(p4r.WriteRequest(updates=piece).SerializeToString(), len(piece)):
                yield [None] * len(piece)
                continue
            for at in range(0, len(piece), short):
                yield write.write(pipeline, piece[at : at + short], p4r.WriteRequest.CONTINUE_ON_ERROR)

    def read(self, requests: Sequence[p4r.Entity]) -> tuple[Iterator[p4r.ReadResponse], list[P4RuntimeError | None]]:
        """See `read.read`. Raises FAILED_PRECONDITION without a pipeline."""
        return read.read(self.current(), requests)

    def set_pipeline(self, action: int, config: p4r.ForwardingPipelineConfig | None) -> None:
        """Do what a SetForwardingPipelineConfig asks for; `config` None when it holds none. Raises P4RuntimeError, the
        running pipeline going on.

        Not for RECONCILE_AND_COMMIT, whose steps are `verify`, `prepare_reconcile` and, if there is something to carry
        over, `reconcile`; if not, `install`. A server takes the steps of the others singly too.
        """
        match action:
            case _Action.COMMIT:
                self.commit(config)
            case _Action.VERIFY:
                self.verify(config)
            case _Action.VERIFY_AND_SAVE:
                self.save(self.verify(config))
            case _Action.VERIFY_AND_COMMIT:
                self.replace(self.verify(config))
            case _:
                raise invalid("action is not set")

    def ports_changed(self) -> None:
        """Let the members that watch ports take part, or not, as the ports are now."""
        for pipeline in (self._running, self._saved):
            if pipeline is not None:
                pipeline.ports_changed()

    def current(self) -> Pipeline:
        """The pipeline that reads and writes refer to. Raises FAILED_PRECONDITION, in the words of simple_switch_grpc,
        which clients know, before the first push."""
        pipeline = _described(self.present)
        if pipeline is None:
            raise P4RuntimeError(StatusCode.FAILED_PRECONDITION, "No forwarding pipeline config set for this device")
        return pipeline

    def verify(self, config: p4r.ForwardingPipelineConfig | None) -> Verified:
        """Check and compile a config. Raises P4RuntimeError."""
        if config is None or not config.HasField("p4info") or not config.p4_device_config:
            raise invalid("a config with p4info and p4_device_config is needed")
        text = program_text(config.p4_device_config)
        start = time.monotonic()
        try:
            compiled = self.engine.compile(text, partial(p4info.prepared, config.p4info))
        except UnsupportedProgram as error:
            raise invalid(f"this switch cannot run the program: {error}") from error
        except ValueError as error:
            raise invalid(f"p4_device_config: {error}") from error
        except (CompilerMissing, OSError) as error:
            raise P4RuntimeError(StatusCode.FAILED_PRECONDITION, f"cannot compile the program: {error}") from error
        compiled = dataclasses.replace(compiled, formats=formats(config.p4info))
        verified = Verified(config, p4info.build(config.p4info, compiled.program), compiled)
        LOGGER.info("program checked and compiled in %.2f s", time.monotonic() - start)
        return verified

    def verify_program(self, text: str) -> Verified:
        """Compile a program that comes without P4Info. Raises as `Engine.compile` does."""
        compiled = self.engine.compile(text)
        config = p4r.ForwardingPipelineConfig(p4_device_config=text.encode())
        return Verified(config, program_schema.build(compiled.program), compiled)

    def load(self, text: str) -> None:
        """Run a program that comes without P4Info. Raises as `Engine.compile` does."""
        self.replace(self.verify_program(text))

    def reset(self) -> None:
        """Run the present program from its beginning, with nothing written."""
        if self._running is not None:
            self.replace(Verified(self._running.config, self._running.schema, self._running.compiled))

    def replace(self, verified: Verified) -> None:
        """Run `verified` in place of the running program, with nothing written."""
        if self._running is not None:
            self._running.remove_replication()
        self.engine.run(verified.compiled)
        self._commit_pipeline(Pipeline(verified.config, verified.schema, verified.compiled, self.engine))

    def _commit_pipeline(self, pipeline: Pipeline) -> None:
        self._running = pipeline
        self._discard_saved()
        config = pipeline.config
        cookie = config.cookie.cookie if config.HasField("cookie") else None
        LOGGER.info("pipeline committed: %d tables, cookie %s", len(pipeline.schema.tables), cookie)

    def save(self, verified: Verified) -> None:
        """Load `verified` beside the running program, to be written to until it is committed."""
        self._discard_saved()
        self._saved = self._on_spare_engine(verified)

    def commit(self, config: p4r.ForwardingPipelineConfig | None) -> None:
        """Put the saved pipeline, with what was written into it since, in place of the running one. Raises
        P4RuntimeError."""
        if config is not None:
            raise invalid("COMMIT takes no config: it realizes the saved one")
        if self._saved is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, "no saved config: VERIFY_AND_SAVE one first")
        saved = self._saved
        saved.move_to(self.engine)
        saved.replace_replication(self._running.replication if self._running else ReplicationStore())
        self._saved = None
        self._commit_pipeline(saved)

    def prepare_reconcile(self, verified: Verified) -> Pipeline | None:
        """Load `verified`, which was just verified, beside the running program. None when nothing is to be carried
        over: no program runs, or this one."""
        running = self.running
        if running is None or _same_program(running.config, verified.config):
            return None
        return self._on_spare_engine(verified)

    def reconcile(self, prepared: Pipeline) -> None:
        """Bring the program that was prepared to the present state and put it in place of the running one: each packet
        meets either the old program or the new one, whole. Raises P4RuntimeError, the running one going on."""
        assert self.running is not None, "a prepared program has one to take over from"
        prepared.move_to(self.engine, carry(self.running, prepared))
        self._commit_pipeline(prepared)

    def install(self, verified: Verified) -> None:
        """Run `verified` with nothing written, unless it runs already: then it stays, under the config's new cookie."""
        if self.running is not None and _same_program(self.running.config, verified.config):
            self.running.config = verified.config
            self._discard_saved()
        else:
            self.replace(verified)

    def _on_spare_engine(self, verified: Verified) -> Pipeline:
        engine = self._spare_engine()
        try:
            engine.use_clock_of(self.engine)
            engine.run(verified.compiled)
        except BaseException:
            engine.close()
            raise
        return Pipeline(verified.config, verified.schema, verified.compiled, engine, self.engine.ports)

    def _discard_saved(self) -> None:
        if self._saved is not None:
            self._saved.engine.close()
        self._saved = None


def _described(pipeline: Pipeline | None) -> Pipeline | None:
    """A pipeline that came with its P4Info, which P4Runtime's clients need; else None."""
    return pipeline if pipeline is not None and pipeline.config.HasField("p4info") else None


def _same_program(old: p4r.ForwardingPipelineConfig, new: p4r.ForwardingPipelineConfig) -> bool:
    return bool(old.p4_device_config == new.p4_device_config and old.p4info == new.p4info)
