"""What other code knows of the program is what its sources say."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hitless import words
from p4src import build
from p4src.words import LAYOUTS, TYPES, C, WordsError, generated

RUN = "run `make words` and commit what it wrote"


@pytest.mark.parametrize("path", generated(), ids=str)
def test_the_committed_file_is_what_the_sources_say(path: Path) -> None:
    assert (build.ROOT / path).read_text() == generated()[path], RUN


def changed(folder: Path, old: str, new: str) -> dict[Path, str]:
    """What is generated from the sources after an edit of `types.p4`."""
    shutil.copytree(build.ROOT / "p4src", folder / "p4src", ignore=shutil.ignore_patterns("__pycache__"))
    text = (folder / TYPES).read_text()
    assert old in text
    (folder / TYPES).write_text(text.replace(old, new, 1))
    return generated(folder)


def test_a_change_of_a_number_is_a_change_of_both_files(tmp_path: Path) -> None:
    files = changed(tmp_path, "REPORT_MAGIC       = 0x4854", "REPORT_MAGIC       = 0x4855")
    assert all(text != (build.ROOT / path).read_text() for path, text in files.items())
    assert "\nREPORT_MAGIC: Final = 0x4855\n" in files[Path("hitless/words.py")]


def test_a_declaration_it_cannot_read_is_told_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match=r"p4src/types\.p4:5: expected a typedef, a constant or an enumeration"):
        changed(tmp_path, "typedef bit<48> mac_t;", "typedef int<48> mac_t;")


def test_an_enumeration_without_a_name_in_python_is_told(tmp_path: Path) -> None:
    with pytest.raises(WordsError, match=r"p4src/types\.p4:\d+: mood_t has no Python name"):
        changed(tmp_path, "enum bit<3> kind_t", "enum bit<3> mood_t")


@pytest.mark.parametrize("header", LAYOUTS)
def test_the_layouts_are_those_of_the_compiled_program(header: str) -> None:
    program = json.loads((build.ROOT / build.PIPELINE).read_text())
    fields = {kind["name"]: kind["fields"] for kind in program["header_types"]}
    layout = getattr(words, LAYOUTS[header])
    if header in fields:
        assert [[*field, False] for field in layout] == fields[header]
    else:  # the digest's, whose expressions have no names
        (digest,) = program["learn_lists"]
        assert len(layout) == len(digest["elements"])


def test_the_sizes_are_those_of_the_layouts() -> None:
    assert sum(bits for _, bits in words.REPORT_LAYOUT) == 8 * words.REPORT_BYTES
    assert sum(bits for _, bits in words.INVOCATION_LAYOUT) == 8 * words.INVOCATION_BYTES
    assert 2**words.LEVELS == words.MEMBERS


def test_c_reads_the_same_numbers(tmp_path: Path) -> None:
    source, program = tmp_path / "words.c", tmp_path / "words"
    source.write_text(
        f'#include "{build.ROOT / C}"\n#include <stdio.h>\n'
        "#define FIELD(name, bits) + bits\n"
        'int main(void) { printf("%llu %llu %d\\n", (unsigned long long)STEERING_NEVER,'
        " (unsigned long long)STEERING_REPORT_MAGIC, 0 STEERING_REPORT_LAYOUT(FIELD)); }\n"
    )
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-o", program, source], check=True)
    told = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert told.split() == [str(words.NEVER), str(words.REPORT_MAGIC), str(8 * words.REPORT_BYTES)]
