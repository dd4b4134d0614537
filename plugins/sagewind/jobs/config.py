"""job.json as the programs read it: an error in it is a user's."""

from __future__ import annotations

from datetime import datetime

from sagewind.facts import contract, job_json
from sagewind.jobs.job import UserError, read_json


def load() -> job_json.JobConfig:
    """Read job.json from the config input; UserError names the key that is missing or wrong."""
    document = read_json(contract.input_dir(contract.CONFIG) / contract.JOB_JSON, "the job's configuration")
    try:
        return job_json.parse(document)
    except job_json.JobFileError as error:
        raise UserError(str(error)) from None


def parse_time(text: str, where: str) -> datetime:
    """An ISO 8601 date or time, UTC where it names no zone; UserError names `where` it was found."""
    try:
        return job_json.parse_time(text, where)
    except ValueError as error:
        raise UserError(str(error)) from None
