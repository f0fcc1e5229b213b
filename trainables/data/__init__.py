"""Data: read -> check -> group -> split -> prepare. Nothing here needs torch."""

from trainables.data.folders import read_manifest
from trainables.data.manifest import CLASSES, NORMAL, UNKNOWN, DataError, Fault, Manifest, Record
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
    "links",
    "manifest",
    "notes",
    "phantom",
    "pixels",
    "preparation",
    "prepare",
    "prepared",
    "read_manifest",
    "sources",
    "splits",
    "write_phantom",
]
