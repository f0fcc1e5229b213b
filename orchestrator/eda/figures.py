"""Charts of a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes

from orchestrator.eda.statistics import quantities
from orchestrator.eda.survey import PARTS, Survey, class_name
from orchestrator.rendering.charts import FAINT, FULL, HALF, canvas, chart, styled
from orchestrator.rendering.document import Chart
from trainables.charts import COLOURS
from trainables.data import NORMAL

#: Strength of a class's colour in train, validation and test.
SHADES = (1.0, 0.65, 0.35)
#: Fields of a position map on either side.
MAP = 64


def colour(label: int) -> str:
    """A class's colour, the same on every page."""
    return COLOURS.get(class_name(label), "#8a9099")


@styled
def class_distribution(survey: Survey) -> Chart:
    """Images of each class, by part of the split."""
    figure, (axes,) = canvas(FULL, 0.7 + 0.42 * len(survey.classes))
    labels = survey.data.labels
    for row, label in enumerate(survey.classes):
        left = 0
        for part, shade in zip(PARTS, SHADES, strict=True):
            count = int(((labels == label) & (survey.parts == part)).sum())
            axes.barh(row, count, left=left, color=colour(label), alpha=shade, height=0.62, edgecolor="white")
            left += count
        share = f"{left:,}  ({left / len(labels):.1%})".replace("%", " %")
        axes.annotate(share, (left, row), (6, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(survey.classes)), list(map(class_name, survey.classes)))
    axes.set(xlabel="images", xlim=(0, 1.15 * max((labels == label).sum() for label in survey.classes)))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    return chart(
        "classes",
        figure,
        f"Images of each class, from dark to light: train, validation and test. n = {len(labels):,} images used.",
    )


@styled
def part_balance(survey: Survey) -> Chart:
    """Shares of the classes in the parts of the split."""
    figure, (axes,) = canvas(FULL, 2.0)
    for row, part in enumerate(PARTS):
        inside = survey.data.labels[survey.parts == part]
        left = 0.0
        for label in survey.classes:
            share = 100 * float((inside == label).mean())
            axes.barh(
                row,
                share,
                left=left,
                color=colour(label),
                height=0.62,
                edgecolor="white",
                label=class_name(label) if row == 0 else None,
            )
            if share >= 6:
                axes.text(left + share / 2, row, f"{share:.1f}", ha="center", va="center", color="white")
            left += share
    axes.set_yticks(range(len(PARTS)), [f"{part} (n = {(survey.parts == part).sum():,})" for part in PARTS])
    axes.set(xlabel="% of the part's images", xlim=(0, 100))
    axes.invert_yaxis()
    axes.grid(visible=False)
    figure.legend(loc="outside upper left", ncols=len(survey.classes), handlelength=1)
    return chart("parts", figure, f"Share of each class in each part. n = {len(survey.parts):,} images used.")


@styled
def lesion_sizes(survey: Survey) -> Chart:
    """Lesion size by class."""
    figure, (axes,) = canvas(HALF, 3.1)
    shares = quantities(survey)["share"]
    seen = survey.seen & np.isfinite(shares)
    edges = np.linspace(0, max(1.0, float(np.percentile(shares[seen], 99.5))), 31)
    n = _lines(axes, survey, shares, seen, edges)
    axes.set(xlabel="lesion, % of the image's pixels", ylabel="% of the class")
    axes.legend()
    return chart(
        "sizes", figure, f"Size of lesions by class; above the last bin in the last bin. {n}, train and validation."
    )


@styled
def lesion_positions(survey: Survey) -> Chart | None:
    """Where lesions lie: how often each place of an image is lesion, by class. None without a lesion."""
    data, seen = survey.data, survey.seen & (survey.measured["lesion_pixels"] > 0)
    labels = [label for label in survey.classes if label != NORMAL and (seen & (data.labels == label)).any()]
    if not labels:
        return None
    maps = {label: 100 * _mean_mask(data.masks, np.flatnonzero(seen & (data.labels == label))) for label in labels}
    figure, panels = canvas(0.6 + 2.2 * len(labels), 2.6, len(labels))
    top = max(float(found.max()) for found in maps.values())
    for axes, (label, found) in zip(panels, maps.items(), strict=True):
        shown = axes.imshow(found, cmap="cividis", vmin=0, vmax=top, interpolation="bilinear", extent=(0, 100, 100, 0))
        axes.set(title=f"{class_name(label)} (n = {int((seen & (data.labels == label)).sum()):,})", xticks=(0, 50, 100))
        axes.set(yticks=(0, 50, 100) if axes is panels[0] else ())
        axes.grid(visible=False)
    figure.colorbar(shown, ax=panels, shrink=0.9, pad=0.02, label="% of lesions").outline.set_visible(False)
    return chart(
        "positions",
        figure,
        "How often each place is lesion, in % of width and height from the upper left corner. "
        f"n = {int(seen.sum()):,} images with a lesion, train and validation.",
    )


@styled
def image_sizes(survey: Survey) -> Chart:
    """Width and height of all images."""
    figure, (axes,) = canvas(HALF, 3.1)
    sizes, labels = survey.data.sizes, survey.data.labels
    for label in survey.classes:
        height, width = sizes[labels == label].T
        axes.scatter(width, height, s=9, alpha=0.45, color=colour(label), linewidths=0, label=class_name(label))
    end = 1.05 * float(sizes.max())
    axes.plot([0, end], [0, end], color=FAINT, linewidth=1, zorder=0)
    axes.set(xlabel="width, pixels", ylabel="height, pixels", xlim=(0, end), ylim=(0, end), aspect="equal")
    axes.legend(loc="upper left")
    return chart("dimensions", figure, f"Size of each image; on the line it is square. n = {len(sizes):,} images used.")


@styled
def grey_levels(survey: Survey) -> Chart:
    """Brightness and contrast by class."""
    figure, panels = canvas(FULL, 2.5, 2, sharey=True)
    names = [class_name(label) for label in survey.classes]
    for axes, name, words in zip(
        panels, ("brightness", "contrast"), ("brightness: mean grey level", "contrast: SD of grey levels"), strict=True
    ):
        values = [survey.measured[name][survey.seen & (survey.data.labels == label)] for label in survey.classes]
        drawn = axes.boxplot(values, orientation="horizontal", patch_artist=True, widths=0.55, showfliers=False)
        for label, box, line, inside, row in zip(
            survey.classes, drawn["boxes"], drawn["medians"], values, range(1, len(values) + 1), strict=True
        ):
            box.set(facecolor=colour(label), alpha=0.3, edgecolor=colour(label))
            line.set(color=colour(label), linewidth=2)
            # Spread evenly, not at random: the same data give the same page.
            offsets = 0.2 * np.sin(np.arange(len(inside)) * 2.4)
            axes.scatter(inside, row + offsets, s=3, color=colour(label), alpha=0.35, linewidths=0, zorder=0)
        for part in (*drawn["whiskers"], *drawn["caps"]):
            part.set_color("#9aa1a9")
        axes.set(xlabel=words)
        axes.set_yticks(range(1, len(names) + 1), names)
        axes.grid(visible=False, axis="y")
    panels[0].invert_yaxis()
    counts = ", ".join(
        f"{int((survey.seen & (survey.data.labels == label)).sum()):,} {class_name(label)}" for label in survey.classes
    )
    return chart(
        "grey",
        figure,
        f"Each image a point; boxes are quartiles, whiskers reach 1.5 boxes. n = {counts}, train and validation.",
    )


def _lines(axes: Axes, survey: Survey, values: np.ndarray, use: np.ndarray, edges: np.ndarray) -> str:
    counts = []
    for label in survey.classes:
        inside = values[use & (survey.data.labels == label)]
        if not len(inside):
            continue
        heights, _ = np.histogram(np.clip(inside, edges[0], edges[-1]), edges)
        tint = colour(label)
        axes.stairs(100 * heights / len(inside), edges, color=tint, linewidth=1.6, label=class_name(label))
        axes.stairs(100 * heights / len(inside), edges, color=tint, alpha=0.12, fill=True)
        counts.append(f"{len(inside):,} {class_name(label)}")
    return "n = " + ", ".join(counts)


def _mean_mask(masks: np.ndarray, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    total = np.zeros((MAP, MAP))
    for row in rows:
        total += cv2.resize(masks[row].astype(np.float32), (MAP, MAP), interpolation=cv2.INTER_AREA)
    return total / len(rows)
