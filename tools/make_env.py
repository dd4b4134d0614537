"""`make env`: write .env, the one place where docker-compose.yaml takes its secrets from.

Every value is new, made of hexadecimal digits (it stands inside URLs) except the Fernet key. The file is readable
by its owner only, and one that exists is never overwritten: its secrets encrypt what the database holds.
"""

import base64
import os
import secrets
import sys
from pathlib import Path

HEADER = """\
# Secrets of docker-compose.yaml, made by `make env`. Keep this file out of version control and out of images.
# To start over: docker compose down --volumes, remove this file, make env.
"""


def new_secrets() -> dict[str, str]:
    """Variable -> value; JWT secrets shorter than 64 bytes draw a warning from Airflow."""
    return {
        "POSTGRES_PASSWORD": secrets.token_hex(24),
        "REDIS_PASSWORD": secrets.token_hex(24),
        "AIRFLOW_FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW_JWT_SECRET": secrets.token_hex(64),
        "AIRFLOW_API_SECRET_KEY": secrets.token_hex(32),
        "AIRFLOW_ADMIN_PASSWORD": secrets.token_hex(12),
        "LOCALAWS_ACCESS_KEY_ID": "AKIA" + secrets.token_hex(8).upper(),
        "LOCALAWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    }


def write(path: Path) -> None:
    """Write a new .env; raises FileExistsError when there is one."""
    text = HEADER + "".join(f"{name}={value}\n" for name, value in new_secrets().items())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


def main(path: Path) -> int:
    """Write `path`, or say in one sentence why not."""
    try:
        write(path)
    except FileExistsError:
        sys.stderr.write(f"make env: {path} exists and is not overwritten; move it away first.\n")
        return 1
    sys.stdout.write(f"wrote {path}; sign in to Airflow as admin with AIRFLOW_ADMIN_PASSWORD from it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else ".env")))
