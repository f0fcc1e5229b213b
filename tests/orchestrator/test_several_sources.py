"""Two datasets at once, each a fold: through search, ensemble and report; and what a dry run says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator import run_search
from orchestrator.common.errors import UserError
from orchestrator.report.__main__ import main as report
from orchestrator.search import main as search
from tests.support import two_sets

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clinics(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return two_sets.write(tmp_path_factory.mktemp("two sets"))


def test_each_source_is_held_out_once_and_has_its_row(
    clinics: tuple[Path, Path], ray_local: None, store: str, tmp_path: Path
) -> None:
    storage = tmp_path / "runs"
    run_search(
        data=clinics,
        folds="source",
        name="both",
        arch=("unet",),
        image_size=32,
        trials=2,
        epochs=2,
        top_k=1,
        boost_rounds=0,
        storage=storage,
        tracking_uri=store,
    )
    found = json.loads((storage / "both/ensemble.json").read_text())
    rows = {row["name"]: row for row in found["sources"]}
    assert set(rows) == {"clinic A", "clinic B"}
    assert all(row["unseen"] and row["images"] >= 40 for row in rows.values())
    assert (rows["clinic A"]["chose"], rows["clinic B"]["chose"]) == (True, False)
    assert found["data"]["source"] == f"{clinics[0]} + {clinics[1]}"
    page = tmp_path / "report.md"
    assert report(["--storage", str(storage), "--out", str(page), "--format", "md"]) == 0
    text = page.read_text()
    assert "| clinic B |" in text
    assert "trained on the others, but epochs chosen on it" in text


def test_a_dry_run_says_all_and_keeps_nothing(
    clinics: tuple[Path, Path],
    ray_local: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", *map(str, clinics), "--folds", "source", "--image-size", "32", "--dry-run"]
    assert search(["--arch", "unet", "fpn", "--encoder", "tf_efficientnet_lite0", *data]) == 0
    said = capfd.readouterr().out
    for words in (
        f"data    {clinics[1]} (folders layout)",
        "clinic A: patients unknown: images of one patient may be in train and in test",
        "clinic B: patients: 30, from labels.csv",
        "each source is a fold",
        "20 trials of up to 30 epochs at 32 px",
        "try     unet; fpn with tf_efficientnet_lite0",
        "; then the ensemble about ",
        "dry run: nothing was kept",
    ):
        assert words in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="no summary"):
        run_search(dry_run=True)
