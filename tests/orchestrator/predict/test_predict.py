"""`python -m orchestrator.predict`: which files are predicted, what is written, exit codes, errors of one line."""

from __future__ import annotations

import csv
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from orchestrator.inference.combination import Combination
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.predictor import Predictor
from orchestrator.predict.__main__ import main
from orchestrator.predict.find import find_images
from orchestrator.predict.results import LIST
from tests.support.products import checkpoint, head, pictures, small_product


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def save(file: Path, image: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)
    return file


def table(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(*words: str | Path) -> int:
    return main([str(word) for word in words])


def test_everything_is_written_at_original_size(multi: Path, tmp_path: Path, capsys) -> None:
    images = pictures(20)
    files = [save(tmp_path / "in" / f"{i:02}.png", image) for i, image in enumerate(images)]
    out = tmp_path / "out"
    assert run("--task", "multi", "--model", multi, "--out", out, "in") == 0
    rows, expected = table(out), Predictor.load(multi).predict(images)
    assert [row["file"] for row in rows] == [str(file.relative_to(tmp_path)) for file in files], "in order"
    for row, one, image in zip(rows, expected, images, strict=True):
        assert one.probabilities is not None
        assert one.mask is not None
        names = ("normal", "benign", "malignant")
        found = [float(row[f"probability_{name}"]) for name in names]
        np.testing.assert_allclose(found, one.probabilities, atol=1e-4)
        assert row["malignant_score"] == row["probability_malignant"]
        assert int(row["above_threshold"]) == (float(row["malignant_score"]) >= 0.2)
        mask = np.asarray(Image.open(out / row["mask"]))
        assert mask.shape == image.shape
        assert set(np.unique(mask)) <= {0, 255}
        assert ((mask > 0) != one.mask).mean() < 1e-3
        assert int(row["lesion_area"]) == (mask > 0).sum()
        left, top, right, bottom = (int(row[side]) for side in ("left", "top", "right", "bottom"))
        assert (mask[top:bottom, left] > 0).any()
        assert (mask[top, left:right] > 0).any()
        assert (mask[bottom - 1, left:right] > 0).any()
        overlay = np.asarray(Image.open(out / "overlays" / Path(row["mask"]).name))
        assert overlay.shape == (*image.shape, 3)
        assert (overlay != image[..., None]).any()
        assert 0 <= float(row["uncertainty"]) <= 1
    assert len({row["above_threshold"] for row in rows}) == 2
    assert sorted(path.name for path in out.iterdir()) == [LIST, "masks", "overlays", "predictions.csv"]
    assert [path.name for path in out.rglob(".*")] == [LIST], "nothing temporary is left"
    said = capsys.readouterr()
    assert said.out.startswith(f"model   {multi}: task multi, mean; on cpu\n")
    above = sum(row["above_threshold"] == "1" for row in rows)
    empty = sum(row["lesion_area"] == "0" for row in rows)
    summary = f"20 predicted, {above} above the threshold, {empty} without a lesion: results in {out}"
    assert said.out.splitlines()[-1] == summary
    assert "Not a medical device" in said.out
    assert "SYNTHETIC" not in said.out
    assert said.err == ""


def test_segmentation_has_no_classes_and_says_that_it_is_synthetic(seg: Path, tmp_path: Path, capsys) -> None:
    file = save(tmp_path / "a.jpg", pictures(1)[0])
    assert run("--task", "seg", "--model", seg, "--out", "out", "--no-overlays", file) == 0
    (row,) = table(tmp_path / "out")
    assert row["malignant_score"] == row["above_threshold"] == row["probability_benign"] == ""
    assert row["mask"] == "masks/a.png"
    assert not (tmp_path / "out" / "overlays").exists()
    assert "SYNTHETIC" in capsys.readouterr().out


def test_classification_has_no_masks(tmp_path: Path) -> None:
    product = small_product(tmp_path / "product", "cls", networks=1)
    assert run("--task", "cls", "--model", product, "--out", "out", save(tmp_path / "a.png", pictures(1)[0])) == 0
    (row,) = table(tmp_path / "out")
    assert [row[name] for name in ("mask", "lesion_area", "left", "shape_area", "above_threshold")] == [""] * 5
    assert float(row["probability_normal"]) > 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [LIST, "predictions.csv"]


def test_folders_are_searched_and_masks_left_out(tmp_path: Path) -> None:
    image = pictures(1)[0]
    for name in ("b/x.png", "a/x.png", "a/x_mask.png", "a/x_mask_1.png", "a/deep/y.TIF", "a/.hidden.png", "n.bmp"):
        file = save((tmp_path / "in" / name).with_suffix(".png"), image)
        file.rename(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    save(tmp_path / "in" / "out" / "masks" / "x.png", image)
    found, _ = find_images([Path("in")], Path("in/out"))
    assert [str(one.path) for one in found] == ["in/n.bmp", "in/a/x.png", "in/a/deep/y.TIF", "in/b/x.png"]
    assert [one.png for one in found] == ["n.png", "a/x.png", "a/deep/y.png", "b/x.png"]


def test_results_never_overwrite_each_other(seg: Path, tmp_path: Path) -> None:
    """Same stems in different folders, with different suffixes, in upper case; a file that is named twice."""
    names = ("one/x.png", "two/x.png", "two/x.bmp", "two/X.jpg", "two/x.png.png")
    for name, image in zip(names, pictures(5), strict=True):
        save(tmp_path / name, image)
    assert run("--task", "seg", "--model", seg, "--out", "out", "one", "two", "two/x.png", "one/../two/x.bmp") == 0
    rows = table(tmp_path / "out")
    assert sorted(row["file"] for row in rows) == sorted(names)
    assert len({row["mask"].lower() for row in rows}) == len(names)
    for row in rows:
        size = Image.open(tmp_path / row["file"]).size
        assert Image.open(tmp_path / "out" / row["mask"]).size == size
        assert Image.open(tmp_path / "out" / row["mask"].replace("masks", "overlays", 1)).size == size


def test_masks_that_somebody_drew_are_never_overwritten(seg: Path, tmp_path: Path, capsys) -> None:
    image, drawn = pictures(1)[0], np.full((9, 9), 255, np.uint8)
    save(tmp_path / "data" / "images" / "a.png", image)
    truth = save(tmp_path / "data" / "masks" / "a.png", drawn)
    assert run("--task", "seg", "--model", seg, "--out", "data", "data/images") == 2
    assert "masks in it was not made by this command" in capsys.readouterr().err
    assert (np.array(Image.open(truth)) == drawn).all()
    assert not (tmp_path / "data" / "predictions.csv").exists()


def test_results_are_no_images_wherever_they_lie(seg: Path, tmp_path: Path) -> None:
    save(tmp_path / "d" / "a.png", pictures(1)[0])
    (tmp_path / "link").symlink_to(tmp_path / "d")
    for out, given in (
        ("d/run1", "d"),
        ("d/run2", "d"),
        ("d/../d/run1", "d"),
        ("link/run1", "d"),
        ("d/run1", "d/../d"),
    ):
        assert run("--task", "seg", "--model", seg, "--out", out, given) == 0
        assert [Path(row["file"]).name for row in table(tmp_path / out)] == ["a.png"], (out, given)


def test_a_second_run_leaves_nothing_of_the_first(seg: Path, tmp_path: Path, capsys) -> None:
    for name, image in zip(("a", "b"), pictures(2), strict=True):
        save(tmp_path / "in" / f"{name}.png", image)
    assert run("--task", "seg", "--model", seg, "--out", "out", "in") == 0
    assert run("--task", "seg", "--model", seg, "--out", "out", "--no-overlays", "in/a.png") == 0
    assert {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*")} == {
        *(LIST, "predictions.csv", "masks/a.png"),
    }
    assert run("--task", "seg", "--model", seg, "--out", "out", "out/masks/a.png") == 2
    assert "it is a result in --out out" in capsys.readouterr().err


def test_odd_names_are_kept(seg: Path, tmp_path: Path) -> None:
    names = ["=1+1 'a', \"b\".png", "läsion 图 (1).png", os.fsdecode(b"caf\xe9.png"), "@x.png", " b .png", "-rf.png"]
    for name in names:
        save(tmp_path / "in" / "ok.png", pictures(1)[0]).rename(tmp_path / "in" / name)
    assert run("--task", "seg", "--model", seg, "--out", "out put", "in") == 0
    rows = table(tmp_path / "out put")
    shown = [name.replace("\udce9", r"\udce9") for name in names]
    assert sorted(row["file"] for row in rows) == sorted(f"in/{name}" for name in shown)
    assert all((tmp_path / "out put" / row["mask"]).is_file() for row in rows)
    lines = (tmp_path / "out put" / "predictions.csv").read_bytes().splitlines()
    assert all(line.startswith(b'"') for line in lines), "text is quoted"


def test_unreadable_files_are_listed_and_skipped(seg: Path, tmp_path: Path, capsys) -> None:
    good = save(tmp_path / "in" / "good.png", pictures(1)[0])
    (tmp_path / "in" / "empty.png").touch()
    (tmp_path / "in" / "text.png").write_text("no image")
    (tmp_path / "in" / "cut.png").write_bytes(good.read_bytes()[:500])
    assert run("--task", "seg", "--model", seg, "--out", "out", "in", "absent.png") == 3
    assert [row["file"] for row in table(tmp_path / "out")] == ["in/good.png"]
    said = capsys.readouterr()
    assert sorted(said.err.splitlines()) == [
        "skipped: absent.png: no such file",
        "skipped: in/cut.png: truncated or damaged",
        "skipped: in/empty.png: 0 bytes",
        "skipped: in/text.png: not an image",
    ]
    assert "1 predicted, " in said.out
    assert ", 4 skipped: results in out\n" in said.out


def test_any_readable_image_will_do(seg: Path, tmp_path: Path) -> None:
    """16 bits, colour, one pixel, and a file whose name says nothing."""
    image = pictures(1)[0]
    save(tmp_path / "deep.png", image.astype(np.uint16) * 200)
    save(tmp_path / "colour.png", np.stack([image] * 3, axis=-1))
    save(tmp_path / "dot.png", np.zeros((1, 1), np.uint8))
    save(tmp_path / "IM0001.png", image).rename(tmp_path / "IM0001")
    names = ["deep.png", "colour.png", "dot.png", "IM0001"]
    assert run("--task", "seg", "--model", seg, "--out", "out", *names) == 0
    assert [row["file"] for row in table(tmp_path / "out")] == names


def test_images_that_were_trained_on_are_told_of(tmp_path: Path, capsys) -> None:
    file = save(tmp_path / "a.png", pictures(1)[0])
    folder = checkpoint(tmp_path / "one", "seg", 0)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    text = (folder / "model.json").read_text().replace("f" * 16, digest)
    (folder / "model.json").write_text(text)
    member = Sources(Combination("best", masks=head(1.0)), [MemberCheckpoints(0, "a", [folder])], 64)
    write(tmp_path / "product", member, keep_aspect=False, synthetic=False)
    new = save(tmp_path / "b.png", pictures(2)[1])
    assert run("--task", "seg", "--model", "product", "--out", "out", file, new) == 0
    assert "1 of them belong to groups that the model was trained on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "SEG", "nothing"], "no image in nothing"),
        (["--model", "SEG", "mistyped.png"], "mistyped.png: no such file; give PNG"),
        (["--model", "SEG", "pipe.png", "bad.png"], "pipe.png: not a file, nor can 1 others be read; give PNG"),
        (["--model", "SEG", "cut.png"], "cut.png: truncated or damaged; give PNG"),
        (["--model", "SEG", "bad.png"], "bad.png: not an image; give PNG"),
        (["--model", "absent", "a.png"], "absent: no exported model there"),
        (["--model", "nothing", "a.png"], "nothing: no exported model there"),
        (["--model", "MULTI", "a.png"], "of task multi, not seg; give --task multi"),
        (["a.png"], "no tracking store at"),
        (["--model", "models:/x/Production", "a.png"], "models:/x/Production is no address of a model"),
        (["--tracking-uri", "nonsense", "a.png"], "nonsense is not a tracking URI"),
        (["--model", "SEG", "--out", "a.png", "a.png"], "--out a.png: not a folder"),
        (["--model", "SEG", "--device", "mps", "a.png"], "error: --device mps: torch"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    seg: Path, multi: Path, tmp_path: Path, capsys, monkeypatch, words: list[str], message: str
) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    save(tmp_path / "a.png", pictures(1)[0])
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "nothing").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    before = sorted(tmp_path.rglob("*"))
    given = [str({"SEG": seg, "MULTI": multi}.get(word, word)) for word in words]
    assert run("--task", "seg", "--out", "out", *given) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_needs_no_store_and_makes_none(seg: Path, tmp_path: Path) -> None:
    save(tmp_path / "a.png", pictures(1)[0])
    words = ["--task", "seg", "--model", str(seg), "--out", "out", "a.png"]
    command = [sys.executable, "-X", "importtime", "-m", "orchestrator.predict", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert all(line.startswith("import time:") for line in lines), "not a word beside what -X importtime says"
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}
    assert "torch" in imported
    assert not {"mlflow", "ray", "sklearn", "optuna", "albumentations"} & imported
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "out"]


def test_a_full_disk_is_one_line(seg: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    save(tmp_path / "a.png", pictures(1)[0])
    monkeypatch.setattr(Path, "write_bytes", full)
    assert run("--task", "seg", "--model", seg, "--out", "out", "a.png") == 1
    assert capsys.readouterr().err == "failed: out: No space left on device\n"
    assert not (tmp_path / "out" / "predictions.csv").exists()


def test_results_of_a_big_image_fit_it(seg: Path, tmp_path: Path) -> None:
    save(tmp_path / "big.png", cv2.resize(pictures(1)[0], (2001, 1303)))
    assert run("--task", "seg", "--model", seg, "--out", "out", "big.png") == 0
    assert Image.open(tmp_path / "out" / "overlays" / "big.png").size == (2001, 1303)
