"""Programs over Thrift: which one runs, another in its place, its state as a whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any, TypeVar

from finsy.proto import p4r
from google.protobuf import text_format

from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import CompilerMissing
from softswitch.p4runtime import read
from softswitch.p4runtime.config import program_text
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_calculation, bad_lookup, bad_swap, standard, unsupported

_Result = TypeVar("_Result")

_COMMIT = p4r.SetForwardingPipelineConfigRequest.COMMIT

NO_PROGRAM = "{}"
"""What is said to run before the first program, as BMv2 says it."""

_EVERYTHING = (
    "table_entry",
    "action_profile_member",
    "action_profile_group",
    "counter_entry",
    "meter_entry",
    "register_entry",
    "value_set_entry",
)


class Programs:
    """The calls about programs of service `standard`. `port` is where Thrift is served."""

    def __init__(self, access: Access, port: int) -> None:
        self._access = access
        self._port = port

    def bm_mgmt_get_info(self) -> Any:
        """Who this is."""
        return standard.Info(device_id=self._access.device.device_id, thrift_port=self._port)

    def bm_get_config(self) -> str:
        """The BMv2 JSON of the program."""
        return self._text()

    def bm_get_config_md5(self) -> bytes:
        """The MD5 sum of that."""
        return hashlib.md5(self._text().encode(), usedforsecurity=False).digest()

    def bm_load_new_config(self, text: str) -> None:
        """Get a program ready; until it is swapped in, calls refer to it while the old one goes on."""
        device = self._access.device
        if device.saved is not None:
            raise bad_swap("ONGOING_SWAP", "a program waits to be swapped in already")
        try:
            verified = device.verify_program(text)
        except (CompilerMissing, OSError, UnsupportedProgram, ValueError, P4RuntimeError) as error:
            raise bad_swap("CONFIG_SWAP_DISABLED", f"this switch cannot run the program: {error}") from error
        self._access.change_program(lambda device: device.save(verified))

    def bm_swap_configs(self) -> None:
        """Put the program that is ready in place of the one that runs."""
        try:
            self._access.change_program(lambda device: device.set_pipeline(_COMMIT, None))
        except P4RuntimeError as error:
            raise bad_swap("NO_ONGOING_SWAP", error.message) from error

    def bm_reset_state(self) -> None:
        """Let the program begin again, with nothing written."""
        self._access.change_program(Device.reset)

    def bm_serialize_state(self) -> str:
        """Everything written, as text of P4Runtime that `softswitch run --entries` reads."""

        def take(view: View) -> str:
            wanted = [p4r.Entity() for _ in _EVERYTHING]
            for entity, kind in zip(wanted, _EVERYTHING, strict=True):
                getattr(entity, kind).SetInParent()
            for kind in ("multicast_group_entry", "clone_session_entry"):
                entity = p4r.Entity()
                getattr(entity.packet_replication_engine_entry, kind).SetInParent()
                wanted.append(entity)
            responses, _ = read.read(view.pipeline, wanted)
            return "".join(text_format.MessageToString(response) for response in responses)

        return self._access.do(take, lambda: unsupported("no program is loaded, so there is no state"))

    def bm_get_id_from_name(self, context: int, kind: int, name: str) -> int:
        """The id that the JSON gives something."""
        kinds = standard.Resource
        places: dict[int, Callable[[Any], list[Any]]] = {
            kinds.MATCH_TABLE: lambda root: [t for p in root.get("pipelines", ()) for t in p.get("tables", ())],
            kinds.ACTION_PROFILE: lambda root: [
                a for p in root.get("pipelines", ()) for a in p.get("action_profiles", ())
            ],
            kinds.COUNTER: lambda root: root.get("counter_arrays", []),
            kinds.METER: lambda root: root.get("meter_arrays", []),
            kinds.REGISTER: lambda root: root.get("register_arrays", []),
            kinds.LEARNING_LIST: lambda root: root.get("learn_lists", []),
        }
        if kind not in places:
            raise bad_lookup("INVALID_RESOURCE_TYPE", f"there is no kind {kind} of things")
        for item in places[kind](json.loads(self._text())):
            if item.get("name") == name:
                return int(item["id"])
        raise bad_lookup("INVALID_RESOURCE_NAME", f"nothing of that kind is called {name!r}")

    def bm_set_crc16_custom_parameters(self, context: int, calculation: str, parameters: Any) -> None:
        """Refused: no program with such a hash runs here."""
        self._refuse_calculation(calculation)

    def bm_set_crc32_custom_parameters(self, context: int, calculation: str, parameters: Any) -> None:
        """Refused: no program with such a hash runs here."""
        self._refuse_calculation(calculation)

    def bm_set_toeplitz_hash_key(self, context: int, calculation: str, key: bytes) -> None:
        """Refused: no program with such a hash runs here."""
        self._refuse_calculation(calculation)

    def _refuse_calculation(self, name: str) -> None:
        def refuse(view: View) -> None:
            found = view.program.calculations.get(name)
            if found is None:
                raise bad_calculation("INVALID_CALCULATION_NAME", f"there is no calculation {name!r}")
            raise bad_calculation("WRONG_TYPE_CALCULATION", f"{name!r} is {found.algorithm}, which has no parameters")

        self._access.do(refuse, lambda: bad_calculation("INVALID_CALCULATION_NAME", "no program is loaded"))

    def _text(self) -> str:
        present = self._access.device.present
        return NO_PROGRAM if present is None else program_text(present.config.p4_device_config)
