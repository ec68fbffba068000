"""How large a POST may be: it shrinks when the workspace, or a gateway before it, cannot take the size."""

# Below this a refusal is about something else: one event with its group.
_SMALLEST_BYTES = 4 * 1024


class PostLimit:
    """The size of a POST in bytes, between a few KiB and what the operator allows.

    A 413 lowers it for good: the limit of a gateway does not change while the agent runs. A cut connection lowers it
    for a while: it may have been the size, or only the network.
    """

    def __init__(self, max_bytes: int) -> None:
        self._ceiling = max_bytes
        self.bytes = max_bytes

    def refused(self, size_bytes: int) -> bool:
        """A request of this size was refused for it (413); return whether smaller ones are possible."""
        before = self.bytes
        self._ceiling = max(_SMALLEST_BYTES, min(self._ceiling, size_bytes // 2))
        self.bytes = min(self.bytes, self._ceiling)
        return self.bytes < before

    def cut(self, size_bytes: int) -> None:
        """The connection was cut while a request of this size was under way."""
        self.bytes = max(_SMALLEST_BYTES, min(self.bytes, size_bytes // 2))

    def accepted(self, size_bytes: int) -> None:
        """A request of this size was taken: try twice as much next, if it filled the limit about half."""
        if size_bytes * 2 >= self.bytes:
            self.bytes = min(self._ceiling, self.bytes * 2)
