"""Decoded pixels on their way to the prepared arrays: on disk as soon as they are decoded, a few images in memory."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np

from trainables.data.cache import Rows

#: Images that are being decoded, or wait to be written.
IN_FLIGHT = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of items, at most `IN_FLIGHT` ahead of who takes them: `Executor.map` lets all pile up."""
    running: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(running) == IN_FLIGHT:
                yield running.popleft().result()
            running.append(pool.submit(function, item))
        while running:
            yield running.popleft().result()
    finally:
        for future in running:
            future.cancel()


class Scratch:
    """Images and their masks by key, in a file without a name, which is gone when it is closed."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._size = size
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0

    def __enter__(self) -> Scratch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def put(self, key: str, image: np.ndarray, masks: np.ndarray) -> None:
        """Keep an image, uint8 [S,S], and its masks, uint8 [k,S,S]."""
        self._places[key] = self._end, len(masks)
        self._file.seek(self._end * self._size**2)
        self._file.write(image.tobytes())
        self._file.write(masks.tobytes())
        self._end += 1 + len(masks)

    def arrays(self, keys: Sequence[str], duplicate: bool) -> dict[str, np.ndarray | Rows]:
        """`images`, `masks` and `mask_image` of `Prepared`, in the order of keys.

        Args:
            duplicate: whether the single masks of images that have several follow the merged ones.
        """
        n, shape = len(keys), (self._size, self._size)
        counts = [self._places[key][1] for key in keys]
        single = [row for row, count in enumerate(counts) if duplicate and count > 1 for _ in range(count)]

        def masks() -> Iterator[np.ndarray]:
            for key in keys:
                merged = np.asarray(self._masks(key).any(axis=0))
                yield merged.astype(np.uint8)
            for row in dict.fromkeys(single):
                yield from self._masks(keys[row])

        return {
            "images": Rows((n, *shape), (self._planes(self._places[key][0], 1)[0] for key in keys)),
            "masks": Rows((n + len(single), *shape), masks()),
            "mask_image": np.array([*range(n), *single], np.int64),
        }

    def _masks(self, key: str) -> np.ndarray:
        place, count = self._places[key]
        return self._planes(place + 1, count)

    def _planes(self, place: int, count: int) -> np.ndarray:
        self._file.seek(place * self._size**2)
        planes = np.frombuffer(self._file.read(count * self._size**2), np.uint8)
        return planes.reshape(count, self._size, self._size)
