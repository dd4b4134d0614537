"""One self-contained HTML page: light and dark, readable on paper and on a phone, no external resource, no script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--bg:#f4f6f9;--card:#fff;--ink:#18202b;--muted:#5a6675;--line:#dfe4ea;--track:#edf0f4;
--s1:#2457c5;--s2:#c2590c;--good:#136c3a;--good-bg:#e5f5ec;--bad:#a61b1b;--bad-bg:#fdecec;--note-bg:#eef3fc;--on:#fff}
@media (prefers-color-scheme:dark){:root{--bg:#0f141b;--card:#18202a;--ink:#e7ecf2;--muted:#9dabbb;--line:#2b3642;
--track:#222c38;--s1:#7aa7ff;--s2:#f0a35e;--good:#6fd79a;--good-bg:#12301f;--bad:#ff9a94;--bad-bg:#3a1919;
--note-bg:#1a2637;--on:#0f141b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:27px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:18px;margin:34px 0 12px}
h3{font-size:15px;margin:0 0 2px}
p{margin:0 0 10px}
.muted,figcaption,.sub{color:var(--muted)}
.sub{margin-bottom:20px}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:0}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(440px,100%),1fr));gap:16px;align-items:start}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px}
.tile b{display:block;font-size:24px;line-height:1.25;font-variant-numeric:tabular-nums}
.tile span{color:var(--muted);font-size:13px}
.verdict{border-radius:10px;padding:18px 20px;border:1px solid;display:flex;gap:16px;align-items:flex-start}
.verdict .icon{font-size:30px;line-height:1.1;font-weight:700}
.verdict strong{font-size:20px;line-height:1.3;display:block}
.verdict.good{background:var(--good-bg);border-color:var(--good)}
.verdict.good .icon,.verdict.good strong,.yes{color:var(--good)}
.verdict.bad{background:var(--bad-bg);border-color:var(--bad)}
.verdict.bad .icon,.verdict.bad strong,.no{color:var(--bad)}
.verdict.open{background:var(--note-bg);border-color:var(--line)}
.verdict p{margin:4px 0 0}
.yes,.no{font-weight:650;white-space:nowrap}
.note{background:var(--note-bg);border-radius:8px;padding:10px 14px;margin:12px 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:7px 10px;border-bottom:1px solid var(--line);vertical-align:top}
th{font-size:13px;color:var(--muted);font-weight:600}
tr:last-child td{border-bottom:0}
td.n,th.n{text-align:right;white-space:nowrap}
figure{margin:0}
figcaption{font-size:13.5px;margin-top:8px}
svg{display:block;width:100%;height:auto;margin-top:8px}
svg.narrow,.narrow svg{max-width:420px;margin-inline:auto}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:var(--muted)}
svg text.label{fill:var(--ink);font-size:13px}
svg text.on{fill:var(--on)}
svg text.axis{font-size:12.5px}
svg text.strong{font-size:17px;font-weight:650}
svg text.small{font-size:12px}
svg text.mid{text-anchor:middle}
svg text.end{text-anchor:end}
.grid{stroke:var(--line)}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.line.s1{stroke:var(--s1)}.line.s2{stroke:var(--s2)}
.line.dash{stroke-dasharray:6 4}
.line.ref{stroke:var(--muted);stroke-width:1.2;stroke-dasharray:4 4}
svg[viewBox^="0 0 700 "]{max-width:860px}
.mark{stroke:var(--ink);stroke-width:1.2;stroke-dasharray:2 3}
.area.s1{fill:var(--s1);fill-opacity:.09}
.fill.s1{fill:var(--s1)}.fill.s2{fill:var(--s2)}.fill.half{fill-opacity:.55}
.track{fill:var(--track)}
.dot.s1{fill:var(--s1)}.dot.s2{fill:var(--s2)}.dot.soft{fill-opacity:.6}
.legend{display:flex;gap:18px;flex-wrap:wrap;font-size:13px;color:var(--muted);margin-top:6px}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px}
.k1{background:var(--s1)}.k2{background:var(--s2)}
details{margin-top:10px}
summary{cursor:pointer;color:var(--muted)}
footer{margin-top:34px;color:var(--muted);font-size:13px}
@media print{body{background:#fff}.card{break-inside:avoid}}
"""


class Html(str):
    """Text that is HTML already; everything else is escaped."""

    __slots__ = ()


def document(title: str, subtitle: str, sections: Iterable[str], footer: str) -> str:
    """The whole page. Title, subtitle and footer are plain text; sections are HTML made by this module."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>"
        f'<header><h1>{escape(title)}</h1><p class="sub">{escape(subtitle)}</p></header>\n'
        + "\n".join(sections)
        + f"\n<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def verdict(good: bool | None, headline: str, detail: str) -> str:
    """The banner that answers first, with None for "no answer"; the sign is told in words too."""
    kind, icon = {True: ("good", "✓"), False: ("bad", "✗"), None: ("open", "i")}[good]
    return (
        f'<section class="verdict {kind}" aria-label="Verdict"><span class="icon" aria-hidden="true">{icon}</span>'
        f"<div><strong>{escape(headline)}</strong><p>{escape(detail)}</p></div></section>"
    )


def yes_no(value: bool, yes: str, no: str) -> Html:
    """A coloured answer with a sign, for table cells."""
    return Html(f'<span class="yes">✓ {escape(yes)}</span>' if value else f'<span class="no">✗ {escape(no)}</span>')


def section(title: str, *content: str) -> str:
    """A titled part of the page."""
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def card(*content: str) -> str:
    """A framed block."""
    return f'<div class="card">{"".join(content)}</div>'


def figure(title: str, chart: str, caption: str, legend: Sequence[str] = (), narrow: bool = False) -> str:
    """A chart with its heading, its legend and one sentence on how to read it."""
    keys = "".join(
        f'<span><i class="k{index}"></i>{escape(label)}</span>' for index, label in enumerate(legend, start=1)
    )
    return (
        f'<figure class="card{" narrow" if narrow else ""}"><h3>{escape(title)}</h3>'
        + (f'<div class="legend">{keys}</div>' if keys else "")
        + f"{chart}<figcaption>{escape(caption)}</figcaption></figure>"
    )


def grid(*cards: str) -> str:
    """Blocks side by side where there is room."""
    return f'<div class="grid2">{"".join(cards)}</div>'


def tiles(items: Iterable[tuple[str, str]]) -> str:
    """Key numbers: (value, name)."""
    cells = "".join(
        f'<div class="card tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in items
    )
    return f'<div class="tiles">{cells}</div>'


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of plain text; `style` is a CSS class."""
    return f'<p class="{style}">{escape(text)}</p>' if style else f"<p>{escape(text)}</p>"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int] = ()) -> str:
    """A table of plain text (or `Html`) cells; `numeric` holds the columns to align right."""
    right = set(numeric)

    def cell(tag: str, index: int, content: str) -> str:
        inner = content if isinstance(content, Html) else escape(content)
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{' class=n' if index in right else ''}>{inner}</{tag}>"

    head = "".join(cell("th", index, text) for index, text in enumerate(headings))
    body = "".join(
        "<tr>" + "".join(cell("td", index, text) for index, text in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def details(summary: str, content: str) -> str:
    """Content that is folded away until asked for."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"
