"""Local stand-ins for container images: a directory with programs and a locked Python environment."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from localaws.coverage import Behaviour
from localaws.engine import pip_settings
from localaws.errors import ValidationException

log = logging.getLogger("localaws.images")

URI = re.compile(
    r"(?:(?P<registry>[^/]+\.[^/]+(?::\d+)?|localhost(?::\d+)?)/)?"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>.+))?"
)
PROGRAMS = ("train", "serve", "process")
KEYS = {"name", "uris", "python", "package", "metrics", "environment", "base", "preload", "code", "behaviours"}
OWN = {"name", "uris", "base", "behaviours"}  # what an image does not take over from its base
LOCK = "requirements.txt"
SHIPPED = Path(__file__).resolve().parent.parent / "images"  # the images that come with this package
HOST = "host"  # image.toml: python = "host" runs the image with the endpoint's own interpreter


def default_cache() -> Path:
    """Where image environments are kept when nothing else is said: LOCALAWS_CACHE, or below the user's cache."""
    return Path(os.environ.get("LOCALAWS_CACHE") or Path.home() / ".cache" / "localaws")


class ImageError(Exception):
    """An image directory that cannot be used, or an environment that cannot be built."""


class NoPythonForImage(ImageError):
    """This machine has none of the Python versions that an image is locked for."""


@dataclass(frozen=True)
class MetricDefinition:
    """A metric that is read from the job's log lines: group 1 of the expression is the value."""

    name: str
    expression: str


@dataclass(frozen=True)
class Image:
    """One image directory; `python` lists the interpreter versions it is locked for, or is ("host",).

    `bases` are the directories of the images that it is built on: programs and lock that it lacks are theirs, and
    images with one lock share one environment. `preload` are the modules that a prepared parent may import before a
    job runs. `code` are directories outside of the image that its programs read.
    """

    name: str
    directory: Path
    uris: tuple[str, ...]
    python: tuple[str, ...]
    package: str
    cache: Path
    metrics: tuple[MetricDefinition, ...] = ()
    variables: dict[str, str] = field(default_factory=dict)
    bases: tuple[Path, ...] = ()
    preload: tuple[str, ...] = ()
    code: tuple[Path, ...] = ()
    behaviours: tuple[Behaviour, ...] = ()

    def answers_to(self, reference: str) -> bool:
        """Whether `repository:tag` is one of this image's."""
        return any(re.fullmatch(pattern, reference) for pattern in self.uris)

    def program(self, name: str) -> Path:
        """The file of `train`, `serve` or `process`; raises ImageError when the image has none."""
        path = self._find(name)
        if not path.is_file():
            raise ImageError(f"image {self.name} has no program {name!r} in {self.directory}")
        return path

    def _find(self, name: str) -> Path:
        """A file of the image or else of the image it is built on."""
        homes = (self.directory, *self.bases)
        return next((home / name for home in homes if (home / name).is_file()), self.directory / name)

    @property
    def requirements(self) -> Path:
        """The lock file of the image's packages."""
        return self._find(LOCK)

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


def _code(data: dict[str, Any], file: Path) -> tuple[Path, ...]:
    """The directories that `code` names, from the image's own: a job sees them wherever they lie."""
    found = tuple((file.parent / text).resolve() for text in _text_list(data, "code", file))
    for path in found:
        if not path.is_dir():
            raise ImageError(f"{file}: code must name directories from the image's own, found {path}, which is none")
    return found


def _read_toml(file: Path, above: tuple[Path, ...] = ()) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """The keys of an image and of the images it is built on, and the directories of those."""
    try:
        data = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"{file} cannot be read: {error}") from None
    if unknown := sorted(set(data) - KEYS):
        raise ImageError(f"{file}: unknown key {unknown[0]!r}; known keys: {', '.join(sorted(KEYS))}")
    data["code"] = _code(data, file)
    if "base" not in data:
        return data, ()
    home = _base(str(data["base"]), file)
    if home in (file.parent, *above):
        raise ImageError(f"{file}: base must name another image, found {data['base']!r}, which is built on this one")
    below, further = _read_toml(home / "image.toml", (*above, file.parent))
    taken_over = {key: value for key, value in below.items() if key not in OWN}
    return {**taken_over, **data, "code": (*data["code"], *below["code"])}, (home, *further)


def _base(name: str, file: Path) -> Path:
    """The directory of the image that `base` names: one beside the image's own, else one that comes with localaws."""
    for parent in (file.parent.parent, SHIPPED):
        home = parent / name
        if home.parent == parent and (home / "image.toml").is_file():
            return home
    raise ImageError(
        f"{file}: base must name an image directory beside this one or an image of localaws, found {name!r}"
    )


def load_image(directory: Path, cache: Path) -> Image:
    """Read `image.toml`; raises ImageError naming file and key."""
    file = directory / "image.toml"
    data, bases = _read_toml(file)
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
    try:
        behaviours = tuple(Behaviour(**entry) for entry in data.get("behaviours", []))
    except (TypeError, ValueError) as error:
        raise ImageError(f"{file}: each of behaviours needs a text, a basis and its source: {error}") from None
    return Image(
        name=str(data.get("name", directory.name)),
        directory=directory,
        uris=uris,
        python=_text_list(data, "python", file) or (HOST,),
        package=str(data.get("package", "")),
        cache=cache,
        metrics=metrics,
        variables={str(k): str(v) for k, v in data.get("environment", {}).items()},
        bases=bases,
        preload=_text_list(data, "preload", file),
        code=data["code"],
        behaviours=behaviours,
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
        for root in roots:
            if not root.is_dir():
                raise ImageError(f"the directory of images {root} does not exist: give another with --images")
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
    raise NoPythonForImage(
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
    home = image.cache / "environments" / f"{image.requirements.parent.name}-{key}"
    interpreter = home / "bin" / "python"
    if not (home / "complete.json").is_file():
        try:
            with _exclusive(home.with_suffix(".lock")):
                if not (home / "complete.json").is_file():
                    _build(image, python, home)
        except OSError as error:
            raise ImageError(
                f"image {image.name}: its environment cannot be kept in {image.cache} ({error.strerror}): "
                "name another directory with --cache or LOCALAWS_CACHE"
            ) from None
    return interpreter


def _tell(text: str) -> None:
    """Say how a build goes: in the endpoint's log, or on stderr where there is none (`pull`)."""
    if logging.getLogger().handlers:
        log.info("%s", text)
    else:
        sys.stderr.write(f"localaws: {text}\n")
        sys.stderr.flush()


def _build(image: Image, python: str, home: Path) -> None:
    """Build in a directory beside the target and rename it: an environment is whole or absent."""
    began = time.monotonic()
    packages = sum("==" in line for line in image.requirements.read_text(encoding="utf-8").splitlines())
    _tell(f"building the environment of image {image.name}, {packages} packages, in {home}")
    scratch = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
    try:
        # --relocatable, because the finished environment is renamed to its final place.
        _uv(image, "venv", "--quiet", "--relocatable", "--python", python, str(scratch / "env"))
        _uv(
            image, "pip", "install", "--no-deps", "--only-binary", ":all:",
            "--python", str(scratch / "env" / "bin" / "python"), "-r", str(image.requirements),
        )  # fmt: skip
        (scratch / "env" / "complete.json").write_text(json.dumps({"image": image.name, "python": python}))
        shutil.rmtree(home, ignore_errors=True)
        (scratch / "env").rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    _tell(f"image {image.name} is ready after {time.monotonic() - began:.0f} s")


# What uv tells of its work; its lines with one package each (` + numpy==2.1.0`) would be too many.
PROGRESS = re.compile(r"\s*(Downloading|Downloaded|Building|Prepared|Installed|Audited) ")


def _uv(image: Image, *arguments: str) -> None:
    # uv of this interpreter's environment; VIRTUAL_ENV would make it pick another one.
    environment = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    environment |= pip_settings.settings()
    command = [sys.executable, "-m", "uv", *arguments]
    said = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if PROGRESS.match(line):
                _tell(f"image {image.name}: {line.strip()}")
            else:
                said.append(line)
    if process.returncode == 0:
        return
    reason = " ".join("".join(said).split())
    if "no wheels" in reason or "no usable wheels" in reason or "no-build" in reason:
        raise ImageError(
            f"image {image.name} cannot be built: a pinned package of {image.requirements} has no wheel for "
            f"this Python or platform ({reason})"
        )
    if re.search(r"No solution found|Failed to fetch|error sending request|offline", reason):
        raise ImageError(
            f"image {image.name} cannot be built: a package cannot be had from this machine's registry ({reason}); "
            f"build it beforehand where there is one: localaws pull {image.name}"
        )
    raise ImageError(f"image {image.name} cannot be built: {reason}")
