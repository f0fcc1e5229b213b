"""The page that looks at a dataset: its figures against the files, hostile names, faults, data without masks."""

from __future__ import annotations

import errno
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.eda.__main__ import main
from tests.support.webpages import Page, assert_self_contained, looked_at, seen
from trainables.data import CLASSES, write_phantom

HOSTILE = "a \"b\" 'c' <script>alert(1)<b> & ünï 乳腺 \u202e(x).png"


def twin(source: Path, target: Path) -> None:
    """A copy of an image and its mask, a little brighter, so that it is no copy of bytes."""
    image = np.asarray(Image.open(source)).astype(int)
    Image.fromarray(np.clip(image + 3, 0, 255).astype(np.uint8)).save(target)
    shutil.copy(source.with_stem(source.stem + "_mask"), target.with_stem(target.stem + "_mask"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """66 phantom images; a near-duplicate with a hostile name, one of another class, and a file of 0 bytes."""
    folder = write_phantom(tmp_path_factory.mktemp("eda data") / "it's <i>odd<i>", images=66, seed=5)
    twin(folder / "benign" / "benign (2).png", folder / "benign" / HOSTILE)
    twin(folder / "benign" / "benign (1).png", folder / "malignant" / "malignant (99).png")
    (folder / "normal" / "broken.png").touch()
    return folder


@pytest.fixture(scope="module")
def file(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pages") / "eda.html"
    assert main(["--data", str(folder), "--out", str(out), "--storage", str(out.parent), "--folds", "3"]) == 0
    return out


@pytest.fixture(scope="module")
def page(file: Path) -> Page:
    return Page(file.read_text())


def used(folder: Path, name: str) -> list[Path]:
    """The images of a class that are used: neither the broken one nor the two that disagree on their class."""
    out = ("broken", "benign (1)", "malignant (99)")
    return [one for one in (folder / name).glob("*.png") if not one.stem.endswith("_mask") and one.stem not in out]


def test_counts_of_classes_and_parts_equal_the_files(page: Page, folder: Path) -> None:
    rows = page.rows("Images of each class by part")
    for name in CLASSES:
        *parts, everything = map(int, rows[name])
        assert everything == sum(parts) == len(used(folder, name))
    assert [int(cell) for cell in rows["all"]] == np.sum([list(map(int, rows[name])) for name in CLASSES], 0).tolist()
    shown = page.rows("Images, groups and classes of each part")
    assert int(shown["train"][0]) == int(shown["fold 1"][0]) + int(shown["fold 2"][0])
    assert shown["validation"] == shown["fold 0 (validation)"]


def test_pixels_equal_the_masks(page: Page, folder: Path) -> None:
    rows = page.rows("Pixels at original size")
    totals = np.zeros(2, int)
    for name in CLASSES:
        masks = [np.asarray(Image.open(one.with_stem(one.stem + "_mask"))) > 0 for one in used(folder, name)]
        tumour, pixels = sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
        totals += tumour, pixels
        assert rows[name][2:] == [f"{tumour:,}", f"{pixels - tumour:,}", f"{100 * tumour / pixels:.2f} %"]
    share = f"{100 * (totals[1] - totals[0]) / totals[1]:.1f} %"
    assert f"Background is {share} of all pixels (95 %" in page.text


def test_a_stated_difference_has_its_medians_in_the_table_and_an_interval_without_zero(page: Page) -> None:
    claims = re.findall(
        r"lesions are taller for their width than benign ones\.Lesion aspect.*?median ([\d.]+) against ([\d.]+), "
        r"difference (\+[\d.]+) \(95 % (\+[\d.]+) to (\+[\d.]+)\); n = (\d+) malignant and (\d+) benign",
        page.text,
    )
    (malignant, benign, difference, low, high, n_malignant, n_benign), *more = claims
    assert not more
    assert 0 < float(low) <= float(difference) <= float(high)
    table = page.table("Medians by class")
    first = next(i for i, row in enumerate(table) if row[0].startswith("lesion aspect"))
    assert table[first][1:4] == ["benign", n_benign, benign]
    assert table[first + 1][1:4] == ["malignant", n_malignant, malignant]
    counts = page.rows("Images of each class by part")
    assert int(n_benign) == int(counts["benign"][0]) + int(counts["benign"][1])  # train and validation


def test_every_claim_that_classes_differ_stands_in_the_table_and_no_other(page: Page) -> None:
    verdicts = [row[2] for row in page.table("Differences of class medians")[1:]]
    told = re.findall(r"(?:lesions|images) are [\w ]+ than (?:normal|benign) ones\.", page.sections["observations"])
    assert len(told) == verdicts.count("differs") > 0


def test_hostile_names_are_shown_and_not_run(page: Page, folder: Path) -> None:
    assert_self_contained(page)
    assert f"benign/{seen(HOSTILE)}" in page.sections["duplicates"]
    assert f"benign: benign/{seen(HOSTILE)}" in [given.get("alt") for _, given in page.tags]
    assert str(folder) in page.text


def test_clusters_are_shown_side_by_side_and_disagreeing_ones_apart(page: Page) -> None:
    disagreeing = page.sections["disagreeing"]
    assert "1 clusters" not in disagreeing
    for name in ("benign/benign (1).png", "malignant/malignant (99).png"):
        assert name in disagreeing
        assert name not in page.sections["duplicates"]
    assert "benign/benign (2).png" in page.sections["duplicates"]
    assert "left out" in disagreeing


def test_every_fault_is_listed(page: Page) -> None:
    rows = page.rows("3 faults")
    assert rows["normal/broken.png"] == ["0 bytes", "left out"]
    assert set(rows) == {"normal/broken.png", "benign/benign (1).png", "malignant/malignant (99).png"}


def test_synthetic_data_are_marked_at_the_top(page: Page) -> None:
    assert page.text.index("SYNTHETIC DATA") < page.text.rindex("Exploratory data analysis")


def test_class_folders_without_masks(folder: Path, tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / "data" / name).mkdir(parents=True)
        for one in used(folder, name):
            shutil.copy(one, tmp_path / "data" / name)
    out = tmp_path / "eda.html"
    assert main(["--data", str(tmp_path / "data"), "--out", str(out), "--storage", str(tmp_path), "--folds", "2"]) == 0
    page = Page(out.read_text())
    assert "No masks are known" in page.sections["pixels"]
    assert "No masks are known" in page.sections["lesions"]
    assert "SYNTHETIC" not in page.text
    assert "lesion" not in page.sections["observations"].lower()
    assert [row[1] for row in page.table("Medians by class")[1:4]] == list(CLASSES)


def test_images_without_a_class_and_a_name_that_is_no_text(folder: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for one in used(folder, "benign"):
        shutil.copy(one, tmp_path / "data" / "images" / one.name)
        shutil.copy(one.with_stem(one.stem + "_mask"), tmp_path / "data" / "masks" / one.name)
    for kind in ("images", "masks"):
        shutil.copy(next((tmp_path / "data" / kind).glob("benign (3).png")), tmp_path / "data" / kind / "n\udcff.png")
    out = tmp_path / "eda.html"
    assert main(["--data", str(tmp_path / "data"), "--out", str(out), "--storage", str(tmp_path), "--folds", "2"]) == 0
    page = Page(out.read_text())
    assert list(page.rows("Images of each class by part")) == ["no class given", "all"]
    assert "No class is given" in page.sections["comparisons"]
    assert "n\\udcff.png" in page.sections["duplicates"]


def test_sources_and_sub_groups_of_a_table_are_counted(folder: Path, tmp_path: Path) -> None:
    images = [one for name in CLASSES for one in sorted(used(folder, name)) if one.name != HOSTILE]
    lines = ["image,mask,label,source,machine"]
    for number, one in enumerate(images):
        mask, source = one.with_stem(one.stem + "_mask"), "A" if number % 3 else "B"
        lines.append(f"{one},{mask},{one.parent.name},{source},<b>new</b>")
    (tmp_path / "all.csv").write_text("\n".join(lines))
    out = tmp_path / "eda.html"
    flags = ["--data", str(tmp_path / "all.csv"), "--out", str(out), "--storage", str(tmp_path), "--test-source", "B"]
    assert main(flags) == 0
    page = Page(out.read_text())
    rows = {row[1]: row for row in page.table("Sources and sub-groups")[1:]}
    counts = [sum(one.parent.name == name for one in images) for name in CLASSES]
    assert rows["<b>new</b>"] == ["machine", "<b>new</b>", *map(str, counts), str(len(images))]
    held_out = len(images[::3])
    assert rows["B"][-1] == str(held_out)
    assert page.rows("Images of each class by part")["all"][2] == str(held_out)
    assert_self_contained(page)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data", "nowhere"], "no such folder"),
        (["--out", "."], "a folder; name the page"),
        (["--folds", "1"], "--folds: "),
        (["--layout", "dicom"], "--layout: 'dicom' is not known"),
    ],
)
def test_bad_input_is_one_line(flags: list[str], said: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("*.html"))


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 1024])
def test_nothing_overflows_and_the_console_is_silent(file: Path, tmp_path: Path, width: int) -> None:
    found = looked_at(file, tmp_path, width)
    assert found["title"] == "Exploratory data analysis"
    assert found["scroll"] <= width
    assert found["wide"] == []
    assert found["broken"] == 0
    assert found["console"] == []


def in_mm(folder: Path, root: Path, sizes: dict[str, str]) -> Page:
    """The page of a table that gives sizes of pixels by source."""
    images = [one for name in CLASSES for one in sorted(used(folder, name)) if one.name != HOSTILE]
    lines = ["image,mask,label,source,pixel_mm"]
    for number, one in enumerate(images):
        source = sorted(sizes)[number % len(sizes)]
        lines.append(f"{one},{one.with_stem(one.stem + '_mask')},{one.parent.name},{source},{sizes[source]}")
    (root / "all.csv").write_text("\n".join(lines))
    out = root / "eda.html"
    assert main(["--data", str(root / "all.csv"), "--out", str(out), "--storage", str(root), "--folds", "3"]) == 0
    return Page(out.read_text())


def test_lesions_in_mm_where_the_size_of_a_pixel_is_known(folder: Path, tmp_path: Path) -> None:
    page = in_mm(folder, tmp_path, {"A": "0.1", "B": ""})
    rows = page.rows("Lesions in mm")
    assert set(rows) == {"benign", "malignant"}
    for cells in rows.values():
        count, least, median, most = map(float, cells)
        assert count > 0
        assert 0 < least <= median <= most < 96 * 2**0.5 * 0.1
    assert "The size of a pixel is known of some images only." in page.text
    assert "pixel_mm" not in page.text, "no sub-group"


def test_pixels_of_sources_that_differ_are_said(folder: Path, tmp_path: Path) -> None:
    said = "Pixels are of other sizes in one source than in another"
    for name, sizes in (("far", {"A": "0.05", "B": "0.1"}), ("near", {"A": "0.08", "B": "0.1"})):
        (tmp_path / name).mkdir()
        page = in_mm(folder, tmp_path / name, sizes)
        assert (said in page.text) == (name == "far")
        assert "known of some images only" not in page.text


def test_without_sizes_nothing_is_in_mm(page: Page) -> None:
    assert "Lesions in mm" not in page.text


def test_a_file_that_cannot_be_read_now_is_a_line_of_the_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainables.data.patience.PAUSES", (0.0,))
    honest = Path.open

    def away(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "normal (3).png":
            raise OSError(errno.EIO, "Input/output error", str(path))
        return honest(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", away)
    out = tmp_path / "eda.html"
    assert main(["--data", str(folder), "--out", str(out), "--storage", str(tmp_path), "--folds", "3"]) == 0
    rows = Page(out.read_text()).rows("4 faults")
    assert rows["normal/normal (3).png"] == ["could not be read just now (Input/output error)", "left out"]
