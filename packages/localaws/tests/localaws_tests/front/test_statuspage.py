"""The status page: who may see it, what it shows, and that nothing that is shown can act."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import WaiterError

from localaws import page_command
from localaws.front.statuspage import USER, password
from localaws.server import Endpoint
from localaws_tests.conftest import need_namespaces, training_request, wait_for
from localaws_tests.signing import signed_request

EVIL = "<script>alert('x')</script>\"&amp;"


class Links(HTMLParser):
    """The places that a page links to, and the elements that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.hrefs += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]


def get(
    endpoint: Endpoint, path: str, secret: str | None = "right", method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], str]:
    """An answer as a browser gets it."""
    if secret is not None:
        word = password(endpoint.ctx.config.secret_key) if secret == "right" else secret
        headers["Authorization"] = "Basic " + base64.b64encode(f"{USER}:{word}".encode()).decode()
    connection = http.client.HTTPConnection("127.0.0.1", endpoint.ctx.config.port)
    connection.request(method, path, headers={"Accept": "text/html,*/*", **headers})
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


@pytest.mark.parametrize("path", ["/", "/_localaws/page/training-job/x", "/_localaws/page/"])
def test_nothing_without_the_password(endpoint: Endpoint, path: str) -> None:
    config = endpoint.ctx.config
    for secret in (None, "", "x", config.secret_key, config.access_key):
        status, headers, text = get(endpoint, path, secret)
        assert (status, "<table" in text) == (401, False)
        assert headers["www-authenticate"].startswith("Basic ")
    for header in ("Basic", "Basic ###", "Bearer x", "basic " + base64.b64encode(b"aws").decode()):
        assert get(endpoint, path, None, Authorization=header)[0] in (401, 403)
    assert get(endpoint, path, None, Host="evil.example")[0] == 403


def test_the_password_opens_nothing_else(endpoint: Endpoint) -> None:
    for method, path in (("GET", "/data"), ("GET", "/_localaws/faults"), ("POST", "/_localaws/faults"), ("POST", "/")):
        assert get(endpoint, path, method=method)[0] == 403
    assert get(endpoint, "/_localaws/page/training-job/x", method="POST")[0] == 405
    assert password(endpoint.ctx.config.secret_key) not in endpoint.ctx.config.secret_key


def test_aws_clients_still_find_their_buckets_at_the_root(endpoint: Endpoint, s3: Any) -> None:
    assert "data" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    status, _headers, text = get(endpoint, "/", None, Accept="*/*")
    assert (status, "AccessDenied" in text) == (403, True)


def test_jobs_and_their_logs_are_shown_as_text(endpoint: Endpoint, sagemaker: Any, s3: Any, name: str) -> None:
    script = f"print({EVIL!r}); open('/opt/ml/output/failure', 'w').write({EVIL!r}); sys.exit(1)"
    need_namespaces(endpoint)
    sagemaker.create_training_job(**training_request(name, script, Tags=[{"Key": "t", "Value": "v"}]))
    with pytest.raises(WaiterError, match="Failed"):
        wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)
    status, headers, page = get(endpoint, "/?kind=training-job&name=" + name)
    assert status == 200
    link = f"/_localaws/page/training-job/{name}"
    assert link in page
    assert "Failed" in page
    status, headers, page = get(endpoint, link)
    assert status == 200
    assert (
        page.count("&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;amp;") >= 3
    )  # log, reason, description
    assert "<script" not in page
    assert f"{name}/algo-1" in page
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy
    assert "unsafe" not in policy
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_every_page_is_whole_and_links_lead_somewhere(endpoint: Endpoint, sagemaker: Any, s3: Any, name: str) -> None:
    sagemaker.create_training_job(**training_request(name, "print('a line')"))
    wait_for(sagemaker, "training_job_completed_or_stopped", TrainingJobName=name)
    queue, seen = ["/", f"/?kind=training-job&name={name}&refresh=5"], set()
    while queue and len(seen) < 40:
        path = queue.pop(0)
        if path in seen:
            continue
        seen.add(path)
        status, _headers, page = get(endpoint, path)
        assert status == 200, path
        links = Links()
        links.feed(page)
        assert "script" not in links.elements
        assert {urlsplit(href).netloc for href in links.hrefs} == {""}, "nothing from elsewhere"
        queue += [href for href in links.hrefs if href.startswith("/")]
    assert any(f"/training-job/{name}" in path for path in seen)


def test_a_style_that_is_allowed_is_the_one_that_is_sent(endpoint: Endpoint) -> None:
    _status, headers, page = get(endpoint, "/")
    style = re.search("<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    "path",
    [
        "/_localaws/page/training-job/none",
        "/_localaws/page/training-job/",
        "/_localaws/page/training-job/a/b",
        "/_localaws/page/nonsense/x",
        "/_localaws/page/training-job/%3Cscript%3E",
        "/_localaws/page/endpoint/..%2F..%2Fetc",
    ],
)
def test_pages_that_are_not_there(endpoint: Endpoint, path: str) -> None:
    status, _headers, page = get(endpoint, path)
    assert status == 404
    assert "<script" not in page


def test_faults_are_shown(endpoint: Endpoint) -> None:
    asked = {"operation": "s3:No<b>Such", "calls": 7}
    _status, fault = signed_request(endpoint, "POST", "/_localaws/faults", json.dumps(asked).encode())
    page = get(endpoint, "/")[2]
    signed_request(endpoint, "DELETE", "/_localaws/faults/" + fault["id"], b"")
    assert "s3:No&lt;b&gt;Such" in page


def test_the_link_of_the_command(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for variable, value in endpoint.environment().items():
        monkeypatch.setenv(variable, value)
    assert page_command.run([]) == 0
    link = urlsplit(capsys.readouterr().out.strip())
    assert (link.username, link.port) == (USER, endpoint.ctx.config.port)
    assert get(endpoint, link.path, link.password)[0] == 200
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert page_command.run([]) == 1
    said = capsys.readouterr()
    assert (said.out, "signature" in said.err) == ("", True)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ValueError, match="AWS_SECRET_ACCESS_KEY must be set"):
        page_command.run([])


def test_head_has_no_body(endpoint: Endpoint) -> None:
    status, headers, page = get(endpoint, "/", method="HEAD")
    assert (status, page) == (200, "")
    assert int(headers["content-length"]) > 1000
