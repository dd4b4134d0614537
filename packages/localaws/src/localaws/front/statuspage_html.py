"""How the status page looks: HTML without scripts and without anything from elsewhere; every text is escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from localaws.context import EndpointSettings
from localaws.front.statuspage_logs import Stream
from localaws.kinds import (
    ENDPOINT,
    MONITORING_SCHEDULE,
    PROCESSING_JOB,
    TRAINING_JOB,
    TRANSFORM_JOB,
    TUNING_JOB,
    ResourceKind,
)

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #777; --accent: #0a6ebd; }
* { box-sizing: border-box; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1100px; padding: 1rem 1.25rem 3rem; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; align-items: baseline; padding-bottom: .6rem;
  border-bottom: 1px solid var(--line); margin-bottom: 1rem; }
h1 { font-size: 1.25rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
nav { display: flex; flex-wrap: wrap; gap: .4rem .9rem; margin: .4rem 0; }
nav .here { font-weight: 600; color: inherit; }
.dim { color: var(--dim); } .end { margin-left: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--dim); white-space: nowrap; }
td.num, th.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name { overflow-wrap: anywhere; }
.tag { border-radius: .6rem; padding: .05rem .55rem; white-space: nowrap; font-size: .85em; background: #8882; }
.good { background: #1a7f3730; color: #1a7f37; } .bad { background: #cf222e28; color: #cf222e; }
.busy { background: #0a6ebd28; color: #0a6ebd; } .stop { background: #9a670028; color: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --dim: #999; --accent: #6cb6ff; }
  .good { color: #57c46f; } .bad { color: #ff7b72; } .busy { color: #6cb6ff; } .stop { color: #d4a72c; } }
.reason { border-left: 3px solid #cf222e; padding: .4rem .8rem; background: #cf222e14; overflow-wrap: anywhere;
  white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
dd > dl, dd > ol { border-left: 1px solid var(--line); padding-left: .8rem; } dd > ol { padding-left: 2.2rem; }
ol { margin: 0; } li { margin-bottom: .4rem; }
pre { background: #8881; padding: .7rem .9rem; overflow-x: auto; font: 12px/1.5 ui-monospace, monospace;
  max-height: 60vh; border-radius: .4rem; margin: .4rem 0; }
pre time { color: var(--dim); user-select: none; }
@media (max-width: 700px) { dl { grid-template-columns: 1fr; } dd { padding-left: .8rem; margin-bottom: .3rem; } }
input, button { font: inherit; padding: .2rem .5rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
SECURITY = (
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
GOOD = {"Completed", "InService", "Scheduled"}
BAD = {"Failed", "OutOfService", "UpdateRollbackFailed", "DeleteFailed"}
STOPPED = {"Stopped", "Stopping", "Deleting"}


SHOWN_KINDS = (TRAINING_JOB, PROCESSING_JOB, TRANSFORM_JOB, TUNING_JOB, ENDPOINT, MONITORING_SCHEDULE)


@dataclass(frozen=True)
class View:
    """What every page shows at its top; `refresh` in seconds, 0 for never."""

    config: EndpointSettings
    refresh: int = 0


def _document(title: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">{head}'
        f"<style>{STYLE}</style></head><body>{body}</body></html>"
    )


def _page(view: View, title: str, body: str, here: str, query: Mapping[str, str]) -> str:
    every = []
    for seconds in (0, 2, 5, 30):
        label = "off" if not seconds else f"{seconds} s"
        # The pages of a list start anew: a token of a list that moves is of no use.
        kept = {k: v for k, v in query.items() if k not in ("refresh", "next")} | (
            {"refresh": str(seconds)} if seconds else {}
        )
        mark = ' class="here"' if seconds == view.refresh else ""
        every.append(f'<a{mark} href="{escape(here + ("?" + urlencode(kept) if kept else ""))}">{label}</a>')
    config = view.config
    top = (
        f'<header><h1><a href="/">Local AWS endpoint</a></h1><span class="dim">{escape(config.endpoint)} · '
        f'{escape(config.region)} · {escape(config.account)}</span><span class="dim end">{_now()} UTC</span></header>'
        f'<nav><span class="dim">refresh</span>{"".join(every)}</nav>'
    )
    head = f'<meta http-equiv="refresh" content="{view.refresh}">' if view.refresh else ""
    return _document(title, f"{top}<main>{body}</main>", head)


def failure(message: str) -> str:
    """A page that says what is wrong."""
    return _document(
        "Local AWS endpoint", f'<p class="reason">{escape(message)}</p><p><a href="/">all resources</a></p>'
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _time(value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _status(value: str) -> str:
    kind = "good" if value in GOOD else "bad" if value in BAD else "stop" if value in STOPPED else "busy"
    return f'<span class="tag {kind}">{escape(value)}</span>'


def _took(row: Mapping[str, Any]) -> str:
    begun = row.get("CreationTime")
    ended = next((value for member, value in row.items() if member.endswith("EndTime")), None)
    return f"{ended - begun:.1f} s" if begun is not None and ended is not None else ""


def words(kind: ResourceKind) -> str:
    """A kind as the page calls it."""
    return kind.words.removeprefix("hyperparameter ")


def link(kind: ResourceKind, name: str, query: Mapping[str, str] | None = None) -> str:
    """Where one resource is shown."""
    path = f"/_localaws/page/{kind.word}/{quote(name, safe='')}"
    return escape(path + ("?" + urlencode(query) if query else ""))


def overview(
    view: View,
    tables: Sequence[tuple[ResourceKind, Sequence[Mapping[str, Any]]]],
    faults: Sequence[Mapping[str, Any]],
    query: Mapping[str, str],
    following: Mapping[str, Any] | None,
) -> str:
    """Jobs of all chosen kinds, the newest first, then endpoints and schedules, then faults that are asked for."""
    jobs = [(kind, row) for kind, rows in tables if kind.is_job for row in rows]
    jobs.sort(key=lambda pair: -pair[1]["CreationTime"])
    parts = [_choice(query)]
    if any(kind.is_job for kind, _ in tables):
        parts += ["<h2>Jobs</h2>", _rows(jobs[:50], "No job yet.")]
    for kind, rows in tables:
        if not kind.is_job:
            parts += [
                f"<h2>{words(kind).capitalize()}s</h2>",
                _rows([(kind, r) for r in rows], f"No {words(kind)} yet."),
            ]
    if following:
        kept = {name: value for name, value in following.items() if value}
        parts.append(f'<nav><a href="/?{escape(urlencode(kept))}">older ones</a></nav>')
    parts += ["<h2>Faults asked for</h2>", _faults(faults)]
    return _page(view, "Local AWS endpoint", "".join(parts), "/", query)


def _choice(query: Mapping[str, str]) -> str:
    links = []
    for path, title in (("", "all"), *((kind.word, f"{words(kind)}s") for kind in SHOWN_KINDS)):
        mark = ' class="here"' if path == query.get("kind", "") else ""
        kept = {"kind": path} if path else {}
        kept |= {name: query[name] for name in ("name", "refresh") if query.get(name)}
        links.append(f'<a{mark} href="/{escape("?" + urlencode(kept) if kept else "")}">{escape(title)}</a>')
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(query[name])}">'
        for name in ("kind", "refresh")
        if query.get(name)
    )
    find = (
        f'<form class="end" action="/" method="get">{hidden}<input name="name" aria-label="part of a name" '
        f'placeholder="part of a name" value="{escape(query.get("name", ""))}"> <button>find</button></form>'
    )
    return f"<nav>{''.join(links)}{find}</nav>"


def _rows(rows: Iterable[tuple[ResourceKind, Mapping[str, Any]]], nothing: str) -> str:
    lines = [
        f'<tr><td class="name"><a href="{link(kind, row[kind.name_member])}">{escape(row[kind.name_member])}</a></td>'
        f"<td>{escape(words(kind))}</td><td>{_status(row[kind.status_member])}</td>"
        f'<td class="num">{_time(row["CreationTime"])}</td><td class="num">{_took(row)}</td></tr>'
        for kind, row in rows
    ]
    if not lines:
        return f'<p class="dim">{escape(nothing)}</p>'
    head = (
        '<tr><th>name</th><th>kind</th><th>status</th><th class="num">created (UTC)</th><th class="num">took</th></tr>'
    )
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'


def _faults(faults: Sequence[Mapping[str, Any]]) -> str:
    if not faults:
        return '<p class="dim">None.</p>'
    head = "<tr><th>id</th><th>operation</th><th>error</th><th>calls left</th><th>after</th><th>delay</th></tr>"
    lines = [
        f"<tr><td>{escape(f['id'])}</td><td>{escape(f['operation'])}</td>"
        f"<td>{escape(f['error'] or 'none')}{' (answer lost)' if f['lost'] else ''}</td>"
        f"<td>{f['calls']}</td><td>{f['skip']}</td><td>{f['delay']:g} s</td></tr>"
        for f in faults
    ]
    return f'<div class="wide"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'


def resource(
    view: View,
    kind: ResourceKind,
    name: str,
    document: Mapping[str, Any],
    streams: Sequence[Stream],
    shown: Stream | None,
    lines: Sequence[tuple[float, str]],
    cut: bool,
) -> str:
    """One resource: what Describe says, and the end of a log."""
    here = f"/_localaws/page/{kind.word}/{quote(name, safe='')}"
    status = document.get(kind.status_member, "")
    parts = [f"<h2>{escape(words(kind).capitalize())} {escape(name)} {_status(status)}</h2>"]
    if reason := document.get("FailureReason"):
        parts.append(f'<p class="reason">{escape(reason)}</p>')
    query = {"stream": shown.name} if shown is not None else {}
    if kind.log_group:
        parts += ["<h2>Log</h2>", _log(kind, name, streams, shown, lines, cut, view)]
    parts += ["<h2>Description</h2>", _value(document)]
    return _page(view, f"{name} - local AWS endpoint", "".join(parts), here, query)


def _log(
    kind: ResourceKind,
    name: str,
    streams: Sequence[Stream],
    shown: Stream | None,
    lines: Sequence[tuple[float, str]],
    cut: bool,
    view: View,
) -> str:
    if shown is None:
        return '<p class="dim">Nothing has been written.</p>'
    links = []
    for stream in streams:
        mark = ' class="here"' if stream == shown else ""
        kept = {"stream": stream.name} | ({"refresh": str(view.refresh)} if view.refresh else {})
        links.append(f'<a{mark} href="{link(kind, name, kept)}">{escape(stream.name)}</a>')
    before = '<p class="dim">The beginning is left out.</p>' if cut else ""
    text = "".join(
        f"<time>{datetime.fromtimestamp(moment, UTC).strftime('%H:%M:%S')} </time>{escape(line)}\n"
        for moment, line in lines
    )
    return f"<nav>{''.join(links)}</nav>{before}<pre>{text}</pre>"


def _value(value: Any, member: str = "") -> str:
    if isinstance(value, Mapping):
        items = "".join(f"<dt>{escape(str(k))}</dt><dd>{_value(v, str(k))}</dd>" for k, v in value.items())
        return f"<dl>{items}</dl>" if items else '<span class="dim">empty</span>'
    if isinstance(value, list):
        return (
            f"<ol>{''.join(f'<li>{_value(v)}</li>' for v in value)}</ol>" if value else '<span class="dim">none</span>'
        )
    if member.endswith("Time") and isinstance(value, int | float) and not isinstance(value, bool):
        return f"{_time(value)} UTC"
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))
