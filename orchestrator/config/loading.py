"""From settings to prepared data, telling the user what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from orchestrator.common.console import progress_bar, say
from orchestrator.common.errors import UserError
from orchestrator.common.harmless import harmless
from orchestrator.config.data import SplitSettings
from orchestrator.config.search import SearchSettings
from trainables.data import CLASSES, DataError, Fault, Manifest, Prepared, prepare, write_phantom
from trainables.data.sources import read_sources

#: Faults shown in the terminal; all of them are in the run's folder.
SHOWN = 20
#: Said wherever data are phantom images.
SYNTHETIC = "SYNTHETIC data: phantom images made by this program; their figures say nothing about patients"
#: Size of the synthetic dataset of the embedded default.
PHANTOM_IMAGES = 160


def load(settings: SearchSettings) -> Prepared:
    """Prepared data, telling what was found.

    Raises:
        UserError: the data cannot be used, or `--strict` and a file is faulty.
    """
    data, manifest = read(settings)
    _tell(data, manifest)
    if settings.strict and data.faults:
        raise UserError(f"--strict: {len(data.faults)} faults in {settings.source}, listed above")
    return data


def read(settings: SplitSettings, *, quiet: bool = False) -> tuple[Prepared, Manifest]:
    """Prepared data and the manifest that they come from; shows progress unless `quiet`, and nothing that lasts.

    Raises:
        UserError: the data cannot be used.
    """
    roots = settings.data
    try:
        if not roots:
            roots = (write_phantom(folder_of_images(settings), images=PHANTOM_IMAGES),)
        manifest = read_sources(roots, settings.layout, settings.patient, resize_masks=settings.resize_masks)
        with progress_bar() as bar:
            job = bar.add_task("decoding images", visible=not quiet)
            data = prepare(
                manifest,
                settings.cache,
                size=settings.image_size,
                keep_aspect=settings.keep_aspect,
                masks=settings.masks,
                folds=settings.folds,
                split_seed=settings.split_seed,
                duplicate_distance=settings.duplicate_distance,
                test_source=settings.test_source,
                progress=lambda done, total: bar.update(job, completed=done, total=total),
            )
    except DataError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{error.filename or settings.source}: {error.strerror}") from None
    return data, manifest


def folder_of_images(settings: SplitSettings) -> Path:
    """A folder with images of these data: the first that was given, that of a table, or the phantom's."""
    if not settings.data:
        return settings.cache / f"phantom-{PHANTOM_IMAGES}"
    first = settings.data[0]
    return first if first.is_dir() else first.parent


def write_faults(file: Path, faults: Sequence[Fault]) -> None:
    """All faults, a line each, whatever the names of their files hold."""
    file.write_text("".join(f"{harmless(str(fault))}\n" for fault in faults), encoding="utf-8")


def split_sizes(data: Prepared) -> dict[str, int]:
    """Images to train on, to validate on (fold 0) and to test on."""
    learnt, held_out = data.fold_rows(0)
    return {"train": len(learnt), "validation": len(held_out), "test": len(data.test_rows())}


def _tell(data: Prepared, manifest: Manifest) -> None:
    if data.synthetic:
        say(SYNTHETIC)
    for one in manifest.datasets:
        say(f"data    {one.root} ({one.layout} layout)")
    for fault in data.faults[:SHOWN]:
        say(f"  ! {manifest.shown(fault.file)}: {fault.problem}; {fault.action}")
    if len(data.faults) > SHOWN:
        say(f"  ! ... and {len(data.faults) - SHOWN} more; all are in faults.txt of the run's folder")
    counts = Counter(data.labels.tolist())
    classes = [f"{counts[i]} {name}" for i, name in enumerate(CLASSES)] + (
        [f"{counts[-1]} unlabelled"] if counts[-1] else []
    )
    say(f"        {len(data.images)} images used ({', '.join(classes)}), {data.left_out} left out")
    for note in data.notes:
        say(f"        {note}")
    sizes = ", ".join(f"{count} {name}" for name, count in split_sizes(data).items())
    say(f"split   {sizes}; data fingerprint {data.data_fingerprint[:12]}")
