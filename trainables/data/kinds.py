"""What the values of masks mean: classes, where a layout says so, and a question where nobody does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from trainables.data import words
from trainables.data.layouts import Layout
from trainables.data.listing import Listing
from trainables.data.manifest import UNKNOWN, DataError, Record
from trainables.data.patience import PassingError
from trainables.data.pixels import FEW, UnreadableError, read_kinds
from trainables.data.polygons import is_polygons

#: A grey value, or a colour.
Kind = tuple[int, ...]
#: Masks of unlabelled images that are looked into, evenly over all of them.
MOST_LOOKED_AT = 200
#: What is said of masks whose values nobody explains.
ASKED = "no label is known: if they are classes, say so in a layout file"
_NOTHING: Kind = (0,)


def labels_by_value(
    layout: Layout, listing: Listing, masks: dict[str, list[str]], wanted: Iterable[str]
) -> dict[str, int]:
    """The class that the values of each wanted image's masks mean, by path; of several classes UNKNOWN.

    Raises:
        DataError: the file that says so is damaged, or a mask could not be read in this run.
    """
    meant = _meant(layout, listing)
    if not meant:
        return {}
    found = {}
    for image in wanted:
        kinds: set[Kind] = set()
        for path in masks.get(image, []):
            try:
                kinds |= read_kinds(listing.root / path)
            except PassingError as error:  # its class would be lost, perhaps without a word
                raise DataError(f"{listing.root / path}: {error}; run again") from None
            except UnreadableError:  # told when it is decoded
                continue
        if lesions := kinds - {_NOTHING}:
            classes = {meant.get(kind, UNKNOWN) for kind in lesions}
        else:
            classes = {meant.get(kind, UNKNOWN) for kind in kinds}
        found[image] = classes.pop() if len(classes) == 1 else UNKNOWN
    return found


def unexplained(records: Sequence[Record]) -> list[str]:
    """A warning where masks of images without label hold values that may be classes."""
    masks = [mask for record in records if record.label == UNKNOWN for mask in record.masks if not is_polygons(mask)]
    kinds: set[Kind] = set()
    for mask in masks[:: -(-len(masks) // MOST_LOOKED_AT) or 1]:
        kinds |= _lesion_kinds(mask)
    if len(kinds) < 2 or len(kinds) > FEW:
        return []
    names = [str(kind[0]) if len(kind) == 1 else str(kind) for kind in sorted(kinds)]
    what = "values" if all(len(kind) == 1 for kind in kinds) else "colours"
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return [f"warning: masks hold {what} {listed} and {ASKED}"]


def asked(notes: Iterable[str]) -> str:
    """What `unexplained` said among notes, to go on a sentence with; "" where it said nothing."""
    return "".join(f"; {note.removeprefix('warning: ')}" for note in notes if note.endswith(ASKED))


def _lesion_kinds(mask: Path) -> set[Kind]:
    """What a mask holds but its background; nothing of one in shades."""
    try:
        kinds = read_kinds(mask)
    except (UnreadableError, DataError):
        return set()
    if len(kinds) > FEW or mask.suffix.lower() in (".jpg", ".jpeg"):
        return set()
    return kinds - ({min(kinds, key=sum)} if len(kinds) > 1 else {_NOTHING})


def _meant(layout: Layout, listing: Listing) -> dict[Kind, int]:
    """Classes by what masks hold, as the layout says, or a file of the data."""
    meant = {kind: words.class_of(name) for name, kind in layout.means}
    if not layout.values or layout.values not in listing.others:
        return meant
    file = listing.root / layout.values
    try:
        named = json.loads(file.read_text())["labels"].items()
        # 0 is what is no lesion, whatever it is called.
        return {(int(value),): words.class_of(str(name)) for name, value in named if int(value)}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{file}: does not say what values of masks mean ({error}); write it again") from None
