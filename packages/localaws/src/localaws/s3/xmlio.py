"""The XML documents of S3's REST API: written as text, read with the standard library's parser."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from urllib.parse import quote
from xml.etree import ElementTree

from localaws.s3 import errors
from localaws.s3.request import Response

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_DOCUMENT = 4 << 20
"""Longest request document accepted, in bytes: 10,000 parts or 1,000 keys of 1,024 bytes fit."""

_SPECIAL = re.compile(r"[&<>\"\x00-\x1f\x7f]")
_NAMED = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def escape(text: str) -> str:
    """Text for XML; control characters become character references, as S3 writes them (hence `encoding-type=url`)."""
    return _SPECIAL.sub(lambda found: _NAMED.get(found[0], f"&#{ord(found[0])};"), text)


def element(name: str, content: str | int | bool) -> str:
    """One element with text."""
    text = str(content).lower() if isinstance(content, bool) else str(content)
    return f"<{name}>{escape(text)}</{name}>"


def group(name: str, children: Iterable[str]) -> str:
    """One element with elements."""
    return f"<{name}>{''.join(children)}</{name}>"


def document(root: str, children: Iterable[str]) -> Response:
    """A 200 answer with an XML document."""
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<{root} xmlns="{NAMESPACE}">'
    text = f"{head}{''.join(children)}</{root}>"
    return Response(200, [("Content-Type", "application/xml")], text.encode())


def error_document(error: errors.S3Error, resource: str, request_id: str) -> bytes:
    """The body of an error answer."""
    fields = [element("Code", error.code), element("Message", error.message)]
    fields += [element(name, value) for name, value in error.extra.items()]
    fields += [element("Resource", resource), element("RequestId", request_id), element("HostId", request_id)]
    text = '<?xml version="1.0" encoding="UTF-8"?>\n' + group("Error", fields)
    return text.encode("utf-8", "replace")


def timestamp(seconds: float) -> str:
    """ISO 8601 as S3 writes it, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


def url_encoded(text: str) -> str:
    """A key under `encoding-type=url`."""
    return quote(text, safe="/*-._~")


def tagging(tags: Mapping[str, str]) -> Response:
    """The Tagging document."""
    pairs = (group("Tag", (element("Key", k), element("Value", v))) for k, v in tags.items())
    return document("Tagging", [group("TagSet", pairs)])


class Node:
    """An element of a request document, namespaces ignored (clients differ in sending them)."""

    def __init__(self, raw: ElementTree.Element) -> None:
        self._raw = raw

    @property
    def name(self) -> str:
        """The element's name."""
        return self._raw.tag.rpartition("}")[2]

    @property
    def text(self) -> str:
        """The element's text as it stands."""
        return self._raw.text or ""

    def all(self, name: str) -> list[Node]:
        """The children of this name."""
        return [node for node in map(Node, self._raw) if node.name == name]

    def children(self) -> list[Node]:
        """All children."""
        return [Node(child) for child in self._raw]

    def get(self, name: str) -> str | None:
        """The text of the first child of this name, or None."""
        found = self.all(name)
        return found[0].text if found else None

    def need(self, name: str) -> str:
        """The text of a child that must be there."""
        found = self.get(name)
        if found is None:
            raise errors.MalformedXML()
        return found


def parse(data: bytes, root: str) -> Node:
    """A request document; MalformedXML unless it is well-formed, has no DOCTYPE (entities) and begins with `root`."""
    if b"<!DOCTYPE" in data:
        raise errors.MalformedXML()
    try:
        node = Node(ElementTree.fromstring(data))  # noqa: S314  # no DOCTYPE, hence no entities to expand
    except ElementTree.ParseError:
        raise errors.MalformedXML() from None
    if node.name != root:
        raise errors.MalformedXML()
    return node


def parse_tags(data: bytes) -> list[tuple[str, str]]:
    """The pairs of a Tagging document."""
    sets = parse(data, "Tagging").all("TagSet")
    if len(sets) != 1:
        raise errors.MalformedXML()
    return [(tag.need("Key"), tag.need("Value")) for tag in sets[0].all("Tag")]
