"""Model files and pickles that are not what they say, each made by a few lines."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import torch
from synthetic import checkpoint, trap

from edgeprune.files.store import to_plain
from edgeprune.network.model_file import FORMAT

GOOD = {
    "format": FORMAT,
    "state_dict": {"w": torch.arange(50.0)},
    "arch": {"name": "resnet56-1d", "arguments": {"channels": 2, "length": 32, "classes": 3}},
    "classes": ["AM", "CW", "FM"],
    "input": {"channels": 2, "length": 32},
    "data": None,
    "plan": None,
    "metrics": {},
}
PUSH = b"\x80\x02"


def saved(content, **options):
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def whole(**changes):
    """A model file that is whole but for some fields."""
    model = checkpoint()
    content = {
        **GOOD,
        "state_dict": model.model.state_dict(),
        "classes": list(model.classes),
        "input": to_plain(model.input),
    }
    return saved({**content, **changes})


def pickled(data, storages=(), method=zipfile.ZIP_STORED, **members):
    """A .pt of a hand-made pickle and storages."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("a/data.pkl", data)
        archive.writestr("a/version", b"3\n")
        archive.writestr("a/byteorder", b"little")
        for key, content in enumerate(storages):
            archive.writestr(f"a/data/{key}", content)
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Call:
    """Pickles as a call of a function that is named, with arguments."""

    def __init__(self, name, *arguments) -> None:
        self.name, self.arguments = name, arguments

    def code(self):
        module, name = self.name.rsplit(".", 1)
        return f"c{module}\n{name}\n".encode() + b"(" + b"".join(map(code, self.arguments)) + b"tR"


def code(value):
    """Protocol 2, with calls, and texts for storages: ('storage', kind, key, 'cpu', items)."""
    if isinstance(value, Call):
        return value.code()
    if isinstance(value, dict):
        return b"}(" + b"".join(code(key) + code(item) for key, item in value.items()) + b"u"
    if isinstance(value, tuple) and value[:1] == ("storage",):
        _, kind, key, location, items = value
        inner = code("storage") + f"ctorch\n{kind}\n".encode() + code(key) + code(location) + code(items)
        return b"(" + inner + b"tQ"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(code, value)) + b"t"
    return pickle.dumps(value, protocol=2)[2:-1]


def program(value):
    return PUSH + code(value) + b"."


def tensor(items, offset, shape, strides, kind="FloatStorage"):
    empty = Call("collections.OrderedDict")
    return Call(
        "torch._utils._rebuild_tensor_v2", ("storage", kind, "0", "cpu", items), offset, shape, strides, False, empty
    )


def deep(levels):
    """A tuple in a tuple in a tuple, as a key."""
    return PUSH + b"})" + b"\x85" * levels + b"K\x01s."


def doubled(times):
    """A tuple of two of a tuple of two ..., as a key."""
    return PUSH + b"}K\x01" + b"".join(b"q%c\x30h%ch%c\x86" % (i, i, i) for i in range(times)) + b"K\x01s."


def flipped(content, place):
    spoiled = bytearray(content)
    spoiled[place] ^= 1
    return bytes(spoiled)


def renamed_size(content, name, size):
    """A zip whose directory gives a member another size."""
    spoiled = bytearray(content)
    at = spoiled.index(b"PK\x01\x02")
    while spoiled[at + 46 : at + 46 + len(name)] != name:
        at = spoiled.index(b"PK\x01\x02", at + 4)
    struct.pack_into("<2L", spoiled, at + 20, size, size)
    return bytes(spoiled)


def legacy(items):
    """The format before torch 1.6, of one storage that is not there."""
    storage = (
        b"(" + code("storage") + b"ctorch\nFloatStorage\n" + b"".join(map(code, ("0", "cpu", items, None))) + b"tQ"
    )
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + code(0) + code((items,)) + code((1,)) + b"\x89}tR"
    parts = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    body = b"".join(pickle.dumps(part, protocol=2) for part in parts)
    return body + PUSH + b"}(" + code("w") + call + b"u." + pickle.dumps(["0"], protocol=2) + struct.pack("<q", items)


def pax_tar(size):
    member = tarfile.TarInfo("a")
    member.type, member.size = tarfile.XHDTYPE, size
    return member.tobuf(tarfile.GNU_FORMAT)


def embedded_of_stride_0():
    arch = {"name": "model.pt", "source": "pickle"}
    fields = {**GOOD, "arch": arch, "state_dict": {}}
    return pickled(program({**fields, "embedded": tensor(4, 0, (1 << 40,), (0,), "ByteStorage")}), [b"abcd"])


def deflated(content):
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    return buffer.getvalue()


def models():
    """Name with its suffix to content."""
    good = saved(GOOD)
    storage = good.index(torch.arange(50.0).numpy().tobytes())
    yield "flipped-weight.pt", flipped(good, storage + 6)
    yield "cut-off.pt", good[:-40]
    yield "with-a-tail.pt", good + b"tail"
    yield "two-directories.pt", good + good
    yield "deflated.pt", deflated(good)
    yield "zip-bomb.pt", pickled(program({"w": 1}), [bytes(150 << 20)], zipfile.ZIP_DEFLATED)
    yield "size-of-a-terabyte.pt", renamed_size(pickled(program({}), [b"abcd"]), b"a/data/0", 0xFFFFFFFE)
    yield "storage-beyond-its-bytes.pt", pickled(program({"w": tensor(1 << 30, 0, (1 << 30,), (1,))}), [bytes(400)])
    yield "tensor-beyond-its-storage.pt", pickled(program({"w": tensor(100, 50, (100,), (1,))}), [bytes(400)])
    yield "stride-0.pt", pickled(program({"w": tensor(100, 0, (1 << 38,), (0,))}), [bytes(400)])
    yield "negative-shape.pt", pickled(program({"w": tensor(100, 0, (-5,), (1,))}), [bytes(400)])
    yield "embedded-of-stride-0.pt", embedded_of_stride_0()
    yield "bytearray-of-8-gb.pt", pickled(program({"w": Call("builtins.bytearray", 8 << 30)}))
    yield "sparse.pt", saved({"w": torch.eye(3).to_sparse()})
    yield "deep-key.pt", pickled(deep(300_000))
    yield "doubled-key.pt", pickled(doubled(60))
    yield "memo-of-2-billion.pt", pickled(PUSH + b"}r\xff\xff\xff\x7f.")
    yield "no-pickle.pt", b"\x93NUMPY" + bytes(500)
    yield "empty.pt", b""
    yield "zeros.pt", bytes(2000)
    yield "runs-a-command.pt", trap("hostile-marker", 2)
    yield "legacy-of-a-terabyte.pt", legacy(1 << 38)
    yield "legacy-cut-off.pt", saved(GOOD, _use_new_zipfile_serialization=False)[:-9]
    yield "tar-with-a-header-of-a-terabyte.pt", pax_tar(1 << 40)
    yield "widths-of-a-billion.pt", whole(widths={"fc": [10**9, 10**9], "stem.0": [10**9, 2]})
    yield (
        "classes-of-ten-million.pt",
        whole(arch={**GOOD["arch"], "arguments": {"classes": 10**7, "channels": 2, "length": 32}}),
    )
    yield "ten-million-classes.pt", pickled(PUSH + b"}X\x01\x00\x00\x00a](" + b"K\x01" * 10_000_000 + b"es.")
    yield "twenty-thousand-classes.pt", whole(classes=[str(number) for number in range(20_000)])
    yield "length-of-a-trillion.pt", whole(input={"channels": 2, "length": 10**12})
    yield "integer-of-10000-digits.pt", whole(input={"channels": 2, "length": 10**9999})
    yield "no-text.pt", whole(classes=["a", "\ud800", "c"])
    yield "classes-of-wrong-type.pt", whole(classes=[1, None, {}])
    yield "zero-byte-in-path.pt", whole(data={"source": "a\0b", "sha256": 3, "split_seed": 0})
    yield "plan-of-wrong-types.pt", whole(plan={"model_sha256": [], "edits": 3})
    yield "state-of-text.pt", whole(state_dict={"stem.0.weight": "x"})
    yield "state-of-half.pt", whole(state_dict={})
    yield "no-program.pt2", deflated(good)
    yield "bomb.pt2", pickled(b"", [bytes(150 << 20)], zipfile.ZIP_DEFLATED)
    yield "page.pt", b"<!DOCTYPE html>"


def array_call(*arguments):
    return Call("numpy.ndarray", *arguments)


def frames_pickle(value, key=("AM", 10)):
    return PUSH + b"}" + code(key) + code(value) + b"s."


def built(shape, kind, content):
    """An array as numpy pickles it, of any shape, type and content."""
    made = Call("numpy.core.multiarray._reconstruct", Named("numpy.ndarray"), (0,), b"b")
    return Built(made, (1, shape, Call("numpy.dtype", kind, False, True), False, content))


class Named(Call):
    def code(self):
        module, name = self.name.rsplit(".", 1)
        return f"c{module}\n{name}\n".encode()


class Built(Call):
    def __init__(self, made, state) -> None:
        super().__init__("", made, state)

    def code(self):
        return b"".join(map(code, self.arguments)) + b"b"


def repeated_text(times):
    """One text of 100 KB made into bytes over and over, each kept."""
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x01"
    encode = b"c_codecs\nencode\nq\x02"
    step = b"h\x02(h\x01X\x06\x00\x00\x00latin1tR"
    return PUSH + text + encode + b"(" + step * times + b"l."


def pickles():
    """Name with its suffix to content, of RadioML pickles."""
    good = pickle.dumps({("AM", 10): np.ones((4, 2, 8), np.float32)}, protocol=2)
    yield "cut-off.pkl", good[:-20]
    yield "stride-0.pkl", frames_pickle(array_call((1 << 30, 2, 4), "f4", b"abcd", 0, (0, 0, 0)))
    yield (
        "array-of-a-terabyte.pkl",
        frames_pickle(Call("numpy.core.multiarray._reconstruct", Named("numpy.ndarray"), (1 << 38,), b"d")),
    )
    yield "array-without-bytes.pkl", frames_pickle(built((1 << 30, 2, 8), "f4", b""))
    yield "array-of-no-length.pkl", frames_pickle(built((10**18, 0, 8), "f4", b""))
    yield "array-of-objects.pkl", frames_pickle(built((1, 2, 8), "O8", [None] * 16))
    yield "array-of-empty-things.pkl", frames_pickle(built((10**12, 2, 8), "V0", b""))
    yield "array-with-fewer-bytes.pkl", frames_pickle(built((4, 2, 8), "f4", bytes(100)))
    yield "text-for-a-type.pkl", frames_pickle(built((4, 2, 8), "x" * 500, bytes(100)))
    yield "negative.pkl", frames_pickle(built((-4, -2, 8), "f4", bytes(256)))
    yield "deep-key.pkl", deep(300_000)
    yield "doubled-key.pkl", doubled(60)
    yield "repeated-text.pkl", repeated_text(100_000)
    yield "memo-of-2-billion.pkl", PUSH + b"}r\xff\xff\xff\x7f."
    yield "bytearray-of-a-terabyte.pkl", b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."
    yield "frame-of-a-terabyte.pkl", b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"}."
    yield "two-million-steps.pkl", PUSH + b"N0" * 1_000_000 + b"}."
    yield "snr-of-100-bits.pkl", frames_pickle(built((4, 2, 8), "f4", np.ones(64, "f4").tobytes()), ("AM", 1 << 100))
    yield "snr-of-40-bits.pkl", frames_pickle(built((4, 2, 8), "f4", np.ones(64, "f4").tobytes()), ("AM", 1 << 40))
    yield "name-of-300-letters.pkl", frames_pickle(built((4, 2, 8), "f4", np.ones(64, "f4").tobytes()), ("A" * 300, 1))
    yield "runs-a-command.pkl", trap("hostile-marker", 2)
    yield "no-text.pkl", frames_pickle(built((4, 2, 8), "f4", np.ones(64, "f4").tobytes()), ("\ud800", 1))
    yield "of-nothing.pkl", PUSH + b"."
    yield "marks.pkl", PUSH + b"(" * 100_000 + b"."
    yield "empty.pkl", b""
    yield "compressed.pkl", zlib.compress(good)
