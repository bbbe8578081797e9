"""Tables as papers print them: a row per system, a column per measure, cells taken from the figures by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

_ARROWS = {"higher": " ↑", "lower": " ↓"}


@dataclass(frozen=True)
class Table:
    """How figures are laid out; the cell of a row and a column is the figure `{row}_{column}`.

    Attributes:
        title: What the table shows.
        rows: Label -> beginning of the figures' names.
        columns: Heading -> end of the figures' names.
        notes: What the reader has to know.
    """

    title: str
    rows: Mapping[str, str]
    columns: Mapping[str, str]
    notes: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `results.json`."""
        return {"title": self.title, "rows": dict(self.rows), "columns": dict(self.columns), "notes": self.notes}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: Its value, "" for none.
        interval: Its 95 % interval as text, "" for none.
        best: Whether no other system of the column is better; references do not compete.
        reference: Whether the row is only to be read against.
    """

    text: str = ""
    interval: str = ""
    best: bool = False
    reference: bool = False


@dataclass(frozen=True)
class LaidOut:
    """A table with its cells.

    Attributes:
        headings: Columns with their direction, those without any value left out.
        rows: Label -> a cell per heading.
    """

    headings: tuple[str, ...]
    rows: Mapping[str, Sequence[Cell]] = field(default_factory=dict)


def laid_out(table: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> LaidOut:
    """Fill a table of `results.json` with its figures.

    Args:
        table: As `Table.to_dict` gives it.
        figures: The `figures` of the same file.
    """
    known = {figure["name"]: figure for figure in figures}
    headings, columns = list[str](), list[list[Cell]]()
    for heading, end in table["columns"].items():
        found = [known.get(f"{start}_{end}") for start in table["rows"].values()]
        if not any(found):
            continue
        better = next((one["better"] for one in found if one and one["better"]), "")
        values = [one["value"] for one in found if one and one["better"]]
        best = None if len(values) < 2 else max(values) if better == "higher" else min(values)
        headings.append(heading + _ARROWS.get(better, ""))
        columns.append([_cell(one, best) for one in found])
    rows = {label: [column[i] for column in columns] for i, label in enumerate(table["rows"])}
    return LaidOut(tuple(headings), {label: cells for label, cells in rows.items() if any(one.text for one in cells)})


def _cell(figure: Mapping[str, Any] | None, best: float | None) -> Cell:
    if figure is None:
        return Cell()
    interval = figure["interval"]
    unit = f" {figure['unit']}" if figure["unit"] else ""
    return Cell(
        f"{figure['value']:z.3f}{unit}",
        f"{interval[0]:z.3f} to {interval[1]:z.3f}" if interval else "",
        bool(figure["better"]) and figure["value"] == best,
        not figure["better"],
    )


def table_markdown(table: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> str:
    """A table as Markdown, the best of each column in bold."""
    filled = laid_out(table, figures)
    lines = [f"**{table['title']}**", "", f"| | {' | '.join(filled.headings)} |"]
    lines.append("| --- |" + " --- |" * len(filled.headings))
    for label, cells in filled.rows.items():
        texts = [f"**{cell.text}**" if cell.best else cell.text for cell in cells]
        lines.append(f"| {label} | {' | '.join(texts)} |")
    lines += ["", table["notes"]] if table["notes"] else []
    return "\n".join(lines) + "\n"


def table_html(table: Mapping[str, Any], figures: Sequence[Mapping[str, Any]]) -> str:
    """A table as a card of the report; rows to read against are pale, intervals stand under the values."""
    filled = laid_out(table, figures)
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in filled.headings)
    rows = list[str]()
    for label, cells in filled.rows.items():
        pale = " class=reference" if all(cell.reference or not cell.text for cell in cells) else ""
        texts = "".join(
            f'<td class="value">{"<b>" if cell.best else ""}{escape(cell.text)}{"</b>" if cell.best else ""}'
            f'<span class="range">{escape(cell.interval)}</span></td>'
            for cell in cells
        )
        rows.append(f'<tr{pale}><th scope="row">{escape(label)}</th>{texts}</tr>')
    notes = f'<p class="soft">{escape(table["notes"])}</p>' if table["notes"] else ""
    return (
        f'<h3>{escape(table["title"])}</h3><div class="card"><table class="systems"><thead><tr><th></th>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>{notes}"
    )
