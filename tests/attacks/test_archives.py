"""Archives that would fill the disk, reach out of their folder or end the agent: refused with a name, nothing stays."""

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greengrass_agent.config import ArchiveSettings
from greengrass_agent.deployment import unpack
from greengrass_agent.deployment.transfer import DownloadError

Fill = Callable[[zipfile.ZipFile], object]
AS_SHIPPED = ArchiveSettings()


def packed(fill: Fill, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as opened:
        fill(opened)
    return made.getvalue()


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    return made


def in_directory(archive: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite a field of the directory's last entry (APPNOTE.TXT, 4.3.12)."""
    damaged = bytearray(archive)
    place = damaged.rindex(b"PK\x01\x02") + offset
    damaged[place : place + len(value)] = value
    return bytes(damaged)


def refused(folder: Path, archive: bytes, limits: ArchiveSettings = AS_SHIPPED) -> str:
    """The reason why an archive is refused, of which nothing has stayed."""
    file = folder / "a.zip"
    file.write_bytes(archive)
    with pytest.raises(DownloadError) as error:
        unpack.unpack(file, folder / "inside" / "a", limits)
    assert list((folder / "inside").iterdir()) == []
    assert {found.name for found in folder.iterdir()} == {"a.zip", "inside"}
    told = str(error.value)
    assert told.startswith(f"{file}: ")
    assert "\n" not in told
    return told


def test_an_archive_gives_no_more_permissions_than_it_may(tmp_path: Path) -> None:
    def fill(opened: zipfile.ZipFile) -> None:
        opened.writestr(entry("run", stat.S_IFREG | 0o6777), "#!/bin/sh\n")
        opened.writestr(entry("data/x", 0), "x")

    (tmp_path / "a.zip").write_bytes(packed(fill))
    unpack.unpack(tmp_path / "a.zip", tmp_path / "a", AS_SHIPPED)
    assert stat.S_IMODE((tmp_path / "a" / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a" / "data" / "x").stat().st_mode) == 0o644


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("name", "mode", "problem"),
    [
        ("../escaped", 0, "lies outside the folder"),
        ("/etc/escaped", 0, "lies outside the folder"),
        ("a/../../escaped", 0, "lies outside the folder"),
        ("..\\escaped", 0, "lies outside the folder"),
        ("link", stat.S_IFLNK | 0o777, "is neither file nor folder"),
        ("pipe", stat.S_IFIFO | 0o777, "is neither file nor folder"),
        ("disk", stat.S_IFBLK | 0o777, "is neither file nor folder"),
        ("good", 0, "has the place of another one"),
        ("good/below", 0, "has the place of another one"),
        ("n" * 1025, 0, "has a name of more than 1024 bytes"),
        ("n" * 256, 0, "cannot be unpacked: File name too long"),
    ],
)
def test_an_entry_that_reaches_out_is_refused(tmp_path: Path, name: str, mode: int, problem: str) -> None:
    def fill(opened: zipfile.ZipFile) -> None:
        opened.writestr("good", "x")
        opened.writestr(entry(name, mode), "/etc")

    told = refused(tmp_path, packed(fill))
    assert repr(name[:120]) in told
    assert told.endswith(problem)


def test_an_archive_that_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = packed(lambda opened: opened.writestr("zeros", bytes(1 << 22)))
    with monkeypatch.context() as patch:
        patch.setattr(unpack, "free_bytes", lambda folder: 1_000_000)
        assert "unpacks to 4.2 MB, but there is room for 1.0 MB: make room" in refused(tmp_path, bomb)
    assert "unpacks to 4.2 MB, expected 1.0 MB at most" in refused(tmp_path, bomb, ArchiveSettings(megabytes=1))
    many = packed(lambda opened: [opened.writestr(str(number), "") for number in range(5)])
    assert "has 5 entries, expected 4 at most" in refused(tmp_path, many, ArchiveSettings(files=4))
    larger = packed(lambda opened: opened.writestr("zeros", bytes(17 << 20)))
    assert "expected 200 times as much at most" in refused(tmp_path, larger)


def test_what_is_written_counts_and_not_what_the_archive_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = packed(lambda opened: opened.writestr("zeros", bytes(1 << 22)))
    says_five = in_directory(bomb, 24, struct.pack("<L", 5))
    assert "'zeros' cannot be unpacked: Bad CRC-32" in refused(tmp_path, says_five)
    monkeypatch.setattr(unpack._Unpacking, "_check_claims", lambda *_: None)
    told = refused(tmp_path, bomb, ArchiveSettings(megabytes=1))
    assert "entry 'zeros' unpacks to 1.0 MB, expected 1.0 MB at most" in told


def test_a_directory_of_any_length_does_not_come_into_memory(tmp_path: Path) -> None:
    many = packed(lambda opened: [opened.writestr(f"{number:0200}", "") for number in range(1000)])
    told = refused(tmp_path, many, ArchiveSettings(files=10, name_bytes=200))
    assert "has a directory of" in told


def test_entries_that_nobody_can_read_are_named(tmp_path: Path) -> None:
    good = packed(lambda opened: opened.writestr("model.bin", bytes(range(256)) * 64))
    encrypted = in_directory(good, 8, struct.pack("<H", 1))
    assert refused(tmp_path, encrypted).endswith("'model.bin' is encrypted: publish the archive without a password")
    # bz2 and LZMA make gigabytes of memory of one chunk.
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        told = refused(tmp_path, packed(lambda opened: opened.writestr("model.bin", bytes(99)), method))
        assert told.endswith(f"'model.bin' is packed by method {method}, expected stored (0) or deflated (8)")
    damaged = bytearray(good)
    damaged[60:70] = bytes(10)
    assert "entry 'model.bin' cannot be unpacked: " in refused(tmp_path, bytes(damaged))
    assert refused(tmp_path, b"no archive").endswith("cannot be unpacked: File is not a zip file")


SEED = packed(lambda opened: [opened.writestr(name, name * 40) for name in ("a", "b/c", "d")])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(max_size=8)), min_size=1, max_size=4))
def test_a_damaged_archive_is_unpacked_or_refused(tmp_path: Path, changes: list[tuple[int, bytes]]) -> None:
    damaged = bytearray(SEED)
    for place, value in changes:
        damaged[place : place + max(1, len(value))] = value
    file, folder = tmp_path / "a.zip", tmp_path / "inside" / "a"
    file.write_bytes(damaged)
    try:
        unpack.unpack(file, folder, AS_SHIPPED)
    except DownloadError as error:
        assert str(error).startswith(f"{file}: ")
        assert not list(folder.parent.iterdir())
    else:
        unpack.shutil.rmtree(folder)
