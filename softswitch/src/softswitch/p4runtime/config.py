"""The forwarding pipeline config a client pushes: what is in it, and what of it a client asks back."""

from __future__ import annotations

from finsy.proto import p4r

from softswitch.p4runtime.errors import invalid

_DEVICE_DATA_FIELD = 3


def program_text(device_config: bytes) -> str:
    """The BMv2 JSON inside `p4_device_config`: as it is, or wrapped in the P4DeviceConfig message that clients of
    early P4Runtime (p4lang's tutorials) still send. Raises INVALID_ARGUMENT."""
    data = device_config if device_config.lstrip()[:1] == b"{" else _device_data(device_config)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise invalid(f"p4_device_config is neither BMv2 JSON nor a P4DeviceConfig: {error}") from error


def _device_data(message: bytes) -> bytes:
    """Field `device_data` of a serialized p4.tmp.P4DeviceConfig {bool reassign = 1; Extras extras = 2; bytes
    device_data = 3;}."""
    data, position = b"", 0
    try:
        while position < len(message):
            tag, position = _varint(message, position)
            if tag & 7 == 0:
                _, position = _varint(message, position)
                continue
            if tag & 7 != 2:
                raise ValueError(f"wire type {tag & 7}")
            length, position = _varint(message, position)
            if position + length > len(message):
                raise ValueError("field reaches beyond the end")
            if tag >> 3 == _DEVICE_DATA_FIELD:
                data = message[position : position + length]
            position += length
    except (IndexError, ValueError) as error:
        raise invalid("p4_device_config is neither BMv2 JSON nor a P4DeviceConfig") from error
    if not data:
        raise invalid("p4_device_config holds no BMv2 JSON")
    return data


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a varint of more than 64 bits")


def restrict(config: p4r.ForwardingPipelineConfig, kind: int) -> p4r.ForwardingPipelineConfig:
    """The fields of `config` that a response of this type holds. Raises INVALID_ARGUMENT for an unknown type."""
    request = p4r.GetForwardingPipelineConfigRequest
    if kind not in request.ResponseType.values():
        raise invalid(f"there is no response type {kind}")
    answer = p4r.ForwardingPipelineConfig()
    if config.HasField("cookie"):
        answer.cookie.CopyFrom(config.cookie)
    if kind in (request.ALL, request.P4INFO_AND_COOKIE):
        answer.p4info.CopyFrom(config.p4info)
    if kind in (request.ALL, request.DEVICE_CONFIG_AND_COOKIE):
        answer.p4_device_config = config.p4_device_config
    return answer
