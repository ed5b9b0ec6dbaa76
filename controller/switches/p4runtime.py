"""A P4Runtime connection to one switch: arbitration, pipeline, entries, stream. Knows no fabric."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import finsy as fy
from finsy.grpcutil import GRPCChannelArgumentType, GRPCOptions, grpc_channel
from finsy.proto import U128, p4r, p4r_grpc

from controller.switches.diff import Changes, Kind, Update
from controller.switches.entries import ANY, GROUPS, Act, Key, Place
from hitless.cancellation import raise_if_cancelled
from hitless.tls import Identity, TlsError

ELECTION_ID = 10
"""Offered first; one lower for each controller that is there already, so that a later one is a backup."""
HANDSHAKE_TIMEOUT = 5.0
"""Seconds a switch may take to answer the arbitration."""
BATCH = 1000
"""Updates in one Write at most: gRPC's message limit is 4 MB."""
MAX_METADATA = 64 << 10
"""Bytes of the details of an error: one for each update of a batch that was refused."""
DIGEST_CONFIG = {"max_list_size": 1, "max_timeout_ns": 0, "ack_timeout_ns": 1_000_000_000}
"""Each digest at once: BMv2 sweeps a list that may wait for more every 100 ms at best."""


REFERS_TO = re.compile(r"@refers_to\(\s*(\w+)\s*,")
"""The table that an annotation of the P4Info names."""
Entity = fy.P4TableEntry | fy.P4CounterEntry | fy.P4DigestEntry | fy.P4MulticastGroupEntry


class SwitchError(Exception):
    """The switch is away or refused something; the message says which switch, what and why."""


@dataclass(frozen=True, slots=True)
class Program:
    """The compiled program: what p4c made of `p4src/steering.p4`."""

    p4info: Path
    json: Path

    @classmethod
    def compiled(cls, folder: Path = Path(__file__).parents[2] / "p4src" / "compiled") -> Self:
        """The artefacts that lie beside the source."""
        return cls(folder / "steering.p4info.txtpb", folder / "steering.json")

    def schema(self) -> fy.P4Schema:
        """The program's tables by name. Raises SwitchError when an artefact cannot be read."""
        try:
            return fy.P4Schema(self.p4info, self.json.read_bytes())
        except OSError as error:
            raise SwitchError(f"{error.filename}: {error.strerror}: run `make p4`") from error


def references(schema: fy.P4Schema) -> dict[str, set[str]]:
    """By table, the tables that its entries refer to with a key or a parameter (`@refers_to`)."""
    actions = {action.preamble.id: action for action in schema.p4info.actions}
    found: dict[str, set[str]] = {}
    for table in schema.p4info.tables:
        params = [param for reference in table.action_refs for param in actions[reference.id].params]
        annotations = [text for one in (*table.match_fields, *params) for text in one.annotations]
        targets = (REFERS_TO.match(text) for text in annotations)
        found[table.preamble.alias] = {target[1] for target in targets if target is not None}
    return found


class _Options(GRPCOptions):
    """Without the pool of transports that gRPC shares between channels to the same address.

    A transport that has failed waits for a second and longer before it tries again, also for a channel that is new:
    a switch that is back would be told from one that is not by a cached error.
    """

    def to_native(self) -> GRPCChannelArgumentType:
        return [*super().to_native(), ("grpc.use_local_subchannel_pool", 1)]


class _Client(fy.P4Client):
    """finsy's client, which takes no options of a channel."""

    async def open(
        self, *, schema: fy.P4Schema | None = None, complete_request: Callable[[Any], None] | None = None
    ) -> None:
        await super().open(schema=schema, complete_request=complete_request)
        assert self._channel is not None
        await self._channel.close(None)
        self._channel = grpc_channel(
            self._address, credentials=self._credentials, options=_Options(max_metadata_size=MAX_METADATA)
        )
        self._stub = p4r_grpc.P4RuntimeStub(self._channel)


class Connection:
    """One stream to a switch and the calls beside it. Use as a context manager; raises SwitchError throughout."""

    def __init__(
        self, name: str, address: str, device_id: int, schema: fy.P4Schema, tls: Identity | None = None
    ) -> None:
        """`tls` is who one is to the switch, which has to show a certificate for its address; without it, in clear."""
        self.name = name
        self.address = address
        self.device_id = device_id
        self.schema = schema
        self._tls = tls
        self._client = _Client(address, self._credentials(), wait_for_ready=False)
        self._election_id = ELECTION_ID
        self._sending = asyncio.Lock()
        self._ended = False

    async def __aenter__(self) -> Self:
        await self._client.open(schema=self.schema, complete_request=self._complete)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        await self._client.close()

    def _credentials(self) -> fy.GRPCCredentialsTLS | None:
        if self._tls is None:
            return None
        try:
            pem = self._tls.read()
        except TlsError as error:
            raise SwitchError(f"{self.name} ({self.address}): {error}") from error
        return fy.GRPCCredentialsTLS(cacert=pem.authority, cert=pem.certificate, private_key=pem.key)

    def _complete(self, request: Any) -> None:
        if isinstance(request, p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest):
            request.election_id.CopyFrom(U128.encode(self._election_id))

    def _error(self, what: str, error: fy.P4ClientError) -> SwitchError:
        details = "; ".join(f"update {index}: {part.message}" for index, part in error.details.items())
        reason = details or error.message or error.code.name
        if self._tls is None and "Socket closed" in reason and "failed to connect" in reason:
            reason += ": perhaps it serves TLS alone (tls.switches in the fabric file)"
        if self._tls is not None and error.code == fy.GRPCStatusCode.UNAVAILABLE:
            reason = handshake_problem(self._tls, reason, time.time())
        return SwitchError(f"{self.name} ({self.address}): {what}: {reason}")

    async def become_primary(self) -> None:
        """Be the switch's primary controller; fails while another one is."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT):
                status = await self._arbitrate()
        except TimeoutError:
            raise SwitchError(f"{self.name} ({self.address}): no answer to the arbitration") from None
        if status != fy.GRPCStatusCode.OK:
            raise SwitchError(
                f"{self.name} ({self.address}): another controller is in charge of it: end that one, or leave it be"
            )

    async def _arbitrate(self) -> int:
        while True:
            try:
                await self._client.send(
                    p4r.StreamMessageRequest(
                        arbitration=p4r.MasterArbitrationUpdate(
                            device_id=self.device_id, election_id=U128.encode(self._election_id)
                        )
                    )
                )
                while True:
                    message = await self._client.receive()
                    if message.WhichOneof("update") == "arbitration":
                        return int(message.arbitration.status.code)
            except fy.P4ClientError as error:
                if not error.is_election_id_used or self._election_id == 1:
                    raise self._error("arbitration", error) from error
                self._election_id -= 1

    async def messages(self) -> AsyncIterator[fy.P4DigestList | fy.P4PacketIn]:
        """Digests and packet-ins as they come. Ends by SwitchError: the stream broke, or another took over."""
        while True:
            try:
                message = await self._client.receive()
            except fy.P4ClientError as error:
                raise self._error("stream", error) from error
            except RuntimeError as error:  # finsy: the stream's orderly end
                raise SwitchError(f"{self.name} ({self.address}): the switch ended the stream") from error
            except asyncio.CancelledError:
                raise_if_cancelled()
                raise self._over() from None
            match message.WhichOneof("update"):
                case "digest":
                    yield fy.P4DigestList.decode(message, self.schema)
                case "packet":
                    yield fy.P4PacketIn.decode(message, self.schema)
                case "arbitration" if message.arbitration.status.code != fy.GRPCStatusCode.OK:
                    raise SwitchError(f"{self.name} ({self.address}): another controller took it over")
                case "error":
                    raise SwitchError(f"{self.name} ({self.address}): {message.error.message}")

    async def send(self, message: fy.P4PacketOut | fy.P4DigestListAck) -> None:
        """Send a packet-out or an ack. A caller who gives up leaves the stream as it is."""
        sending = asyncio.create_task(self._send(message))
        sending.add_done_callback(_retrieve_exception)
        # gRPC ends the whole stream when a write to it is cancelled.
        await asyncio.shield(sending)

    async def _send(self, message: fy.P4PacketOut | fy.P4DigestListAck) -> None:
        try:
            async with self._sending:  # gRPC takes one write to a stream at a time
                if self._ended:
                    raise self._over()
                await self._client.send(message.encode_update(self.schema))
        except fy.P4ClientError as error:
            raise self._error("stream", error) from error
        except asyncio.CancelledError:  # nobody cancels this but the stream
            raise self._over() from None

    def _over(self) -> SwitchError:
        return SwitchError(f"{self.name} ({self.address}): the stream has ended")

    async def cookie(self) -> int | None:
        """The cookie of the pipeline it runs; None without one."""
        try:
            reply = await self._client.request(
                p4r.GetForwardingPipelineConfigRequest(
                    device_id=self.device_id,
                    response_type=p4r.GetForwardingPipelineConfigRequest.COOKIE_ONLY,
                )
            )
        except fy.P4ClientError as error:
            if error.is_pipeline_missing:
                return None
            raise self._error("reading the pipeline's cookie", error) from error
        return int(reply.config.cookie.cookie) if reply.config.HasField("cookie") else None

    async def push(self) -> None:
        """Install the pipeline. Every entry is gone afterwards."""
        try:
            await self._client.request(
                p4r.SetForwardingPipelineConfigRequest(
                    device_id=self.device_id,
                    action=p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT,
                    config=self.schema.get_pipeline_config(),
                )
            )
        except fy.P4ClientError as error:
            raise self._error("installing the program", error) from error

    async def read(self, entities: Iterable[Entity]) -> list[Any]:
        """Read entities, as finsy's types; empty when what is asked for by its key is not there."""
        request = p4r.ReadRequest(device_id=self.device_id, entities=[one.encode(self.schema) for one in entities])
        found: list[Any] = []
        try:
            async for reply in self._client.request_iter(request):
                found.extend(reply.entities)
        except fy.P4ClientError as error:
            if error.code == fy.GRPCStatusCode.NOT_FOUND or (error.details and error.is_not_found_only):
                return []
            raise self._error("reading", error) from error
        decoders: dict[str, Any] = {
            "table_entry": fy.P4TableEntry,
            "counter_entry": fy.P4CounterEntry,
            "digest_entry": fy.P4DigestEntry,
            "packet_replication_engine_entry": fy.P4MulticastGroupEntry,
        }
        return [decoders[entity.WhichOneof("entity")].decode(entity, self.schema) for entity in found]

    async def read_entries(self) -> dict[Place, Act]:
        """What stands in the tables that a controller fills. One read per table keeps the messages small."""
        entries: dict[Place, Act] = {}
        for table in self.schema.tables:
            if table.is_const:
                continue
            for entry in await self.read([fy.P4TableEntry(table.alias)]):
                if not entry.is_default_action:
                    place, act = self._place(entry)
                    entries[place] = act
        for group in await self.read([fy.P4MulticastGroupEntry()]):
            ports = sorted(int(getattr(replica, "port", replica)) for replica in group.replicas)
            place = Place(GROUPS, (("group", group.multicast_group_id),))
            entries[place] = Act("copy", tuple(("port", port) for port in ports))
        return entries

    def _place(self, entry: fy.P4TableEntry) -> tuple[Place, Act]:
        fields = self.schema.tables[entry.table_id].match_fields
        match: dict[str, Any] = entry.match or {}
        # P4Runtime leaves out a prefix that everything has; of exact keys, none may be missing.
        key: Key = tuple((field.alias, match.get(field.alias, ANY)) for field in fields)
        assert isinstance(entry.action, fy.P4TableAction)
        return Place(entry.table_id, key), Act(entry.action.name, tuple(entry.action.args.items()))

    async def write(self, changes: Changes) -> None:
        """Make the changes, batch after batch. Stops at the first batch with a failure."""
        for batch in changes.batches:
            for start in range(0, len(batch), BATCH):
                part = batch[start : start + BATCH]
                await self._write([self._update(update) for update in part], "\n".join(str(update) for update in part))

    def _update(self, update: Update) -> Any:
        entry: fy.P4MulticastGroupEntry | fy.P4TableEntry
        if update.place.table == GROUPS:
            ((_, group),) = update.place.key
            assert isinstance(group, int)
            entry = fy.P4MulticastGroupEntry(group, replicas=[port for _, port in update.act.params])
        else:
            entry = fy.P4TableEntry(
                update.place.table,
                match=fy.Match(dict(update.place.key)),
                action=None if update.kind is Kind.DELETE else fy.Action(update.act.name, **dict(update.act.params)),
            )
        kinds = {
            Kind.INSERT: p4r.Update.INSERT,
            Kind.MODIFY: p4r.Update.MODIFY,
            Kind.DELETE: p4r.Update.DELETE,
        }
        return p4r.Update(type=kinds[update.kind], entity=entry.encode(self.schema))

    async def _write(self, updates: list[Any], what: str) -> None:
        try:
            await self._client.request(p4r.WriteRequest(device_id=self.device_id, updates=updates))
        except fy.P4ClientError as error:
            raise self._error(f"writing\n{what}\n", error) from error

    async def forget_replication(self) -> None:
        """Delete multicast groups and clone sessions: BMv2's replication engine keeps them across a push."""
        request = p4r.ReadRequest(
            device_id=self.device_id,
            entities=[fy.P4MulticastGroupEntry().encode(self.schema), fy.P4CloneSessionEntry().encode(self.schema)],
        )
        try:
            found = [entity async for reply in self._client.request_iter(request) for entity in reply.entities]
        except fy.P4ClientError as error:
            if error.is_pipeline_missing:
                return
            raise self._error("reading multicast groups and clone sessions", error) from error
        if found:
            await self._write(
                [p4r.Update(type=p4r.Update.DELETE, entity=entity) for entity in found], "multicast and clone entries"
            )

    async def ask_for_digests(self, digest: str) -> None:
        """Have the switch send a digest, promptly."""
        wanted = fy.P4DigestEntry(digest, **DIGEST_CONFIG)
        present = await self.read([fy.P4DigestEntry(digest)])
        if wanted in present:
            return
        kind = p4r.Update.MODIFY if present else p4r.Update.INSERT
        await self._write([p4r.Update(type=kind, entity=wanted.encode(self.schema))], f"digest {digest}")


def handshake_problem(tls: Identity, reason: str, now: float) -> str:
    """Why a connection came to nothing, in words where gRPC shows what TLS found, with the clock that may be wrong."""
    try:
        invalid = tls.certificate().problem(now)
    except TlsError as error:
        return str(error)
    if invalid is not None:
        return f"the certificate in {tls.folder} {invalid}"
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        clock = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d %H:%M} UTC"
        return f"its certificate is a stranger's, expired or not valid yet (this machine's clock says {clock})"
    if "Ssl handshake failed" in reason or ("failed to connect" in reason and "Socket closed" in reason):
        return "no TLS: it serves in clear, or refuses the controller's certificate"
    return reason


def _retrieve_exception(ended: asyncio.Task[None]) -> None:
    """What became of a message whose sender has given up interests nobody: keep asyncio from complaining."""
    if not ended.cancelled():
        ended.exception()
