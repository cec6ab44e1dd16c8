"""Rows as tables of a terminal, of Markdown and of a page that needs nothing else."""

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rich.table import Table

from session_model.runs.curve import svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 64rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child, .words th, .words td { text-align: left; }
figure { margin: 1.5rem 0; } figure svg { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
.wide { overflow-x: auto; }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """Put elements into a page; `title` is escaped, they are not."""
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
    return f"{head}<style>{_STYLE}</style>" + "\n".join(parts) + "</html>\n"


def svg(figure: "Figure") -> str:
    """Draw a figure as an element of a page."""
    return svg_of(figure).decode().partition("<!DOCTYPE")[2].partition(">")[2]


def terminal_table(rows: Sequence[Sequence[str]], *, caption: str | None = None) -> Table:
    """Lay out rows, the first of them the header."""
    table = Table(caption=caption)
    for place, heading in enumerate(rows[0]):
        table.add_column(heading, justify="right" if place else "left")
    for row in rows[1:]:
        table.add_row(*row)
    return table


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Write rows, the first of them the header."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" + "|---:" * (len(rows[0]) - 1) + "|", *lines[1:]])


def html_table(rows: Sequence[Sequence[str]], *, are_words: bool = False) -> str:
    """Write rows, the first of them the header; cells are escaped. are_words: all columns begin at the left."""
    kind = ' class="words"' if are_words else ""
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows[1:])
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
