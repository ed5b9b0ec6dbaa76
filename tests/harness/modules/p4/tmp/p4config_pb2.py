"""The message p4.tmp.P4DeviceConfig, which p4lang's tutorials wrap their program in: {bool reassign = 1; Extras {
map<string, string> kv = 1} extras = 2; bytes device_data = 3}. `extras`, which nothing sets, is left out."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_file = descriptor_pb2.FileDescriptorProto(name="p4/tmp/p4config.proto", package="p4.tmp", syntax="proto3")
_message = _file.message_type.add(name="P4DeviceConfig")
_message.field.add(name="reassign", number=1, type=_FIELD.TYPE_BOOL, label=_FIELD.LABEL_OPTIONAL)
_message.field.add(name="device_data", number=3, type=_FIELD.TYPE_BYTES, label=_FIELD.LABEL_OPTIONAL)
_pool = descriptor_pool.Default()
_pool.Add(_file)

P4DeviceConfig = message_factory.MessageFactory(_pool).GetPrototype(
    _pool.FindMessageTypeByName("p4.tmp.P4DeviceConfig")
)
