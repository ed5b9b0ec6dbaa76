"""What the documents point to exists: files named in them, links between them, headings that links name."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    Path(line) for line in subprocess.check_output(["git", "ls-files", "*.md"], cwd=ROOT, text=True).splitlines()
)
TOPS = "apps|controller|docs|experiments|greengrass_agent|hitless|p4src|softswitch|tests|topologies"
NAMED = re.compile(rf"`((?:{TOPS})/[\w./-]+\.(?:py|p4|c|h|md|yaml|sh|toml|json))`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_files_that_a_document_names_exist(document: Path) -> None:
    named = set(NAMED.findall((ROOT / document).read_text()))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    dead = []
    for path, anchor in LINK.findall((ROOT / document).read_text()):
        target = (ROOT / document).parent / path if path else ROOT / document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(path + anchor)
    assert dead == []
