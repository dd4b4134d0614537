"""The environment and configuration file of the stack's Airflow processes.

Values marked *measured* are there because they changed the time of a run on two cores: a chain of ten empty tasks went
from 15.7 s to 2.5 s, the start of the API from 19 s to 7 s.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.stack.state import AirflowSecrets, Home, write_private

PARALLELISM = 4
"""Tasks at once: on two cores more of them only make each one slower, and every slot is a process kept in memory."""

DROPPED_PREFIXES = ("AIRFLOW__", "AWS_", "BOTO_", "LOCALAWS_")
"""Settings of another Airflow and credentials of a real account have no business in this stack."""
KEPT_PREFIX = "AIRFLOW__SAGEWIND__"
"""Settings of the project itself (docs/settings.md): who starts a stack may set them."""
DROPPED = (
    "AIRFLOW_HOME",
    "AIRFLOW_CONFIG",
    "AIRFLOW_CONN_AWS_DEFAULT",
    "_AIRFLOW_PROCESS_CONTEXT",
    "PYTHONDONTWRITEBYTECODE",  # measured: without it the second start is faster, the modules are compiled by then
)


@dataclass(frozen=True)
class LocalAwsAccess:
    """How to reach the local AWS endpoint: the four values it prints when it is ready."""

    endpoint_url: str
    access_key: str
    secret_key: str
    region: str

    @classmethod
    def from_exports(cls, lines: list[str]) -> LocalAwsAccess | None:
        """Read `export NAME=value` lines; None until all four are there."""
        found: dict[str, str] = {}
        for line in lines:
            name, separator, value = line.removeprefix("export ").partition("=")
            if line.startswith("export ") and separator:
                found[name.strip()] = value.strip().strip("'\"")
        try:
            return cls(
                found["AWS_ENDPOINT_URL"],
                found["AWS_ACCESS_KEY_ID"],
                found["AWS_SECRET_ACCESS_KEY"],
                found["AWS_DEFAULT_REGION"],
            )
        except KeyError:
            return None

    def variables(self) -> dict[str, str]:
        """The four as environment variables."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def exports(self) -> str:
        """The lines again, for a file that a shell can source."""
        return "".join(f"export {name}={value}\n" for name, value in self.variables().items())

    def connection(self) -> str:
        """The Airflow connection `aws_default` as JSON."""
        return json.dumps(
            {
                "conn_type": "aws",
                "login": self.access_key,
                "password": self.secret_key,
                "extra": {"region_name": self.region, "endpoint_url": self.endpoint_url},
            }
        )


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without what would steer Airflow or AWS clients elsewhere."""
    kept = {
        name: value
        for name, value in environment.items()
        if name.startswith(KEPT_PREFIX) or (name not in DROPPED and not name.startswith(DROPPED_PREFIXES))
    }
    local = "127.0.0.1,localhost"
    for name in ("NO_PROXY", "no_proxy"):
        kept[name] = f"{kept[name]},{local}" if kept.get(name) else local
    return kept


def environment(home: Home, *, project: Path, port: int) -> dict[str, str]:
    """The environment of a project's Airflow processes: nothing secret, those settings are in `write_configuration`."""
    path = os.environ.get("PYTHONPATH", "")
    settings = {
        ("core", "dags_folder"): str(project / "dags"),
        ("core", "plugins_folder"): str(project / "plugins"),
        ("core", "executor"): "LocalExecutor",
        ("core", "parallelism"): str(PARALLELISM),
        ("core", "load_examples"): "False",
        ("core", "dags_are_paused_at_creation"): "True",
        ("core", "simple_auth_manager_all_admins"): "False",
        ("core", "simple_auth_manager_passwords_file"): str(_passwords_file(home)),
        ("core", "execution_api_server_url"): f"http://127.0.0.1:{port}/execution/",
        ("core", "mp_start_method"): "fork",  # measured: workers inherit what `component` has imported
        ("api", "host"): "127.0.0.1",
        ("api", "port"): str(port),
        ("api", "base_url"): f"http://127.0.0.1:{port}",
        ("api", "workers"): "1",  # measured: each further worker imports everything again at start
        ("database", "sql_alchemy_conn"): f"sqlite:///{home.database}",
        ("logging", "base_log_folder"): str(home.airflow / "logs"),
        ("logging", "logging_level"): "INFO",
        ("scheduler", "scheduler_idle_sleep_time"): "0.2",  # measured: a second lost at every step of a chain
        # measured: a worker whose task has ended may keep its slot for this long (default 5, whole seconds only)
        ("workers", "min_heartbeat_interval"): "1",
        ("scheduler", "scheduler_heartbeat_sec"): "2",
        ("scheduler", "job_heartbeat_sec"): "2",
        ("triggerer", "job_heartbeat_sec"): "2",
        # What was killed is started again within seconds, and what it was at is then taken over. The triggerer is the
        # only one: nobody else can take over from it while it is merely paused, so its death may be presumed early.
        ("triggerer", "triggerer_health_check_threshold"): "10",
        # A new scheduler looks for its dead predecessor's tasks when it starts, which is too early, and then only every
        # five minutes. Each look would also take a scheduler for dead that wrote no heartbeat for so long because the
        # machine was busy, its own included, and run its healthy tasks anew: hence twice the usual silence.
        ("scheduler", "orphaned_tasks_check_interval"): "15",
        ("scheduler", "scheduler_health_check_threshold"): "60",
        # A task's calls wait for a restarted api-server (by default half a minute, which its start alone can take);
        # its heartbeats do too, and stay below the five minutes after which a silent task counts as dead.
        ("workers", "execution_api_retries"): "30",
        ("workers", "execution_api_retry_wait_max"): "10",
        # measured: parsing again takes a core from the tasks; a stack that stays up must see an edited model file
        ("dag_processor", "min_file_process_interval"): "30" if home.kind == "up" else "600",
        ("dag_processor", "refresh_interval"): "10",
        ("dag_processor", "parsing_processes"): "1",
        # A file is read in two seconds; on a machine with other work it can take longer than the default 30 and 50.
        ("core", "dagbag_import_timeout"): "300",
        ("dag_processor", "dag_file_processor_timeout"): "360",
    }
    return {
        **inherited(os.environ),
        "AIRFLOW_HOME": str(home.airflow),
        "PYTHONPATH": f"{project}{os.pathsep}{path}" if path else str(project),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "SPT_NOENV": "1",  # setproctitle would overwrite the environment that marks our processes
        **{f"AIRFLOW__{section}__{key}".upper(): value for (section, key), value in settings.items()},
    }


def write_configuration(home: Home, secrets: AirflowSecrets) -> None:
    """Write airflow.cfg (mode 0600) with what must not be in an environment, and the password file of the user.

    Having the file before the first process starts also keeps Airflow's processes from writing it at the same time.
    """
    write_private(
        home.airflow / "airflow.cfg",
        "[core]\n"
        f"fernet_key = {secrets.fernet_key}\n"
        f"simple_auth_manager_users = {secrets.user}:admin\n"
        "[api]\n"
        f"secret_key = {secrets.api_secret_key}\n"
        "[api_auth]\n"
        f"jwt_secret = {secrets.jwt_secret}\n",
    )
    write_private(_passwords_file(home), json.dumps({secrets.user: secrets.password}) + "\n")


def _passwords_file(home: Home) -> Path:
    return home.airflow / "passwords.json"
