"""The message ``tf.train.Example``, described in code: no TensorFlow, no generated
file.

    Example { Features features = 1; }
    Features { map<string, Feature> feature = 1; }
    Feature { oneof: bytes_list = 1, float_list = 2, int64_list = 3; value = 1 each }

Field numbers and types: tensorflow/core/example/{example,feature}.proto.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "lsgm.tfrecord"
Field = descriptor_pb2.FieldDescriptorProto


def _field(name: str, number: int, kind: Any, *, type_name: str = "") -> Any:
    one = Field.LABEL_OPTIONAL
    field = Field(name=name, number=number, type=kind, label=one)
    if type_name:
        field.type_name = f".{PACKAGE}.{type_name}"
    return field


def _repeated(name: str, number: int, kind: Any, *, type_name: str = "") -> Any:
    field = _field(name, number, kind, type_name=type_name)
    field.label = Field.LABEL_REPEATED
    return field


def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="lsgm/tfrecord.proto", package=PACKAGE, syntax="proto3"
    )
    lists = {"Bytes": Field.TYPE_BYTES, "Float": Field.TYPE_FLOAT}
    feature = descriptor_pb2.DescriptorProto(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, kind) in enumerate(
        (lists | {"Int64": Field.TYPE_INT64}).items(), 1
    ):
        file.message_type.add(name=f"{name}List").field.append(
            _repeated("value", number=1, kind=kind)
        )
        field = _field(
            f"{name.lower()}_list", number, Field.TYPE_MESSAGE, type_name=f"{name}List"
        )
        field.oneof_index = 0
        feature.field.append(field)
    file.message_type.append(feature)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.append(_field("key", 1, Field.TYPE_STRING))
    entry.field.append(_field("value", 2, Field.TYPE_MESSAGE, type_name="Feature"))
    features.field.append(
        _repeated("feature", 1, Field.TYPE_MESSAGE, type_name="Features.FeatureEntry")
    )
    file.message_type.add(name="Example").field.append(
        _field("features", 1, Field.TYPE_MESSAGE, type_name="Features")
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName(f"{PACKAGE}.Example")
    )


Example = _message_class()


def features(record: bytes) -> dict[str, list[Any]]:
    """The values of each feature of a serialised example.

    Raises:
      google.protobuf.message.DecodeError: not such a message.
    """
    stored = Example.FromString(record).features.feature
    kinds = {name: feature.WhichOneof("kind") for name, feature in stored.items()}
    return {
        name: list(getattr(stored[name], kind).value) if kind else []
        for name, kind in kinds.items()
    }
