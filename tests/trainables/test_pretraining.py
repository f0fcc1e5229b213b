"""Which weights and which data the register of pretraining knows, and what is said where they meet."""

from __future__ import annotations

import pytest

from trainables import pretraining

FILES = {
    "BUSI": "data/Dataset_BUSI_with_GT/benign/benign (12).png",
    "BUS-BRA": "d/BUSBRA/Images/bus_0001-l.png",
    "BrEaST": "d/BrEaST-Lesions_USG-images_and_masks/case001.png",
    "UDIAT": "d/Dataset B/original/000001.png",
    "STU": "d/STU-Hospital/Hospital/Test_Image_1.png",
    "BUID": "d/BUID/Benign/1 Benign Image.bmp",
    "BUS_UC": "d/BUS_UC/Benign/images/000001.png",
    "BUS-UCLM": "d/BUS-UCLM/images/ALWI_000.png",
}


@pytest.mark.parametrize(("name", "file"), FILES.items())
def test_a_data_set_is_known_by_the_paths_of_its_images(name: str, file: str) -> None:
    assert pretraining.data_sets([file]) == (name,)


@pytest.mark.parametrize(
    "file", ["busi/a/b/c/d/1.png", "business/benign/7.png", "breast/malignant/1.png", "BUSIS/1.png"]
)
def test_other_images_are_of_none(file: str) -> None:
    assert pretraining.data_sets([file]) == ()


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("UltraSam.pth", "UltraSam"),
        ("folder, UltraSam", "UltraSam"),
        ("TinyUSFM_v2.pth", "USFM"),
        ("USF_MAE.pth", "USF-MAE"),
        ("augreg_in21k_ft_in1k", "ImageNet"),
        ("package", ""),
        ("my_weights.pth", ""),
    ],
)
def test_weights_are_known_by_where_they_come_from(place: str, name: str) -> None:
    assert pretraining.recognised(place) == name


def test_a_warning_names_weights_data_and_who_says_so() -> None:
    files = [FILES["BUSI"], FILES["BUS-BRA"], "clinic/1.png"]
    (line,) = pretraining.overlaps(["package", "folder, UltraSam", "random"], files)
    assert line.startswith("warning: the authors of UltraSam list BUSI, BUS-BRA among its data")
    assert "arXiv 2411.16222" in line
    (line,) = pretraining.overlaps(["folder, USFM"], files[:1])
    assert "do not say whether BUSI was among its data" in line
    assert pretraining.overlaps(["folder, SAMUS"], files[1:]) == []
    assert pretraining.overlaps(["package", "folder, ImageNet", "folder, RadImageNet"], files) == []
    assert pretraining.overlaps(["folder, UltraSam"], ["clinic/1.png"]) == []


def test_every_entry_names_known_data_and_its_source() -> None:
    known = pretraining.register()
    for name, one in known.weights.items():
        assert set(one.data) <= set(known.data)
        assert one.source
        assert pretraining.recognised(f"folder, {name}") == name, "products keep the name, which must be found again"
