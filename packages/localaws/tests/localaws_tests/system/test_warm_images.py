"""The images that are shipped, forked from prepared parents: their numeric libraries compute what they compute cold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from localaws.engine.images import SHIPPED, Images, default_cache
from localaws.engine.runner import Runner
from localaws.engine.spec import ProcessSpec
from localaws_tests.conftest import bubblewrap
from localaws_tests.engine.test_runner import Lines

pytestmark = pytest.mark.long

CACHE = default_cache()
DATA = """
import os, sys
import numpy as np
rng = np.random.default_rng(7)
x = rng.normal(size=(4000, 12))
y = (x @ rng.normal(size=12) > 0).astype(int)
print(round(float((x @ x.T).sum()), 3))  # OpenBLAS starts its threads again
"""
XGBOOST = f"""{DATA}
import pandas, xgboost
model = xgboost.train({{"objective": "binary:logistic", "nthread": 2}}, xgboost.DMatrix(x, label=y), 20)
print(model.predict(xgboost.DMatrix(x[:3])).tolist())
"""
SKLEARN = f"""{DATA}
import pandas
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import cross_val_score
print(HistGradientBoostingClassifier(max_iter=20).fit(x, y).predict_proba(x[:3]).tolist())
print(RandomForestClassifier(20, random_state=1, n_jobs=2).fit(x, y).predict_proba(x[:3]).tolist())
print(cross_val_score(RandomForestClassifier(5, random_state=1), x, y, n_jobs=2, cv=3).tolist())
print(pandas.DataFrame(x).to_parquet("/tmp/x.parquet"), os.path.getsize("/tmp/x.parquet"))
"""


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner(bubblewrap())
    yield made
    made.shutdown(0.0)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "script"), [("xgboost", XGBOOST), ("sklearn", SKLEARN)])
def test_computes_the_same_cold_and_warm(runner: Runner, tmp_path: Path, name: str, script: str) -> None:
    image = Images(SHIPPED, CACHE).by_name(name)
    assert runner.prepare(image, 600)
    said = []
    for warm in (False, True, True):
        root = tmp_path / f"job{len(said)}" / "ml"
        root.mkdir(parents=True)
        (root / "user.py").write_text(f"import os\nprint(os.getppid())\n{script}")
        lines = Lines()
        runner.warm = warm
        process = runner.start(
            ProcessSpec(argv=["python3", "user.py"], env={}, root=root, image=image, on_line=lines.add)
        )
        assert process.wait(600) == 0, list(lines)
        said.append(list(lines))
    parents = [lines.pop(0) for lines in said]
    assert parents == ["1", "0", "0"]
    assert said[0] == said[1] == said[2]
