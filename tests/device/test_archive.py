import hashlib
import io
import tarfile

import pytest

from edgeprune.device import archive
from edgeprune.errors import ConfigError, DeviceError

ID = "ab" * 32
GOOD = {
    "result/status": b"done\n",
    "result/bundle.json": b'{"id": "%s"}' % ID.encode(),
    "result/out/times.json": b"[]",
    "result/steps/time-1.log": b"words\n",
}


def entry(name, data=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, data


def pack(path, files, extra=(), sums=None):
    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    every = [entry(name, data) for name, data in {**files, archive.SUMS: sums or lines.encode()}.items()]
    with tarfile.open(path, "w") as out:
        for member, data in [*every, *extra]:
            out.addfile(member, io.BytesIO(data))
    return path


def refused(path, tmp_path):
    with pytest.raises(DeviceError) as error:
        archive.unpack(path, tmp_path / "here", ID)
    assert len(str(error.value).splitlines()) == 1
    assert [file for file in (tmp_path / "here").rglob("*") if file.is_file()] == []
    return str(error.value)


def test_a_result_is_unpacked_in_place_of_the_one_before(tmp_path):
    (tmp_path / "here/result/out").mkdir(parents=True)
    (tmp_path / "here/result/out/old").touch()
    archive.unpack(pack(tmp_path / "r.tar", GOOD), tmp_path / "here", ID)
    files = {
        file.relative_to(tmp_path / "here").as_posix() for file in (tmp_path / "here").rglob("*") if file.is_file()
    }
    assert files == {*GOOD, archive.SUMS}
    assert (tmp_path / "here/result/status").read_bytes() == b"done\n"


@pytest.mark.parametrize(
    "member",
    [
        entry("../evil", b"x"),
        entry("/etc/evil", b"x"),
        entry("result/../../evil", b"x"),
        entry("result/out/../../../evil", b"x"),
        entry("result/out/.hidden", b"x"),
        entry("result/out/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("result/out/hard", type=tarfile.LNKTYPE, linkname="result/status"),
        entry("result/out/device", type=tarfile.CHRTYPE),
        entry("result/out/pipe", type=tarfile.FIFOTYPE),
        entry("result/steps/x.sh", b"x"),
        entry("result/other", b"x"),
        entry("models/baseline.onnx", b"x"),
        entry("out", type=tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member[0].name} {member[0].type!r}",
)
def test_what_no_run_leaves_is_refused(tmp_path, member):
    message = refused(pack(tmp_path / "r.tar", GOOD, [member]), tmp_path)
    assert "which no run leaves" in message or "only plain files are read" in message
    assert not (tmp_path / "evil").exists()


def test_the_same_name_twice_is_refused(tmp_path):
    assert "twice" in refused(pack(tmp_path / "r.tar", GOOD, [entry("result/status", b"other")]), tmp_path)


def test_absurd_sizes_are_refused_before_they_are_written(tmp_path):
    path = pack(tmp_path / "r.tar", GOOD)
    member = tarfile.TarInfo("result/out/huge")
    member.size = 10**12
    path.write_bytes(member.tobuf() + path.read_bytes())
    assert "is cut off within 'result/out/huge'" in refused(path, tmp_path)


def test_too_many_entries_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_MOST_ENTRIES", 3)
    assert "far too large" in refused(pack(tmp_path / "r.tar", GOOD), tmp_path)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7])
def test_a_truncated_result_is_refused(tmp_path, share):
    path = pack(tmp_path / "r.tar", {**GOOD, "result/out/big": b"x" * 20_000})
    path.write_bytes(path.read_bytes()[: int(share * 25_000)])
    refused(path, tmp_path)


def test_what_is_no_tar_is_refused(tmp_path):
    (tmp_path / "r.tar").write_bytes(b"PK\3\4 a zip file" * 100)
    assert "r.tar is no result" in refused(tmp_path / "r.tar", tmp_path)
    with pytest.raises(ConfigError, match="no such file"):
        archive.unpack(tmp_path / "none.tar", tmp_path / "out", "a" * 64)


def test_a_changed_file_is_refused(tmp_path):
    sums = pack(tmp_path / "good.tar", GOOD)
    with tarfile.open(sums) as good:
        lines = good.extractfile(archive.SUMS).read()
    changed = {**GOOD, "result/out/times.json": b"[1]"}
    assert "was changed: result/out/times.json" in refused(pack(tmp_path / "r.tar", changed, sums=lines), tmp_path)


@pytest.mark.parametrize("change", ["added", "removed"])
def test_files_and_hashes_must_be_the_same(tmp_path, change):
    with tarfile.open(pack(tmp_path / "good.tar", GOOD)) as good:
        lines = good.extractfile(archive.SUMS).read()
    files = {**GOOD, "result/out/more": b"x"} if change == "added" else dict(list(GOOD.items())[:-1])
    assert "does not hold what its" in refused(pack(tmp_path / "r.tar", files, sums=lines), tmp_path)


def test_a_result_without_hashes_is_refused(tmp_path):
    with tarfile.open(tmp_path / "r.tar", "w") as out:
        out.addfile(*(lambda member: (member[0], io.BytesIO(member[1])))(entry("result/status", b"done")))
    assert "it has no result/SHA256SUMS" in refused(tmp_path / "r.tar", tmp_path)


@pytest.mark.parametrize("manifest", [b"{}", b"[]", b"not json", b'{"id": "cd"}'])
def test_the_result_of_another_bundle_is_refused(tmp_path, manifest):
    message = refused(pack(tmp_path / "r.tar", {**GOOD, "result/bundle.json": manifest}), tmp_path)
    assert "bundle" in message
