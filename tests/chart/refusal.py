"""The answer of an API that refuses."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Refusal(Exception):
    """An HTTP status with Kubernetes' reason word and a message."""

    status: int
    reason: str
    message: str

    def body(self) -> dict[str, Any]:
        """Return the object that the API answers with."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.status,
        }
