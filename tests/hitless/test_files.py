"""JSON documents on disk: they come back, are on disk when saving returns, and damage is told."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hitless.files import JsonFile, StateError, write_atomic


@dataclass(frozen=True)
class Notes:
    owner: str
    secret: str = ""
    lines: list[tuple[str, int]] = field(default_factory=list)


def notes(path: Path, version: int = 3) -> JsonFile[Notes]:
    return JsonFile(
        path,
        Notes,
        version=version,
        what="a file of notes",
        unreadable="move it away",
        unwritable="choose another place",
        mode=0o600,
    )


def test_a_document_comes_back(tmp_path: Path) -> None:
    file = notes(tmp_path / "deep" / "er" / "notes.json")
    assert file.load() is None
    file.save(Notes("first"))
    saved = Notes("me", "s3cret", [("a", 1), ("b", 2)])
    file.save(saved)
    assert file.load() == saved
    assert json.loads(file.path.read_text())["format"] == 3
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.path.parent.iterdir()] == ["notes.json"]


@pytest.mark.parametrize(
    "text, found",
    [
        ("", "this is not JSON"),
        ("\xff", "this is not JSON"),
        ("[]", "this is not a JSON object"),
        ("{}", "this has no format"),
        ('{"format": 2, "owner": "me"}', "this has format 2"),
        ('{"format": 3}', "owner: expected, but missing"),
        ('{"format": 3, "owner": "me", "secret": ["s3cret"]}', "secret: expected a valid string"),
        ('{"format": 3, "owner": "me", "lines": [["a", "s3cret"]]}', "lines.0.1: expected a valid integer"),
    ],
)
def test_damage_is_told_with_place_and_advice_and_without_content(tmp_path: Path, text: str, found: str) -> None:
    file = notes(tmp_path / "notes.json")
    file.path.write_text(text, encoding="latin-1")
    with pytest.raises(StateError) as told:
        file.load()
    message = str(told.value)
    assert message.startswith(f"{file.path}: expected a file of notes, format 3; {found}")
    assert message.endswith(": move it away")
    assert "s3cret" not in message
    assert file.path.read_text(encoding="latin-1") == text, "left alone"


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match=r"file/notes\.json: File exists: choose another place"):
        notes(tmp_path / "file" / "notes.json").save(Notes("me"))
    with pytest.raises(StateError, match="Is a directory: move it away"):
        notes(tmp_path).load()


def test_saved_means_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content before the new name, the new name before it returns, and the folders that lead there."""
    done: list[str] = []
    sync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        done.append(f"sync {Path(f'/proc/self/fd/{handle}').readlink().name}")
        sync(handle)

    def renamed(self: Path, target: Path) -> Path:
        done.append(f"rename to {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomic(tmp_path / "new" / "file", b"content")
    assert done == [f"sync {tmp_path.name}", "sync .file.new", "rename to file", "sync new"]
