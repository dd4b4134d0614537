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
        "import os\nfrom include.pipeline.spec import ModelSpec\n",
        2,
        "include.pipeline.spec: dags may",
    ),
    ("dags/m.py", "from sagewind.operators import x\n", 1, "dags may import include.workflows"),
    ("dags/m.py", "import pandas as pd\n", 1, "imports pandas at module level"),
    ("include/workflows/w.py", "from include import jobs\n", 1, "imports include.jobs: include/workflows may"),
    ("include/workflows/w.py", "class A:\n    import boto3\n", 2, "imports boto3 at module level"),
    ("include/pipeline/p.py", "def f():\n    from airflow.sdk import dag\n", 2, "stays free of airflow"),
    ("include/pipeline/p.py", "try:\n    import sagemaker.core\nexcept ImportError:\n    pass\n", 2, "at module level"),
    ("include/jobs/j.py", "import localaws.store\n", 1, "include/jobs may import include.jobs"),
    (
        "packages/localaws/src/localaws/l.py",
        "import importlib\nimportlib.import_module('include.jobs.prepare')\n",
        2,
        "include.jobs.prep",
    ),
    ("include/stack/s.py", "from localaws import store\n", 1, "include/stack may import include.pipeline"),
    ("include/images/x/train.py", "import include.pipeline\n", 1, "include/images may import include.jobs"),
    (
        "packages/localaws/src/localaws/images/x/train.py",
        "import include.jobs.prepare\n",
        1,
        "images may import nothing of ours",
    ),
    ("plugins/sagewind/o.py", "from include.workflows import lifecycle\n", 1, "plugins may import include.pipeline"),
    ("plugins/sagewind/o.py", "from xgboost import Booster\n", 1, "imports xgboost at module level"),
    ("plugins/sagewind/o.py", "from . import hooks\n", 1, "imports are absolute"),
    ("dags/m.py", "import sys\nsys.path.insert(0, 'include')\n", 2, "touches sys.path"),
    ("tests/test_x.py", "import sys\nsys.path += ['plugins']\n", 2, "touches sys.path"),
    ("tests/test_x.py", "import sys\nsys.path[0:0] = ['plugins']\n", 2, "touches sys.path"),
    ("tools/t.py", "from sys import path\n", 1, "touches sys.path"),
    ("include/newcomer/n.py", "import os\n", 1, "lies in no area"),
    ("include/jobs/j.py", "def f(:\n", 1, "does not parse"),
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
    ("dags/m.py", "from include.workflows.lifecycle import lifecycle\n"),
    (
        "include/workflows/w.py",
        "from sagewind import x\nfrom include.pipeline import spec\nimport airflow.sdk\n",
    ),
    ("include/workflows/w.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n"),
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
    program = tmp_path / "include/images/xgboost/train"
    program.parent.mkdir(parents=True)
    program.write_text("#!/usr/bin/env python3\nimport include.pipeline.load\n")
    (program.parent / "requirements.txt").write_text("import include.jobs\n")
    assert arrows.main(tmp_path) == 1
    assert capsys.readouterr().out.splitlines() == [
        "include/images/xgboost/train:2: imports include.pipeline.load: include/images may import include.jobs",
        "arrows: 1 files, 1 offences",
    ]
    program.write_text("#!/usr/bin/env python3\nimport include.jobs.prepare\n")
    assert arrows.main(tmp_path) == 0
