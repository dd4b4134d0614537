"""Health checks of docker-compose.yaml: cheap enough to run every few seconds (no import of Airflow).

    python -m tools.health http URL [STATUS]      the address answers with this status (default 200)
    python -m tools.health airflow COMPONENT      the API server's own health report calls the component healthy

Exit code 0 is healthy; else 1 with one sentence on standard error.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

SECONDS = 5.0


class Unhealthy(Exception):
    """The checked thing is not healthy; the message says what was found."""


def fetch(url: str) -> tuple[int, bytes]:
    """Status and body of a GET, whatever the status; never through a proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError as error:
        raise Unhealthy(f"{url} does not answer: {error}") from None


def check_http(url: str, status: int = 200) -> None:
    """Raise Unhealthy unless the address answers with `status`."""
    found, _ = fetch(url)
    if found != status:
        raise Unhealthy(f"{url} answered {found}, expected {status}")


def check_airflow(component: str) -> None:
    """Raise Unhealthy unless the API server reports a recent heartbeat of the component."""
    server = urlsplit(os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"])
    url = f"{server.scheme}://{server.netloc}/api/v2/monitor/health"
    status, body = fetch(url)
    if status != 200:
        raise Unhealthy(f"{url} answered {status}, expected 200")
    report = json.loads(body)
    if component not in report:
        raise Unhealthy(f"{url} knows no {component!r}; it reports {', '.join(sorted(report))}")
    if report[component]["status"] != "healthy":
        raise Unhealthy(f"{component} is {report[component]['status']}")


def main(arguments: list[str]) -> int:
    """Run one check."""
    try:
        match arguments:
            case ["http", url]:
                check_http(url)
            case ["http", url, status]:
                check_http(url, int(status))
            case ["airflow", component]:
                check_airflow(component)
            case _:
                sys.stderr.write(f"{__doc__}\n")
                return 2
    except Unhealthy as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
