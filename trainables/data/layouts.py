"""How data sets lie on disk, an entry each: patterns of paths (see `paths`), and what tables and masks mean."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.data.words import IMAGE_COLUMNS, LABEL_COLUMNS, PATIENT_COLUMNS, SPACING_COLUMNS

#: What a file may say of one: nothing but its fields.
_STRICT = {"extra": "forbid"}


@dataclass(frozen=True)
class Table:
    """A table of the images; column names in lower case, and of several the first that is there.

    Attributes:
        file: pattern of its path, without folders.
        key: columns that name the image, with or without its suffix. label, patient: columns; a patient of DICOM files
            may name all of its images.
        subgroups: columns for the report.
        spacing: columns of the size of a pixel, and their unit in mm.
    """

    __pydantic_config__ = _STRICT

    file: str
    key: tuple[str, ...] = IMAGE_COLUMNS
    label: tuple[str, ...] = LABEL_COLUMNS
    patient: tuple[str, ...] = PATIENT_COLUMNS
    subgroups: tuple[str, ...] = ()
    spacing: tuple[str, ...] = SPACING_COLUMNS
    spacing_unit_mm: float = 1.0


@dataclass(frozen=True)
class Layout:
    """How a data set may lie on disk.

    Attributes:
        words: for a person.
        images: patterns of images; they match no path that a mask's or an ignored one's pattern does.
        masks: patterns of masks, in the order of preference; their fields but {number} are those of their image.
        ignored: patterns of what is known not to belong.
        unmarked: whether it may be without masks.
        resized_masks: whether masks are the image's picture at another size, of the same aspect.
        annotations: pattern of the files that polygons come from: `data.yaml` of YOLO, or JSON of COCO; "" for none.
        classes: words that mean a class here beside those of `words`, and which: ("1", "malignant").
        values: the JSON file whose `labels` say what the values of masks mean; "" for none.
        means: classes of what masks hold, (class, (grey value,)) or (class, (red, green, blue)). 0 and black are no
            lesion, and what nobody names is lesion of no known class.
        table: of the images, which may be there; `needs_table` where it must, by which the layout is known.
        of: the data set that is distributed so, for a person; "" for a form that many have.
    """

    __pydantic_config__ = _STRICT

    words: str
    images: tuple[str, ...]
    masks: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    unmarked: bool = False
    resized_masks: bool = False
    annotations: str = ""
    values: str = ""
    classes: tuple[tuple[str, str], ...] = ()
    means: tuple[tuple[str, tuple[int, ...]], ...] = ()
    table: Table | None = None
    needs_table: bool = False


def _masks(folder: str, *more: str) -> tuple[str, ...]:
    return tuple(f"{folder}{name}" for name in (*more, "{name}_mask", "{name}_mask_{number}"))


#: By name, the more special first. The one that leaves least over is read; of equals, the first.
LAYOUTS: dict[str, Layout] = {
    "bus-uclm": Layout(
        "BUS-UCLM: folders images and masks (in colours), INFO.csv",
        images=("images/{patient}_{name}",),
        masks=("masks/{patient}_{name}",),
        table=Table("INFO.csv", key=("image",), label=("label",), patient=()),
        needs_table=True,
        means=(("normal", (0,)), ("benign", (0, 255, 0)), ("malignant", (255, 0, 0))),
    ),
    "bus-bra": Layout(
        "BUS-BRA: folders Images (bus_NAME) and Masks (mask_NAME), bus_data.csv",
        images=("images/bus_{name}",),
        masks=("masks/mask_{name}",),
        table=Table(
            "bus_data.csv", key=("id",), label=("pathology",), patient=("case",), subgroups=("birads", "device")
        ),
        needs_table=True,
    ),
    "breast": Layout(
        "BrEaST: caseNAME.png with caseNAME_tumor.png, a workbook",
        images=("{**}case{name}",),
        masks=("{**}case{name}_tumor",),
        ignored=("{**}case{name}_other{number}",),  # of what is no lesion
        table=Table(
            "{any}.xlsx",
            key=("image_filename",),
            label=("classification",),
            patient=("caseid",),
            subgroups=("birads",),
            spacing=("pixel_size",),
            spacing_unit_mm=10,  # 0.007 of 500 rows are 3.5 cm
        ),
        needs_table=True,
    ),
    "udiat": Layout(
        "UDIAT, Dataset B: folders original and GT, a workbook of types",
        images=("original/{name}",),
        masks=("gt/{name}",),
        table=Table("{any}.xlsx", key=("image",), label=("type",)),
    ),
    "stu": Layout(
        "STU: Test_Image_N and mask_N, masks of another size",
        images=("{**}test_image_{name}",),
        masks=("{**}mask_{name}",),
        resized_masks=True,
    ),
    "buid": Layout(
        "BUID, QAMEBI: class folders with 'N Class Image', 'N Class Mask', 'N Class Lesion'",
        images=("{class}/{name} Image",),
        masks=("{class}/{name} Mask",),
        ignored=("{class}/{name} Lesion",),
    ),
    "busi": Layout(
        "folders benign, malignant, normal with NAME.png, NAME_mask.png, NAME_mask_1.png ...",
        images=("{class}/{name}",),
        masks=_masks("{class}/"),
    ),
    "class-folders": Layout(
        "class folders, each with folders images and masks",
        images=("{class}/{images}/{name}",),
        masks=_masks("{class}/{masks}/", "{name}"),
        ignored=("all/{**}{name}",),  # BUS_UC: each image once more
    ),
    "split-classes": Layout(
        "folders train, val, test with class folders in them",
        images=("{split}/{class}/{name}", "{split}/{class}/{images}/{name}"),
        masks=(*_masks("{split}/{class}/"), *_masks("{split}/{class}/{masks}/", "{name}")),
    ),
    "coco": Layout(
        "COCO: folders, as train, valid and test, with images and _annotations.coco.json",
        images=("{split}/{name}", "{split}/{images}/{name}", "{images}/{name}", "{name}"),
        annotations="{**}{name}.json",
    ),
    "yolo": Layout(
        "YOLO: folders train, valid, test with images and labels (polygons), data.yaml",
        images=("{split}/{images}/{name}", "{images}/{split}/{name}", "{images}/{name}"),
        annotations="data.yaml",
    ),
    "nnunet": Layout(
        "nnU-Net: folders imagesTr (NAME_0000) and labelsTr (NAME), dataset.json",
        images=("imagesTr/{name}_0000",),
        masks=("labelsTr/{name}",),
        ignored=("imagesTs/{**}{name}",),
        values="dataset.json",
    ),
    "split-folders": Layout(
        "folders train, val, test with folders images and masks in them",
        images=("{split}/{images}/{name}",),
        masks=_masks("{split}/{masks}/", "{name}"),
        table=Table("labels.csv"),
    ),
    "folders": Layout(
        "folders images and masks, optional labels.csv",
        images=("{images}/{name}",),
        masks=_masks("{masks}/", "{name}"),
        table=Table("labels.csv"),
    ),
    "classes": Layout(
        "folders benign, malignant, normal with images only",
        images=("{class}/{name}",),
        unmarked=True,
    ),
    "dicom-study": Layout(
        "DICOM files in any folders, as patient/study/series; classes from a table FILE.csv by patient or file",
        images=("{split}/{**}{name}.dcm", "{**}{name}.dcm"),
        unmarked=True,
        table=Table("{any}.csv"),
    ),
}

#: The layout of a table of images, which is no folder's.
TABLE = "csv"


def names() -> tuple[str, ...]:
    """What `--layout` takes, beside a file."""
    return (*LAYOUTS, TABLE)


def is_layout_file(layout: str) -> bool:
    """Whether what `--layout` was given is a file, and not a name."""
    return layout.lower().endswith(".toml")
