"""Whether the Hugging Face hub answers at all, found out within seconds.

The hub's clients repeat each request that fails five times, with pauses that grow to eight seconds, and wait without
end for a network that swallows what is sent: whoever asks them asks here first, and else looks on this disk alone.
"""

import threading
import time

PATIENCE = 4.0  # seconds, for finding its address too, on which no client sets a limit
KEPT = 30.0  # seconds for which an answer holds: a command asks for a model, its tokenizer and its data

_seen: dict[str, tuple[float, bool]] = {}  # by endpoint: when it was asked, and whether it answered


def reachable() -> bool:
    """Whether the hub answered anything, be it an error. True also where HF_HUB_OFFLINE is set: its client says so."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return True
    asked, answered = _seen.get(constants.ENDPOINT, (-KEPT, False))
    if time.monotonic() - asked > KEPT:
        answered = _asked(constants.ENDPOINT)
        _seen[constants.ENDPOINT] = time.monotonic(), answered
    return answered


def forget() -> None:
    """Ask anew from here on: a process that lives long may have been told too early."""
    _seen.clear()


def _asked(endpoint: str) -> bool:
    from huggingface_hub import get_session

    answered: list[object] = []

    def ask() -> None:
        try:
            answered.append(get_session().head(endpoint, timeout=PATIENCE))
        except Exception:  # the client's transport errors differ between its releases
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)
