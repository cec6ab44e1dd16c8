"""No link of a document leads nowhere. Offline: of links to the outside only the form is looked at."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.documents import ROOT, Link, anchors, documents, links

DOCS = ROOT / "docs"


def problem_with(link: Link) -> str | None:
    """Return what is wrong with a link."""
    parts = urlsplit(link.target)
    if parts.scheme:
        good = parts.scheme in {"http", "https"} and "." in parts.netloc
        return None if good else f"{link.target}: neither a path nor a web address"
    if parts.path.startswith("/"):
        return f"{link.target}: absolute; write it relative to the document"
    target = (link.document.parent / unquote(parts.path)).resolve() if parts.path else link.document
    if not target.exists():
        return f"{link.target}: there is no {target.relative_to(ROOT)}"
    if parts.fragment and target.suffix == ".md" and parts.fragment not in anchors(target):
        return f"{link.target}: no heading of that name; there are {', '.join(sorted(anchors(target)))}"
    return None


@pytest.mark.parametrize("document", documents(), ids=lambda document: str(document.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    """Each relative link is a file, each anchor a heading of it, each other link a web address."""
    assert [problem for link in links(document) if (problem := problem_with(link)) is not None] == []


def test_every_document_can_be_found() -> None:
    """From docs/README.md every document of docs/ is reached by links."""
    reached, waiting = set[Path](), [DOCS / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached or document.suffix != ".md" or not document.exists():
            continue
        reached.add(document)
        waiting += [(document.parent / urlsplit(link.target).path).resolve() for link in links(document)]
    assert [str(document.relative_to(ROOT)) for document in documents() if _is_ours(document) - reached] == []


def _is_ours(document: Path) -> set[Path]:
    """Return the document where it lies in docs/, but for those of the examples, which stand beside their code."""
    return {document} if document.is_relative_to(DOCS) and "examples" not in document.parts else set()


@pytest.mark.parametrize(
    ("target", "is_good"),
    [
        ("concepts.md#session", True),
        ("concepts.md#sessions", False),
        ("nowhere.md", False),
        ("/docs/faq.md", False),
        ("https://example.org/a", True),
        ("file:///etc/passwd", False),
        ("#next", True),
    ],
)
def test_a_broken_link_is_noticed(target: str, is_good: bool) -> None:
    """The checker tells a good link from a bad one."""
    assert (problem_with(Link(DOCS / "quickstart.md", target)) is None) is is_good
