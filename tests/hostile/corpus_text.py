"""JSON, TOML, tar archives, samples and ONNX that are not what they say."""

import json
import zipfile

import numpy as np
import onnx
from corpus_data import archive, array_bytes, header, hostile_tars, npy, tarred
from onnx import TensorProto, helper

JSONS = {
    "deep.json": b"[" * 100_000 + b"]" * 100_000,
    "deeper-than-allowed.json": b"[" * 300 + b"]" * 300,
    "unclosed.json": b'{"a":' * 90_000,
    "integer.json": b'{"a": ' + b"9" * 4000 + b"}",
    "long-integer.json": b'{"a": ' + b"9" * 9000 + b"}",
    "integer-of-65-bits.json": b'{"a": 18446744073709551616}',
    "float.json": b'{"a": 1e999}',
    "nan.json": b'{"a": NaN}',
    "not-utf-8.json": b'{"a": "\xff"}',
    "lone-surrogate.json": b'{"a": "\\ud800"}',
    "utf-16.json": '{"a": 1}'.encode("utf-16"),
    "many-lists.json": b"[" + b"[]," * 4_000_000 + b"[]]",
    "many-tables.json": b"[" + b'{"":0},' * 2_000_000 + b"{}]",
    "empty.json": b"",
    "text.json": b"hello",
    "page.json": b"<!DOCTYPE html>",
}
TOMLS = {
    "deep.toml": b"a = " + b"[" * 100_000 + b"]" * 100_000,
    "deep-tables.toml": b"a = " + b"{a=" * 50_000 + b"1" + b"}" * 50_000,
    "dotted.toml": b".".join([b"a"] * 100_000) + b" = 1",
    "dotted-table.toml": b"[" + b".".join([b"a"] * 100_000) + b"]",
    "deeper-than-allowed.toml": b"a = " + b"[" * 200 + b"]" * 200,
    "integer.toml": b"[targets.x]\nmax_median_ms = " + b"9" * 4000,
    "integer-of-65-bits.toml": b"[targets.x]\nmax_median_ms = 18446744073709551616",
    "not-utf-8.toml": b'a = "\xff"',
    "lone-surrogate.toml": b'a = "\\ud800"',
    "large.toml": b"a = 1\n" + b"# \n" * 1_000_000,
    "nan.toml": b"[targets.x]\nmax_median_ms = nan",
    "infinity.toml": b"[targets.x]\nmax_median_ms = inf",
    "list.toml": b"targets = [1, 2]",
    "date.toml": b"[targets.x]\nmax_median_ms = 1979-05-27",
    "name-of-300-letters.toml": b"[targets." + b"x" * 300 + b"]\nmax_medianms = 1",
    "text.toml": b"hello",
    "zeros.toml": bytes(100),
}


def results():
    good = header("result/status", 5, content=b"done\n")
    for name, before in hostile_tars(b""):
        yield f"{name}.tar", tarred(before, good)
    deep = b"[" * 100_000
    bundle = header("x/bundle.json", len(deep), content=deep)
    yield "deep-bundle.tar", tarred(good, header("result/bundle.json", len(deep), content=deep), bundle)
    yield "above.tar", tarred(header("../evil", 1, content=b"x"))
    yield "root.tar", tarred(header("/hostile-marker", 1, content=b"x"))
    yield "cut-off.tar", tarred(good)[:700]
    yield "zeros.tar", bytes(2048)
    yield "empty.tar", b""
    yield "text.tar", b"hello" * 300


def samples():
    good = {
        "ms": array_bytes(np.ones(4)),
        "round": array_bytes(np.zeros(4, "i4")),
        "description": array_bytes(np.array(json.dumps({"schema": "edgeprune-samples/1"}))),
    }
    yield "terabyte.npz", archive(**{**good, "ms": npy((1 << 38,), "<f8")})
    yield "bomb.npz", archive(zipfile.ZIP_DEFLATED, **{**good, "ms": array_bytes(np.zeros(20_000_000))})
    yield "deep.npz", archive(**{**good, "description": array_bytes(np.array("[" * 100_000))})
    yield "list.npz", archive(**{**good, "description": array_bytes(np.array("[]"))})
    yield "number.npz", archive(**{**good, "description": array_bytes(np.ones(4))})
    yield "missing.npz", archive(ms=good["ms"])
    yield "lengths.npz", archive(**{**good, "round": array_bytes(np.zeros((3, 3), "i4"))})
    yield "objects.npz", archive(**{**good, "ms": array_bytes(np.array([{}]))})
    yield "text.npz", b"hello"


def model(nodes, initializers=(), shape=("N", 2, 32)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("iq", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def onnxes():
    same = helper.make_node("Identity", ["iq"], ["logits"])
    add = helper.make_node("Add", ["iq", "w"], ["logits"])
    for name, place in (("external", "/etc/passwd"), ("external-above", "../../../etc/passwd")):
        tensor = helper.make_tensor("w", TensorProto.FLOAT, [32], np.zeros(32, "f4").tobytes(), raw=True)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        yield f"{name}.onnx", model([add], [tensor]).SerializeToString()
    short = helper.make_tensor("w", TensorProto.FLOAT, [32], np.zeros(32, "f4").tobytes(), raw=True)
    short.dims[0] = 1 << 40
    yield "dimensions.onnx", model([add], [short]).SerializeToString()
    negative = helper.make_tensor("w", TensorProto.FLOAT, [32], np.zeros(32, "f4").tobytes(), raw=True)
    negative.dims[0] = -32
    yield "negative.onnx", model([add], [negative]).SerializeToString()
    size = helper.make_tensor("size", TensorProto.INT64, [2], np.array([1 << 20, 1 << 20]).tobytes(), raw=True)
    full = helper.make_node("ConstantOfShape", ["size"], ["w"])
    yield "constant-of-4-terabytes.onnx", model([full, add], [size]).SerializeToString()
    size = helper.make_tensor("size", TensorProto.INT64, [2], np.array([1 << 15, 1 << 14]).tobytes(), raw=True)
    yield "constant-of-2-gigabytes.onnx", model([full, add], [size]).SerializeToString()
    good = model([same]).SerializeToString()
    yield "cut-off.onnx", good[:-20]
    yield "unknown-operator.onnx", model([helper.make_node("Nothing", ["iq"], ["logits"])]).SerializeToString()
    yield "no-input.onnx", onnx.ModelProto().SerializeToString()
    yield "text.onnx", b"hello" * 30
    yield "empty.onnx", b""
