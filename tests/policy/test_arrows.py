"""The arrows check: the project is clean, and each kind of offence is found where it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools import arrows


def test_project_is_clean() -> None:
    files = arrows.python_files(ROOT)
    assert files, "no Python file found: the check would pass on nothing"
    assert [str(offence) for file in files for offence in arrows.check_file(ROOT, file)] == []


FORBIDDEN = [
    (
        "dags/m.py",
        "import os\nfrom sagewind.pipeline.spec import ModelSpec\n",
        2,
        "sagewind.pipeline.spec: dags may",
    ),
    ("dags/m.py", "from sagewind.jobs import prepare\n", 1, "dags may import sagewind.operators, sagewind.sensors"),
    ("dags/m.py", "import pandas as pd\n", 1, "imports pandas at module level"),
    (
        "plugins/sagewind/workflows/w.py",
        "from sagewind import jobs\n",
        1,
        "may import sagewind, not sagewind.jobs, sag",
    ),
    ("plugins/sagewind/workflows/w.py", "class A:\n    import boto3\n", 2, "imports boto3 at module level"),
    ("plugins/sagewind/pipeline/p.py", "def f():\n    from airflow.sdk import dag\n", 2, "stays free of airflow"),
    (
        "plugins/sagewind/pipeline/p.py",
        "try:\n    import sagemaker.core\nexcept ImportError:\n    pass\n",
        2,
        "at module level",
    ),
    (
        "plugins/sagewind/jobs/j.py",
        "import localaws.store\n",
        1,
        "jobs may import sagewind.facts, sagewind.jobs, not sagewind.jobs.analysis",
    ),
    (
        "packages/localaws/src/localaws/l.py",
        "import importlib\nimportlib.import_module('sagewind.jobs.prepare')\n",
        2,
        "sagewind.jobs.prep",
    ),
    ("plugins/sagewind/facts/f.py", "import yaml\n", 1, "needs nothing but Python itself"),
    ("plugins/sagewind/facts/f.py", "from sagewind.pipeline import names\n", 1, "facts may import sagewind.facts"),
    ("plugins/sagewind/jobs/j.py", "def f():\n    import boto3\n", 2, "jobs stays free of boto3"),
    ("plugins/sagewind/jobs/bias/j.py", "from sagewind.jobs import quality\n", 1, "imports sagewind.jobs.quality: "),
    (
        "plugins/sagewind/jobs/explain/j.py",
        "def f():\n    import sagewind.jobs.bias.config\n",
        2,
        "not sagewind.jobs.b",
    ),
    (
        "plugins/sagewind/jobs/analysis/j.py",
        "from sagewind.jobs.monitor import kll\n",
        1,
        "not sagewind.jobs.bias, sage",
    ),
    (
        "plugins/sagewind/jobs/j.py",
        "from sagewind.jobs.analysis import dataset\n",
        1,
        "not sagewind.jobs.analysis, sage",
    ),
    ("tools/stack/s.py", "from localaws import store\n", 1, "tools/stack may import sagewind.facts, sagewind.pipeline"),
    (
        "plugins/sagewind/images/x/train.py",
        "import sagewind.pipeline\n",
        1,
        "plugins/sagewind/images may import nothing of ours",
    ),
    (
        "packages/localaws/src/localaws/images/x/train.py",
        "import sagewind.jobs.prepare\n",
        1,
        "images may import nothing of ours",
    ),
    ("plugins/sagewind/o.py", "from sagewind.workflows import lifecycle\n", 1, "plugins may import sagewind, not"),
    ("plugins/sagewind/o.py", "from xgboost import Booster\n", 1, "imports xgboost at module level"),
    ("plugins/sagewind/o.py", "from . import hooks\n", 1, "imports are absolute"),
    ("dags/m.py", "import sys\nsys.path.insert(0, 'include')\n", 2, "touches sys.path"),
    ("tests/test_x.py", "import sys\nsys.path += ['plugins']\n", 2, "touches sys.path"),
    ("tests/test_x.py", "import sys\nsys.path[0:0] = ['plugins']\n", 2, "touches sys.path"),
    ("tools/t.py", "from sys import path\n", 1, "touches sys.path"),
    ("include/newcomer/n.py", "import os\n", 1, "lies in no area"),
    ("plugins/sagewind/jobs/j.py", "def f(:\n", 1, "does not parse"),
]


@pytest.mark.parametrize(("path", "text", "line", "message"), FORBIDDEN)
def test_forbidden(tmp_path: Path, path: str, text: str, line: int, message: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    (offence,) = arrows.check_file(tmp_path, file)
    assert (offence.path, offence.line) == (path, line)
    assert message in offence.message


ALLOWED = [
    ("dags/m.py", "from sagewind.workflows.lifecycle import lifecycle\n"),
    (
        "plugins/sagewind/workflows/w.py",
        "from sagewind import x\nfrom sagewind.pipeline import spec\nimport airflow.sdk\n",
    ),
    ("plugins/sagewind/workflows/w.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n"),
    (
        "plugins/sagewind/jobs/bias/j.py",
        "from sagewind.jobs import analysis, page\nimport sagewind.jobs.bias.drift\n",
    ),
    ("plugins/sagewind/o.py", "def hook():\n    import boto3\n    return boto3\n"),
    ("packages/localaws/src/localaws/l.py", "import botocore.session\nfrom localaws import store\n"),
    ("tests/test_x.py", "import sys\nprint(sys.path)\nfrom localaws import store\n"),
]


@pytest.mark.parametrize(("path", "text"), ALLOWED)
def test_allowed(tmp_path: Path, path: str, text: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert arrows.check_file(tmp_path, file) == []


def test_programs_without_suffix_are_read_and_the_exit_code_tells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "plugins/sagewind/images/xgboost/train"
    program.parent.mkdir(parents=True)
    program.write_text("#!/usr/bin/env python3\nimport sagewind.pipeline.load\n")
    (program.parent / "requirements.txt").write_text("import sagewind.jobs\n")
    assert arrows.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines() == [
        "plugins/sagewind/images/xgboost/train:2: imports sagewind.pipeline.load: "
        "plugins/sagewind/images may import nothing of ours",
        "arrows: 1 files, 1 offences",
    ]
    program.write_text("#!/usr/bin/env python3\nimport os\n")
    assert arrows.main(tmp_path) == 0
