"""What the plugin does: each event becomes one line of a file."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from evmbilling.domain.messages.events import Event


class LinesNotifier:
    """Appends events to a file, one line of JSON each (port :class:`evmbilling.ports.notifier.Notifier`)."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()

    def notify(self, event: Event) -> None:
        """Append one event; when this returns, it is on the disk."""
        line = json.dumps({"id": event.event_id, "seq": event.seq, "type": str(event.type), "data": event.data})
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
