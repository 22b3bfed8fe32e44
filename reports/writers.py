"""How does a table become a file? CSV and Markdown, each safe against whatever a name contains."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablation_suite.reports.tables import Column, Row, Table, Value


def to_csv(table: Table) -> str:
    """The values of a table at full precision; a text that a spreadsheet would run as a formula starts with a quote."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = list(dict.fromkeys(name for row in table.rows for name in row.values))
    names = names or [column.key for column in table.columns]
    writer.writerow(names)
    for row in table.rows:
        writer.writerow([_csv_cell(row.values.get(name)) for name in names])
    return file.getvalue()


def to_markdown(table: Table) -> str:
    """A pipe table of the texts."""
    columns = table.columns
    lines = [
        _pipes([markdown(column.title) for column in columns]),
        "|" + "|".join(" ---: " if column.number else " --- " for column in columns) + "|",
        *(_pipes([_markdown_cell(column, row) for column in columns]) for row in table.rows),
    ]
    return "\n".join(lines) + "\n"


def markdown(text: str) -> str:
    """A text that Markdown and the HTML inside it print as it stands."""
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", _html(_one_line(text)))


def _csv_cell(value: Value) -> Value:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _markdown_cell(column: Column, row: Row) -> str:
    text = row.texts.get(column.key, "")
    if column.key in row.strong:
        return f"**{markdown(text)}**"
    if column.key != "command":
        return markdown(text)
    # Nothing is escaped inside a code span, so it must not hold what ends the span or the cell.
    return f"`{_one_line(text)}`" if not re.search(r"[`|\\]", text) else f"<code>{_entities(_one_line(text))}</code>"


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _entities(text: str) -> str:
    """Every character but letters, digits and spaces as an entity, which Markdown leaves alone."""
    return "".join(char if char.isalnum() or char == " " else f"&#{ord(char)};" for char in text)


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", text).split())
