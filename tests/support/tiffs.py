"""Writes TIFF files that Pillow does not: any numbers, and white that is zero."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

#: Values of tags. Photometric: white or black is zero, colours.
WHITE, BLACK, RGB, YCBCR = 0, 1, 2, 6
_KINDS = {"u": 1, "i": 2, "f": 3, "c": 6}


def write_tiff(path: Path, values: np.ndarray, photometric: int = BLACK, subsampled: bool = False) -> Path:
    """One strip without compression, little-endian. `subsampled`: a value of two colours for two by two pixels."""
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    raw = values.tobytes()
    if subsampled:
        blocks = values.reshape(height // 2, 2, width // 2, 2, 3).transpose(0, 2, 1, 3, 4)
        raw = b"".join(block[..., 0].tobytes() + block[0, 0, 1:].tobytes() for row in blocks for block in row)
    tags: list[tuple[int, int, tuple[int, ...]]] = [
        (256, 4, (width,)),
        (257, 4, (height,)),
        (258, 3, (values.dtype.itemsize * 8,) * channels),
        (259, 3, (1,)),
        (262, 3, (photometric,)),
        (273, 4, (0,)),
        (277, 3, (channels,)),
        (278, 4, (height,)),
        (279, 4, (len(raw),)),
        (284, 3, (1,)),
        *([(530, 3, (2, 2))] if subsampled else []),
        *([] if subsampled else [(339, 3, (_KINDS[values.dtype.kind],) * channels)]),
    ]
    beside, place = b"", 8 + 2 + 12 * len(tags) + 4
    long = {tag: struct.pack(f"<{len(given)}H", *given) for tag, kind, given in tags if kind == 3 and len(given) > 2}
    start = place + sum(map(len, long.values()))
    out = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, kind, given in tags:
        given = (start,) if tag == 273 else given
        out += struct.pack("<HHI", tag, kind, len(given))
        if tag in long:
            out += struct.pack("<I", place + len(beside))
            beside += long[tag]
        else:
            out += struct.pack("<2H", *(*given, 0)[:2]) if kind == 3 else struct.pack("<I", given[0])
    path.write_bytes(out + struct.pack("<I", 0) + beside + raw)
    return path
