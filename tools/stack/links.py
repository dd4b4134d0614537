"""How to reach a stack that stays up: what `up`, `run --keep` and `status` print."""

from __future__ import annotations

import shlex

from tools.stack.state import Home
from tools.stack.supervision import PROJECT


def reach(home: Home) -> str:
    """The links of the stack that is up on `home`, and how to end it."""
    record = home.read_record() or {}
    secrets = home.state.secrets()
    root = home.state.root
    where = "" if root == PROJECT / ".sagewind" else f" STATE={shlex.quote(str(root))}"
    lines = [
        f"Airflow:   {record.get('url')}   user {secrets.user}, password {secrets.password}",
        f"local AWS: . {home.exports}   (sets AWS_ENDPOINT_URL and credentials in a shell)",
        f"its page:  {record['page']}   (jobs, endpoints, logs)" if record.get("page") else None,
        f"report:    {record['report']}" if record.get("report") else None,
        f"end it:    make down{where}",
    ]
    return "\n".join(line for line in lines if line)
