"""Local stand-ins for container images: a directory with programs and a locked Python environment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from include.localaws.errors import ValidationException

URI = re.compile(
    r"(?:(?P<registry>[^/]+\.[^/]+(?::\d+)?|localhost(?::\d+)?)/)?"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)
PROGRAMS = ("train", "serve", "process")
KEYS = {"name", "uris", "python", "package", "metrics", "environment"}
HOST = "host"  # image.toml: python = "host" runs the image with the endpoint's own interpreter


class ImageError(Exception):
    """An image directory that cannot be used, or an environment that cannot be built."""


@dataclass(frozen=True)
class MetricDefinition:
    """A metric that is read from the job's log lines: group 1 of the expression is the value."""

    name: str
    expression: str


@dataclass(frozen=True)
class Image:
    """One image directory; `python` lists the interpreter versions it is locked for, or is ("host",)."""

    name: str
    directory: Path
    uris: tuple[str, ...]
    python: tuple[str, ...]
    package: str
    cache: Path
    metrics: tuple[MetricDefinition, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)

    def answers_to(self, reference: str) -> bool:
        """Whether `repository:tag` is one of this image's."""
        return any(re.fullmatch(pattern, reference) for pattern in self.uris)

    def program(self, name: str) -> Path:
        """The file of `train`, `serve` or `process`; raises ImageError when the image has none."""
        path = self.directory / name
        if not path.is_file():
            raise ImageError(f"image {self.name} has no program {name!r} in {self.directory}")
        return path

    @property
    def requirements(self) -> Path:
        """The lock file of the image's packages."""
        return self.directory / "requirements.txt"

    def environment(self) -> Path:
        """The Python interpreter of the image; builds its environment the first time (minutes, needs a network).

        Raises ImageError with one sentence when a pinned package has no wheel for this Python.
        """
        if self.python == (HOST,):
            return Path(sys.executable)
        return _environment(self)


def _text_list(data: dict[str, Any], key: str, where: Path) -> tuple[str, ...]:
    value = data.get(key, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise ImageError(f"{where}: {key} must be a text or a list of texts, found {value!r}")
    return tuple(values)


def load_image(directory: Path, cache: Path) -> Image:
    """Read `image.toml`; raises ImageError naming file and key."""
    file = directory / "image.toml"
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"{file} cannot be read: {error}") from None
    if unknown := sorted(set(data) - KEYS):
        raise ImageError(f"{file}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(KEYS))}")
    uris = _text_list(data, "uris", file)
    if not uris:
        raise ImageError(f"{file}: uris must list at least one pattern of repository:tag")
    for pattern in uris:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ImageError(f"{file}: uris holds {pattern!r}, which is no expression: {error}") from None
    try:
        metrics = tuple(MetricDefinition(m["name"], m["regex"]) for m in data.get("metrics", []))
    except (KeyError, TypeError):
        raise ImageError(f"{file}: each of metrics needs a name and a regex") from None
    return Image(
        name=str(data.get("name", directory.name)),
        directory=directory,
        uris=uris,
        python=_text_list(data, "python", file) or (HOST,),
        package=str(data.get("package", "")),
        cache=cache,
        metrics=metrics,
        variables={str(k): str(v) for k, v in data.get("environment", {}).items()},
    )


def split_uri(uri: str) -> str:
    """`repository:tag` of an image URI (registry and digest dropped); raises ValidationException."""
    match = URI.fullmatch(uri)
    if match is None:
        raise ValidationException(f"'{uri}' is not an image URI of the form registry/repository:tag")
    return f"{match['repository']}:{match['tag'] or 'latest'}"


class Images:
    """The images of one or more directories, looked up by the URI that a request names."""

    def __init__(self, directories: Path | Iterable[Path], cache: Path) -> None:
        roots = [directories] if isinstance(directories, Path) else list(directories)
        self.cache = cache
        self.images = [load_image(toml.parent, cache) for root in roots for toml in sorted(root.glob("*/image.toml"))]

    def resolve(self, uri: str) -> Image:
        """The image that answers to the URI; raises ValidationException naming the URI and the known images."""
        reference = split_uri(uri)
        for image in self.images:
            if image.answers_to(reference):
                return image
        known = "; ".join(f"{i.name} ({', '.join(i.uris)})" for i in self.images) or "none"
        raise ValidationException(
            f"No local image answers to '{uri}'. Known images: {known}. "
            "Add a directory with an image.toml whose uris match it."
        )

    def by_name(self, name: str) -> Image:
        """The image of this name; raises ImageError listing the names there are."""
        for image in self.images:
            if image.name == name:
                return image
        raise ImageError(f"no image is called {name!r}; there are: {', '.join(i.name for i in self.images)}")


_guards: dict[Path, threading.Lock] = {}
_guards_lock = threading.Lock()


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """One builder at a time: among the threads of this process and among processes."""
    with _guards_lock:
        guard = _guards.setdefault(path, threading.Lock())
    with guard:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


@cache
def _version(python: str) -> str | None:
    """What tells this interpreter from others; None when it does not run (a shim of a version manager)."""
    script = "import platform, sys; print(sys.version, platform.machine())"
    try:
        done = subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _choose_python(image: Image) -> tuple[str, str]:
    """An interpreter of a version that the image is locked for, and what identifies it."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if here in image.python:
        return sys.executable, f"{sys.version} {platform.machine()}\n"
    for wanted in image.python:
        found = shutil.which(f"python{wanted}")
        if found and (version := _version(found)):
            return found, version
    raise ImageError(
        f"image {image.name} is locked for Python {', '.join(image.python)}, but this machine has only {here}: "
        "install one of them"
    )


def _environment(image: Image) -> Path:
    python, version = _choose_python(image)
    try:
        lock = image.requirements.read_bytes()
    except OSError as error:
        raise ImageError(f"image {image.name} has no lock file: {error}") from None
    key = hashlib.sha256(lock + version.encode()).hexdigest()[:16]
    home = image.cache / "environments" / f"{image.name}-{key}"
    interpreter = home / "bin" / "python"
    if not (home / "complete.json").is_file():
        with _exclusive(home.with_suffix(".lock")):
            if not (home / "complete.json").is_file():
                _build(image, python, home)
    return interpreter


def _build(image: Image, python: str, home: Path) -> None:
    """Build in a directory beside the target and rename it: an environment is whole or absent."""
    sys.stderr.write(f"localaws: building the environment of image {image.name} in {home}\n")
    scratch = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
    try:
        # --relocatable, because the finished environment is renamed to its final place.
        _uv(image, "venv", "--quiet", "--relocatable", "--python", python, str(scratch / "env"))
        _uv(
            image, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:",
            "--python", str(scratch / "env" / "bin" / "python"), "-r", str(image.requirements),
        )  # fmt: skip
        (scratch / "env" / "complete.json").write_text(json.dumps({"image": image.name, "python": python}))
        shutil.rmtree(home, ignore_errors=True)
        (scratch / "env").rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.stderr.write(f"localaws: image {image.name} is ready\n")


def _uv(image: Image, *arguments: str) -> None:
    # uv of this interpreter's environment; VIRTUAL_ENV would make it pick another one.
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run([sys.executable, "-m", "uv", *arguments], env=environment, capture_output=True, text=True)
    if done.returncode == 0:
        return
    reason = " ".join(done.stderr.split())
    if "no wheels" in reason or "no usable wheels" in reason or "no-build" in reason:
        raise ImageError(
            f"image {image.name} cannot be built: a pinned package of {image.requirements} has no wheel for "
            f"this Python or platform ({reason})"
        )
    raise ImageError(f"image {image.name} cannot be built: {reason}")
