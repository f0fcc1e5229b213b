"""What the page of a dataset shows, section by section."""

from __future__ import annotations

from typing import Any

from orchestrator.config.data import SplitSettings
from orchestrator.eda import figures, observations, pictures, statistics, tables
from orchestrator.eda.survey import Survey, disagrees

SECTIONS = {
    "observations": "Key observations",
    "samples": "Sample images",
    "classes": "Class distribution",
    "splits": "Splits",
    "pixels": "Pixels",
    "lesions": "Lesions",
    "sizes": "Image sizes",
    "grey": "Brightness and contrast",
    "comparisons": "Classes compared",
    "duplicates": "Near-duplicates",
    "disagreeing": "Disagreeing clusters",
    "faults": "Faulty files",
}


def contents(found: Survey, settings: SplitSettings) -> dict[str, Any]:
    """What the template `eda.html` shows."""
    data = found.data
    medians, comparisons = statistics.compare(found)
    lesions = found.seen & (found.measured["lesion_pixels"] > 0)
    clusters = {}
    for name, which in (("agreeing", False), ("disagreeing", True)):
        shown, rest = pictures.clusters(found, which)
        clusters[name] = {"shown": shown, "rest": rest, "found": len(shown) + len(rest)}
    return {
        "title": "Exploratory data analysis",
        "synthetic": data.synthetic,
        "source": found.manifest.places,
        "layout": found.manifest.layout,
        "fingerprint": data.data_fingerprint,
        "sections": SECTIONS.items(),
        "facts": facts(found),
        "observations": observations.observations(found, comparisons),
        "method": observations.METHOD,
        "samples": pictures.samples(found),
        "has_masks": data.has_masks,
        "split_seed": settings.split_seed,
        "distance": settings.duplicate_distance,
        "notes": data.notes,
        "charts": {
            "classes": figures.class_distribution(found),
            "parts": figures.part_balance(found),
            "sizes": figures.lesion_sizes(found) if lesions.any() else None,
            "positions": figures.lesion_positions(found),
            "dimensions": figures.image_sizes(found),
            "grey": figures.grey_levels(found),
        },
        "tables": {
            "classes": tables.class_counts(found),
            "origins": tables.origins(found),
            "parts": tables.split_balance(found),
            "pixels": tables.pixel_counts(found),
            "sizes": tables.size_ranges(found),
            "diameters": tables.lesion_diameters(found),
            "medians": tables.class_medians(medians),
            "differences": tables.class_differences(comparisons),
            "faults": tables.faults(found),
        },
        **clusters,
    }


def facts(found: Survey) -> list[tuple[str, int]]:
    """The figures at the top of the page."""
    data = found.data
    return [
        ("images used", len(data.files)),
        ("left out", data.left_out),
        ("groups", len(set(data.groups.tolist()))),
        ("with a lesion", int((found.measured["lesion_pixels"] > 0).sum())),
        ("near-duplicate clusters", len(found.clusters)),
        ("clusters that disagree", sum(map(disagrees, found.clusters))),
        ("faults", len(data.faults)),
    ]
