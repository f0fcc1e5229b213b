"""Data: read -> check -> group -> split -> prepare. Nothing here needs torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trainables.data.manifest import CLASSES, NORMAL, UNKNOWN, DataError, Fault, Manifest, Record

if TYPE_CHECKING:
    from trainables.data.folders import read_manifest
    from trainables.data.phantom import is_phantom, write_phantom
    from trainables.data.preparation import prepare
    from trainables.data.prepared import Prepared

__all__ = [
    "CLASSES",
    "NORMAL",
    "UNKNOWN",
    "DataError",
    "Fault",
    "Manifest",
    "Prepared",
    "Record",
    "cache",
    "duplicates",
    "examine",
    "folders",
    "grouping",
    "is_phantom",
    "kinds",
    "known",
    "layout_file",
    "layouts",
    "links",
    "manifest",
    "notes",
    "patience",
    "phantom",
    "pictures",
    "pixel_budget",
    "pixels",
    "preparation",
    "prepare",
    "prepared",
    "read_manifest",
    "sources",
    "splits",
    "words",
    "write_phantom",
]
_PLACES = {
    "Prepared": "prepared",
    "is_phantom": "phantom",
    "prepare": "preparation",
    "read_manifest": "folders",
    "write_phantom": "phantom",
}


def __getattr__(name: str) -> Any:
    # Late, so that a command line, which is read with names from here, does not wait for pandas and OpenCV.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
