"""What survives a restart, and what is said when the file is not ours."""

from pathlib import Path

import pytest

from controller.state import State, StateFile
from hitless.files import StateError


def test_a_saved_state_comes_back(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "deep" / "state.json")
    state = State(term=7, holds={"web": "edge1"}, drains={("web", "edge2"), ("resize", "edge1")}, excluded={"edge2"})
    file.save(state)
    assert file.load() == state
    assert [path.name for path in file.path.parent.iterdir()] == ["state.json"]


def test_no_file_is_a_fresh_state(tmp_path: Path) -> None:
    assert StateFile(tmp_path / "state.json").load() == State()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "term": "x"}'])
def test_a_file_that_is_none_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(StateError, match=r"state\.json: .*move"):
        StateFile(path).load()
    assert path.read_text() == text


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="--state"):
        StateFile(tmp_path / "file" / "state.json").save(State())
