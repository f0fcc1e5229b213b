"""External validation: what is scored and what is left out, that figures are those of the product, and what is said."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.evaluate import external
from orchestrator.evaluate.__main__ import main
from orchestrator.evaluate.leakage import fresh_images
from orchestrator.inference.combination import Combination
from orchestrator.inference.export import MemberCheckpoints, Sources, write
from orchestrator.inference.format import LearntFrom
from orchestrator.inference.predictor import Predictor
from tests.support.evaluations import copy, evaluate, images_of, knowing, mask_of, page_of
from tests.support.products import checkpoint, head, small_product
from tests.support.webpages import looked_at
from trainables.data import read_manifest
from trainables.data.pixels import read_image

HOSTILE = "a \"b\" 'c' <script>alert(1)<b> & ünï 乳腺 \u202e(x).png"
POINTS = [
    {"kept": "specificity", "rate": 0.9, "threshold": 0.3},
    {"kept": "sensitivity", "rate": 0.95, "threshold": 0.1},
]


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(external, "INTERVAL", 40)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def multi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multi")
    nothing = LearntFrom(np.zeros((0, 128), np.uint8), 50)
    return small_product(folder, "multi", networks=1, operating_points=POINTS, learnt_from=nothing)


@pytest.mark.slow
def test_figures_are_those_of_what_the_product_predicts(multi: Path, phantom: Path, tmp_path: Path) -> None:
    found = evaluate(multi, phantom, tmp_path / "out.html")
    product, dice, alarms, scores, malignant = Predictor.load(multi), [], [], [], []
    for name in ("normal", "benign", "malignant"):
        for image in images_of(phantom, name):
            said, truth = product.predict(read_image(image)), np.asarray(Image.open(mask_of(image))) > 0
            assert said.mask is not None
            if truth.any():
                dice.append(2 * (said.mask & truth).sum() / (said.mask.sum() + truth.sum()))
            else:
                alarms.append(said.mask.any())
            scores.append(said.malignant_score)
            malignant.append(name == "malignant")
    figures = found["external"]
    assert found["images"] == len(scores) == 40
    assert figures["scores"]["dice"]["value"] == pytest.approx(np.mean(dice), abs=1e-3)
    assert figures["scores"]["fpr_normal"]["value"] == pytest.approx(np.mean(alarms))
    above, is_malignant = np.array(scores) >= POINTS[0]["threshold"], np.array(malignant)
    point = figures["operating_points"][0]
    assert point["threshold"] == POINTS[0]["threshold"], "the model's own, not fitted again"
    assert point["sensitivity"]["value"] == pytest.approx(above[is_malignant].mean())
    assert point["specificity"]["value"] == pytest.approx((~above[~is_malignant]).mean())
    page = page_of(tmp_path / "out.html")
    low, high = figures["scores"]["dice"]["interval"]
    shown = page.rows("Scores at original size")["Dice of lesions"]
    assert shown == [f"{figures['scores']['dice']['value']:.3f} ({low:.3f} to {high:.3f})"]
    assert page.table("Malignant against the rest")[1][3].startswith(f"{point['sensitivity']['value']:.3f} (")
    assert "SYNTHETIC DATA" in page.text


def test_batches_make_no_difference(multi: Path, phantom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ensemble = Predictor.load(multi)
    fresh = fresh_images(read_manifest(phantom), ensemble.description, None, lambda done, total: None)
    told: list[int] = []
    _, whole, unsure, truth = external.ask(ensemble, fresh, lambda done, total: told.append(done))
    monkeypatch.setattr("orchestrator.inference.predictor.BATCH", 7)
    _, parts, again, same = external.ask(ensemble, fresh, lambda done, total: None)
    assert told == [16, 32, 40]
    np.testing.assert_allclose(again, unsure, atol=1e-3)
    np.testing.assert_allclose(parts.scored.probabilities, whole.scored.probabilities, atol=1e-4)
    np.testing.assert_allclose(parts.scored.counts, whole.scored.counts, atol=20)
    assert truth is not None
    assert same is not None
    assert len(truth) == len(same) == 40
    assert parts.masks is not None
    assert whole.masks is not None
    for row, image in enumerate(fresh.rows):
        assert parts.masks[row].shape == (image.outcome.height, image.outcome.width)
        assert (parts.masks[row] != whole.masks[row]).mean() < 1e-3


def test_what_the_model_learnt_from_is_left_out_and_listed(multi: Path, phantom: Path, tmp_path: Path) -> None:
    """A brighter copy, a crop, a copy of the bytes; a patient's other image; what is new stays."""
    first, second, third, *others = images_of(phantom, "benign")
    brighter, crop = tmp_path / "data" / "brighter.png", tmp_path / "data" / "crop.png"
    copy(first, brighter)
    Image.fromarray(np.clip(read_image(first).astype(int) + 4, 0, 255).astype(np.uint8)).save(brighter)
    copy(second, crop)
    height, width = read_image(second).shape
    for file, source in ((crop, second), (mask_of(crop), mask_of(second))):
        Image.fromarray(read_image(source)[height // 50 :, : width - width // 50]).save(file)
    copy(third, tmp_path / "data" / "same.png")
    names = ["brighter", "crop", "same", "mate", *(f"new{i}" for i in range(4))]
    for name, source in zip(names[3:], others, strict=False):
        copy(source, tmp_path / "data" / f"{name}.png")
    patients = {"brighter": "7", "mate": "7", "new0": "8", "new1": "8"}
    lines = [f"{name}.png,{name}_mask.png,benign,{patients.get(name, '')}" for name in names]
    (tmp_path / "data" / "all.csv").write_text("\n".join(["image,mask,label,patient", *lines]))
    model = knowing(multi, tmp_path / "model", first, second, files=(third,))
    found = evaluate(model, tmp_path / "data" / "all.csv", tmp_path / "out.html")
    reasons = {one["file"]: one["problem"] for one in found["left_out"]}
    assert set(reasons) == {"brighter.png", "crop.png", "same.png", "mate.png"}
    assert reasons["brighter.png"] == reasons["crop.png"] == "near-duplicate of an image that the model learnt from"
    assert reasons["same.png"] == "the very file is among the model's training images"
    assert reasons["mate.png"].endswith("(brighter.png)")
    assert (found["images"], found["groups"]) == (4, 3)
    shown = page_of(tmp_path / "out.html").rows("Known to the model: 4 rows")
    assert {name: row[0] for name, row in shown.items()} == reasons


def test_nothing_new_is_one_line(multi: Path, phantom: Path, tmp_path: Path, capsys) -> None:
    files = [file for name in ("normal", "benign", "malignant") for file in images_of(phantom, name)]
    model = knowing(multi, tmp_path / "model", files[0], files=tuple(files))
    assert main(["--model", str(model), "--data", str(phantom)]) == 2
    error = capsys.readouterr().err
    assert "no image is left to score: 40 of 40 were learnt from" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("evaluation.*"))


def test_five_images_of_one_class(multi: Path, phantom: Path, tmp_path: Path, capsys) -> None:
    for image in images_of(phantom, "malignant")[:5]:
        copy(image, tmp_path / "data" / "malignant" / image.name)
    found = evaluate(multi, tmp_path / "data", tmp_path / "out.html")
    said = " ".join(found["told"])
    assert "5 groups of images, fewer than 10: no interval over groups is given; Wilson intervals are" in said
    assert "All images of known class are malignant: AUROC" in said
    assert "No image is known to be without a lesion" in said
    assert "The score, the mean of Dice and AUROC, cannot be computed" in said
    figures = found["external"]
    assert not {"score", "auroc", "fpr_normal", "specificity"} & set(figures["scores"])
    assert {score["interval"] for score in figures["scores"].values()} == {None}
    assert figures["value"] is None
    assert figures["operating_points"][0]["specificity"] is None
    assert "no interval over groups is given" in capsys.readouterr().out
    for line in found["told"][1:]:  # that they are synthetic stands with the verdict
        assert line in page_of(tmp_path / "out.html").sections["result"]


@pytest.mark.slow
def test_class_folders_without_masks(multi: Path, phantom: Path, tmp_path: Path, capsys) -> None:
    for name in ("normal", "benign", "malignant"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for image in images_of(phantom, name)[:5]:
            shutil.copy(image, tmp_path / "data" / name)
    found = evaluate(multi, tmp_path / "data", tmp_path / "out.html")
    assert "The mask of no lesion is known: figures of masks are of 5 normals alone." in found["told"]
    assert not {"dice", "score", "hd95", "dice_all", "miou"} & set(found["external"]["scores"])
    assert 0 <= found["external"]["scores"]["fpr_normal"]["value"] <= 1
    assert found["external"]["scores"]["auroc"]["value"] is not None
    page = page_of(tmp_path / "out.html")
    assert "SYNTHETIC" not in page.text
    seg = small_product(tmp_path, "seg", networks=1)
    alarms = evaluate(seg, tmp_path / "data", tmp_path / "alarms.html")
    assert (alarms["images"], alarms["passed_over"]) == (5, {"the mask is not known": 10})
    shutil.rmtree(tmp_path / "data" / "normal")
    capsys.readouterr()
    assert main(["--model", str(seg), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "x.html")]) == 2
    assert "10 of 10: the mask is not known" in capsys.readouterr().err


def test_no_file_of_the_user_is_replaced(multi: Path, phantom: Path, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "notes.json"
    mine.write_text('{"mine": 1}')
    for out in (multi / "predictor.html", tmp_path / "notes.html", tmp_path / "table.csv"):
        before = {file: file.read_bytes() for folder in (multi, tmp_path) for file in folder.glob("*.*")}
        assert main(["--model", str(multi), "--data", str(phantom), "--out", str(out)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
        assert {file: file.read_bytes() for folder in (multi, tmp_path) for file in folder.glob("*.*")} == before


def test_hostile_names_and_faulty_files_are_listed(multi: Path, phantom: Path, tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        for image in images_of(phantom, name)[:6]:
            copy(image, tmp_path / "it's <i>odd" / name / image.name)
    root = tmp_path / "it's <i>odd"
    copy(images_of(phantom, "benign")[6], root / "benign" / HOSTILE)
    copy(images_of(phantom, "benign")[7], root / "benign" / "n\udcff.png")
    (root / "benign" / "empty.png").touch()
    shutil.copy(mask_of(images_of(phantom, "benign")[7]), root / "benign" / "empty_mask.png")
    # A near-duplicate of another class: both are left out.
    twin = copy(images_of(phantom, "benign")[0], root / "malignant" / "twin.png")
    Image.fromarray(np.clip(read_image(twin).astype(int) + 3, 0, 255).astype(np.uint8)).save(twin)
    found = evaluate(multi, root, tmp_path / "out.html")
    assert found["images"] == 13
    faults = {one["file"]: one["problem"] for one in found["faults"]}
    assert faults["benign/empty.png"] == "0 bytes"
    assert faults["malignant/twin.png"].startswith("near-duplicate of another class")
    assert faults["benign/n\udcff.png"] == "its name is not UTF-8"
    assert len(faults) == 5
    page = page_of(tmp_path / "out.html")
    assert set(page.rows("Faulty files")) == {name.replace("\udcff", r"\udcff") for name in faults}
    assert str(root) in page.text
    assert "benign/" + HOSTILE.replace("\u202e", "\ufffd") in page.sections["cases"], "it turns no text about"


@pytest.mark.slow
def test_sub_groups_of_a_table_and_markdown(multi: Path, phantom: Path, tmp_path: Path) -> None:
    lines = ["image,mask,label,patient,machine"]
    for name in ("normal", "benign", "malignant"):
        for number, image in enumerate(images_of(phantom, name)):
            lines.append(f"{image},{mask_of(image)},{name},{name}{number // 2},{'<b>new</b>' if number % 2 else 'old'}")
    (tmp_path / "all.csv").write_text("\n".join(lines))
    found = evaluate(multi, tmp_path / "all.csv", tmp_path / "out.html")
    assert found["groups"] <= 21 < found["images"]
    page = page_of(tmp_path / "out.html")
    assert {"<b>new</b>", "old"} <= set(page.rows("By machine"))
    again = evaluate(multi, tmp_path / "all.csv", tmp_path / "out.md", "--format", "md")
    assert again["external"] == found["external"]
    dice = page.rows("Scores at original size")["Dice of lesions"][0]
    assert f"| Dice of lesions | {dice} |" in (tmp_path / "out.md").read_text()


@pytest.mark.slow
def test_a_model_of_two_classes_passes_normals_over(phantom: Path, tmp_path: Path) -> None:
    combination = Combination("best", classes=head(1.0))
    member = MemberCheckpoints(0, "a", [checkpoint(tmp_path / "one", "cls", 0, classes=2)])
    write(tmp_path / "two", Sources(combination, [member], 64), keep_aspect=False, synthetic=True)
    found = evaluate(tmp_path / "two", phantom, tmp_path / "out.html")
    normals = len(images_of(phantom, "normal"))
    assert found["passed_over"] == {"normal, which the model does not know": normals}
    assert found["class_counts"] == {name: len(images_of(phantom, name)) for name in ("benign", "malignant")}
    assert set(found["classes"]) == {"benign", "malignant"}
    said = " ".join(found["told"])
    assert f"{normals} images passed over: normal" in said
    assert "without hashes of its training images" in said
    assert "without its own results" in said
    assert found["internal"] is None


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data", "PHANTOM"], "--model: name one"),
        (["--model", "MULTI"], "--data: name a folder"),
        (["--model", "absent", "--data", "PHANTOM"], "absent: no exported model there"),
        (["--model", "models:/x@champion", "--data", "PHANTOM"], "no tracking store at"),
        (["--model", "MULTI", "--data", "empty"], "no usable image found"),
        (["--model", "MULTI", "--data", "nowhere"], "no such folder"),
        (["--model", "MULTI", "--data", "PHANTOM", "--out", "empty"], "a folder; name the page"),
        (["--model", "MULTI", "--data", "PHANTOM", "--out", "x.json"], "name it x.html"),
        (["--model", "MULTI", "--data", "PHANTOM", "--out", "x.md"], "give --format md"),
        (
            ["--model", "MULTI", "--data", "PHANTOM", "--layout", "dicom"],
            "--layout: 'dicom' is not known; choose from auto",
        ),
        (["--model", "MULTI", "--data", "PHANTOM", "--format", "pdf"], "--format: input should be 'html' or 'md'"),
    ],
)
def test_bad_input_is_one_line(multi: Path, phantom: Path, tmp_path: Path, capsys, flags: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    given = [{"PHANTOM": str(phantom), "MULTI": str(multi)}.get(flag, flag) for flag in flags]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["empty"]


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 420])
def test_nothing_overflows_and_the_console_is_silent(multi: Path, phantom: Path, tmp_path: Path, width: int) -> None:
    model = knowing(multi, tmp_path / "model", *images_of(phantom, "benign")[:3])
    evaluate(model, phantom, tmp_path / "out.html")
    found = looked_at(tmp_path / "out.html", tmp_path, width)
    assert found["title"] == "External validation"
    assert found["scroll"] <= width
    if width > 1000:  # on a narrower one tables scroll within their own frame
        assert found["wide"] == []
    assert found["broken"] == 0
    assert found["console"] == []
