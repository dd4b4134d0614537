"""What a Create request runs, in a sentence for people: program or algorithm, image, machines, time limit.

A request is a template until its task runs. What only the run will know is left out, but for the prebuilt images: the
plan names them, `sagewind.facts.algorithms` knows them.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from sagewind.facts.algorithms import IMAGES
from sagewind.facts.kinds import KINDS, KindName

_PLANNED_IMAGE = re.compile(r"\{\{ *plan\.images\['([\w-]+)'\] *\}\}")
#: Characters of a command that are shown; an own DAG's may be a whole program.
_LONGEST = 80


def sentence(kind: KindName, request: Any, transform_minutes: int) -> str:
    """Such as: Runs `train.py` in the image `sagemaker-xgboost:3.0-5`, on 1 x ml.m5.large, for 60 minutes at most.

    Empty if `request` says nothing yet, as that of a task whose request is the result of another task.
    """
    api = KINDS[kind]
    run = _at(request, api.definition) if api.of_trainings else request
    machines = _at(run, *api.machines)
    seconds = _at(run, *api.limit) if api.limit else transform_minutes * 60
    limit = _limit(seconds) if api.limit or machines else ""
    parts = (_program(run) or _algorithm(run), _machines(machines), limit)
    if not api.of_trainings:
        return _sentence("Runs", *parts)
    return " ".join(filter(None, [_sentence("Runs", *_trainings(request)), _sentence("Each runs", *parts)]))


def _sentence(verb: str, *parts: str) -> str:
    told = ", ".join(part for part in parts if part)
    return f"{verb} {told}." if told else ""


def _program(request: Any) -> str:
    program = _at(request, "AppSpecification")
    command = [*_texts(_at(program, "ContainerEntrypoint")), *_texts(_at(program, "ContainerArguments"))]
    return _what(" ".join(command), _at(program, "ImageUri"))


def _algorithm(request: Any) -> str:
    algorithm = _at(request, "AlgorithmSpecification")
    fixed = _at(request, "HyperParameters") or _at(request, "StaticHyperParameters")
    script = _at(fixed, "sagemaker_program")
    return _what(json.loads(script) if _known(script) else "", _at(algorithm, "TrainingImage")) or _code(
        "the algorithm", _at(algorithm, "AlgorithmName")
    )


def _trainings(request: Any) -> list[str]:
    config = _at(request, "HyperParameterTuningJobConfig")
    jobs, objective = _at(config, "ResourceLimits"), _at(config, "HyperParameterTuningJobObjective")
    total, parallel = _at(jobs, "MaxNumberOfTrainingJobs"), _at(jobs, "MaxParallelTrainingJobs")
    return [
        f"{total} trainings, {parallel} at once" if isinstance(total, int) and isinstance(parallel, int) else "",
        _code(f"to {_at(objective, 'Type')}".lower(), _at(objective, "MetricName")),
    ]


def _what(program: str, image: Any) -> str:
    """A program in an image, or what of the two is known."""
    named = _PLANNED_IMAGE.fullmatch(image) if isinstance(image, str) else None
    prebuilt = IMAGES.get(named[1]) if named else None
    where = _code("the image", prebuilt.repository if prebuilt else _last_part(image))
    return " in ".join(part for part in (_code("", program), where) if part)


def _machines(resources: Any) -> str:
    """Every instance group of a cluster, or its only kind of machine."""
    groups = _at(resources, "InstanceGroups") or [resources]
    sizes = [(_at(group, "InstanceCount"), _at(group, "InstanceType")) for group in groups]
    shown = [f"{count} x {machine}" for count, machine in sizes if isinstance(count, int) and _known(machine)]
    return f"on {' and '.join(shown)}" if shown else ""


def _limit(seconds: Any) -> str:
    return f"for {seconds / 60:g} minutes at most" if isinstance(seconds, int) else ""


def _code(words: str, text: Any) -> str:
    """`text` set as code after `words`; empty if it is not known yet."""
    if not _known(text):
        return ""
    short = textwrap.shorten(text.replace("`", "'"), _LONGEST, placeholder=" ...")
    return f"{words} `{short}`".strip()


def _known(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip()) and "{{" not in text and "{%" not in text


def _last_part(image: Any) -> Any:
    """Repository and tag: the registry's account and region say nothing to a reader."""
    return image.rsplit("/", 1)[-1] if _known(image) else None


def _texts(found: Any) -> list[str]:
    return [text for text in found if isinstance(text, str)] if isinstance(found, list | tuple) else []


def _at(found: Any, *keys: str) -> Any:
    """The value at a path of keys; None where there is none, or where a template or another task's result stands."""
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
