"""timm's weights on the Hugging Face hub and in its cache; a hub that is not there costs seconds, once a process."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from functools import cache

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.utils.tqdm import disable_progress_bars

FILE = "model.safetensors"
SECONDS = 3.0
#: Set when the hub answers and yet does not deliver: every further try would wait for half a minute.
_failed = threading.Event()


def cached(repository: str) -> str:
    """The file of a repository in the hub's cache; "" where it is not there."""
    found = try_to_load_from_cache(repository, FILE)
    return found if isinstance(found, str) else ""


def download(repository: str) -> str:
    """The file of a repository, fetched into the cache.

    Raises:
        OSError: the hub does not deliver.
    """
    return hf_hub_download(repository, FILE, etag_timeout=SECONDS)


def delivers(repository: str) -> bool:
    """Whether the hub delivers the file (into its cache). Never raises."""
    if constants.HF_HUB_OFFLINE or _failed.is_set() or not answers():
        return False
    disable_progress_bars()
    try:
        download(repository)
    except Exception:  # whatever a network, proxy or hub does wrong: a search must not fail for it
        _failed.set()
        return False
    return True


@cache
def answers() -> bool:
    """One short probe a process: without it, each look-up on a machine without internet retries for 23 s."""

    def probe() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=SECONDS).close()
        except urllib.error.HTTPError:
            pass  # it answered
        except (OSError, ValueError):
            return
        found.append(True)

    found: list[bool] = []
    # In a thread of its own, because resolving a name obeys no time-out.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return bool(found)
