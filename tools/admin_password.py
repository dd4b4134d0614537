"""Give Airflow's user `admin` the password of .env (service airflow-init of docker-compose.yaml).

Airflow's SimpleAuthManager reads a JSON object user -> password from a file, and makes passwords up, and logs them,
for users that it does not find there.
"""

import json
import os
import sys
from pathlib import Path


def main() -> int:
    """Write the file that `AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE` names; only its owner can read it."""
    path = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    password = os.environ.get("AIRFLOW_ADMIN_PASSWORD", "")
    if not password:
        sys.stderr.write("AIRFLOW_ADMIN_PASSWORD is empty: `make env` writes a .env that holds one.\n")
        return 1
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump({"admin": password}, stream)
    return 0


if __name__ == "__main__":
    sys.exit(main())
