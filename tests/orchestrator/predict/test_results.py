"""Where results go: former ones stay until new ones are whole, and nothing is touched that is not ours."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.inference.predictor import Predictor
from orchestrator.predict import files
from orchestrator.predict.__main__ import main
from orchestrator.predict.results import LIST, PART, Results
from tests.support.products import pictures, small_product


@pytest.fixture(scope="module")
def seg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_product(tmp_path_factory.mktemp("seg"), "seg", networks=1)


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, image in zip(("in/a.png", "in/sub/b.png"), pictures(2), strict=True):
        save(tmp_path / name, image)


def save(file: Path, image: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)
    return file


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def run(model: Path, *words: str, out: str = "out") -> int:
    return main(["--task", "seg", "--model", str(model), "--out", out, *words])


@pytest.mark.parametrize("words", [["mistyped.png"], ["in/text.png"], ["in/cut.png", "mistyped.png"]])
def test_where_nothing_can_be_read_former_results_stay(
    seg: Path, tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in/cut.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:400])
    assert run(seg, "in") == 3
    (tmp_path / "in/text.png").write_text("no image")
    before = contents(tmp_path)
    assert run(seg, *words) == 2
    assert contents(tmp_path) == before
    assert capsys.readouterr().err.count("\n") == 2, "the file that was cut, then the error"


def test_only_own_files_are_replaced(seg: Path, tmp_path: Path) -> None:
    assert run(seg, "in") == 0
    kept = {"notes.txt": b"1", "masks/notes.txt": b"2", "overlays/sub/mine.png": b"3", "predictions.xlsx": b"4"}
    for name, content in kept.items():
        (tmp_path / "out" / name).write_bytes(content)
    assert run(seg, "--no-overlays", "in/a.png") == 0
    found = contents(tmp_path / "out")
    assert found.items() >= kept.items()
    assert set(found) == {*kept, LIST, "predictions.csv", "masks/a.png"}
    assert json.loads(found[LIST]) == {"files": ["masks/a.png", "predictions.csv"]}
    assert not (tmp_path / "out/masks/sub").exists()


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ("masks/truth.png", "masks"),
        ("overlays/sub/x.txt", "overlays"),
        ("predictions.csv", "predictions.csv"),
        (LIST, LIST),
    ],
)
def test_a_folder_or_file_of_others_is_left_alone_and_named(
    seg: Path, tmp_path: Path, theirs: str, named: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    """Before any work: the model is not even loaded."""
    monkeypatch.setattr(Predictor, "load", None)
    (tmp_path / "data" / theirs).parent.mkdir(parents=True)
    (tmp_path / "data" / theirs).write_text("mine")
    before = contents(tmp_path)
    assert run(seg, "in", out="data") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: --out data: {named} in it ")
    assert said.endswith("; move it away, or name another folder\n")
    assert contents(tmp_path) == before


def test_a_file_of_others_among_our_own_is_left_alone_and_named(
    seg: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(seg, "in/a.png") == 0
    (tmp_path / "out/masks/sub").mkdir()
    (tmp_path / "out/masks/sub/b.png").write_text("mine")
    before = contents(tmp_path)
    assert run(seg, "in") == 2
    assert "--out out: masks/sub/b.png in it was not made by this command" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_model_without_masks_minds_no_folder_of_masks(tmp_path: Path) -> None:
    save(tmp_path / "data/masks/truth.png", pictures(1)[0])
    product = small_product(tmp_path / "product", "cls", networks=1)
    assert main(["--task", "cls", "--model", str(product), "--out", "data", "in"]) == 0
    assert set(contents(tmp_path / "data")) == {"masks/truth.png", LIST, "predictions.csv"}


def test_no_list_deletes_what_this_command_does_not_write(seg: Path, tmp_path: Path) -> None:
    """Nor anything behind a link that took the place of a folder."""
    mine = [tmp_path / "mine.txt", tmp_path / "out/notes.txt", tmp_path / "elsewhere/old.png"]
    assert run(seg, "in") == 0
    for file in mine:
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
    (tmp_path / "out/overlays/away").symlink_to(tmp_path / "elsewhere")
    names = json.loads((tmp_path / "out" / LIST).read_text())["files"]
    names += ["../mine.txt", str(mine[0]), "notes.txt", "masks/../notes.txt", "overlays/away/old.png", 1]
    (tmp_path / "out" / LIST).write_text(json.dumps({"files": names}))
    assert run(seg, "in/a.png") == 0
    assert [file.read_text() for file in mine] == ["mine"] * 3


def test_an_interrupted_run_leaves_former_results_whole(
    seg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(seg, "in") == 0
    before = contents(tmp_path / "out")

    def interrupted(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "draw_overlay", interrupted)
        assert run(seg, "in/a.png") == 130
        assert run(seg, "in/a.png", out="new/folder") == 130
    assert contents(tmp_path / "out") == before
    assert not (tmp_path / "out" / PART).exists()
    assert not (tmp_path / "new").exists()


def test_ctrl_c_while_results_are_swapped_in_waits_for_the_end(
    seg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(seg, "in") == 0
    honest = Results._delete

    def delete(self: Results, path: object) -> None:
        signal.raise_signal(signal.SIGINT)
        honest(self, path)  # type: ignore[arg-type]

    monkeypatch.setattr(Results, "_delete", delete)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        assert run(seg, "in/a.png") == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert set(contents(tmp_path / "out")) == {LIST, "predictions.csv", "masks/a.png", "overlays/a.png"}


def test_a_killed_run_leaves_former_results_whole_and_the_next_one_clears_up(seg: Path, tmp_path: Path) -> None:
    """A second run meanwhile is refused."""
    assert run(seg, "in") == 0
    before = contents(tmp_path / "out")
    code = (
        "import sys, time; from orchestrator.predict import files; from orchestrator.predict.__main__ import main\n"
        "files.draw_overlay = lambda *given, **more: time.sleep(600)\nmain(sys.argv[1:])"
    )
    words = ["--task", "seg", "--model", str(seg), "--out", "out", "in/a.png"]
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(600):
                if (tmp_path / "out" / PART / "masks/a.png").exists():
                    break
                time.sleep(0.1)
            assert run(seg, "in/a.png") == 2
        finally:
            process.kill()
    assert {name: now for name, now in contents(tmp_path / "out").items() if not name.startswith(PART)} == before
    assert (tmp_path / "out" / PART).is_dir()
    assert run(seg, "in/a.png") == 0
    assert set(contents(tmp_path / "out")) == {LIST, "predictions.csv", "masks/a.png", "overlays/a.png"}


def test_progress_counts_what_is_written(seg: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    from orchestrator.predict.find import find_images

    (tmp_path / "in/cut.png").write_bytes((tmp_path / "in/a.png").read_bytes()[:400])
    images, _ = find_images([Path("in")], Path("out"))

    def progress(done: int, total: int) -> None:
        told.append((done, total))
        assert len(list((tmp_path / "out").rglob("overlays/**/*.png"))) >= done - 1, "one cannot be read"

    files.predict_files(Predictor.load(seg), images, tmp_path / "out", overlays=True, progress=progress)
    assert told == [(1, 3), (2, 3), (3, 3)]
