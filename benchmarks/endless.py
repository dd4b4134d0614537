"""A SageMaker for crowds of waits: every job that is asked for exists and runs until its name's prefix is finished.

    python -m benchmarks.endless --port N        as a component of the stack: prints where it listens

It answers Describe and List of training jobs and counts the calls; `GET /calls` gives the counts, `POST /finish/PREFIX`
completes jobs. A job was created when somebody first asked for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ARN = "arn:aws:sagemaker:us-east-1:123456789012:training-job/"


class Jobs:
    """The jobs asked for so far, and the calls that asked."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self._created: dict[str, float] = {}
        self._finished: dict[str, float] = {}
        self._lock = threading.Lock()

    def finish(self, prefix: str) -> None:
        """Complete all jobs whose names begin so."""
        with self._lock:
            self._finished |= {name: time.time() for name in self._created if name.startswith(prefix)}

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """One call."""
        with self._lock:
            self.calls[operation] += 1
            if operation == "DescribeTrainingJob":
                self._created.setdefault(request["TrainingJobName"], time.time())
                return self._description(request["TrainingJobName"])
            if operation == "ListTrainingJobs":
                return self._list(request)
            return {"Tags": []}  # of a job that is to be handed over

    def _summary(self, name: str) -> dict[str, Any]:
        created, ended = self._created[name], self._finished.get(name)
        return {
            "TrainingJobName": name,
            "TrainingJobArn": ARN + name,
            "CreationTime": created,
            "LastModifiedTime": ended or created,
            "TrainingJobStatus": "Completed" if ended else "InProgress",
        }

    def _description(self, name: str) -> dict[str, Any]:
        return self._summary(name) | {
            "SecondaryStatus": "Completed" if name in self._finished else "Training",
            "ModelArtifacts": {"S3ModelArtifacts": "s3://bucket/model.tar.gz"},
            "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
        }

    def _list(self, request: dict[str, Any]) -> dict[str, Any]:
        after, status = float(request.get("LastModifiedTimeAfter", 0)), request.get("StatusEquals")
        found = [self._summary(name) for name in self._created]
        found = [job for job in found if job["LastModifiedTime"] > after and status in (None, job["TrainingJobStatus"])]
        start, size = int(request.get("NextToken", 0)), int(request.get("MaxResults", 10))
        page: dict[str, Any] = {"TrainingJobSummaries": found[start : start + size]}
        return page | ({"NextToken": str(start + size)} if start + size < len(found) else {})


class EndlessHandler(BaseHTTPRequestHandler):
    """HTTP around the jobs of the server."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes out in one piece: the second of two would wait for the receipt of the first
    server: EndlessServer

    def do_POST(self) -> None:
        """A call of AWS's JSON protocol, or an order of the benchmark."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.startswith("/finish/"):
            self.server.jobs.finish(self.path.removeprefix("/finish/"))
            self._send({})
            return
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        self._send(self.server.jobs.answer(operation, json.loads(body)))

    def do_GET(self) -> None:
        """The counts."""
        self._send(dict(self.server.jobs.calls))

    def _send(self, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Nothing: a thousand waits would fill the log."""


class EndlessServer(ThreadingHTTPServer):
    """Threads, and room for a crowd that connects at once."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int) -> None:
        self.jobs = Jobs()
        super().__init__(("127.0.0.1", port), EndlessHandler)


def main() -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser("endless")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", help="taken and left alone: the stack gives one to its endpoint")
    options = parser.parse_args()
    server = EndlessServer(options.port)
    values = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    sys.stdout.write("".join(f"export {name}={value}\n" for name, value in values.items()))
    sys.stdout.flush()
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
