"""What the functions of the test app did, in order, for a test to ask about."""

import time

_entries: list[dict] = []


def write(entry: dict) -> None:
    """Adds one entry; `marker` names the test that will ask for it."""
    _entries.append({**entry, "at": int(time.time() * 1000)})


def read(marker: str | None) -> list[dict]:
    """The entries of one test, oldest first."""
    return [entry for entry in _entries if entry.get("marker") == marker]
