"""The text at a path of names in a JSON document, found without building anything of the document."""

import functools
from mmap import mmap
from typing import Any, Final

import msgspec

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def find_raw(content: bytes | mmap, path: tuple[str, ...]) -> Any:
    """Return something with the buffer of the JSON text at `path`, or None; an empty path selects everything.

    The buffer keeps `content` in use. UTF-8 is not checked. Raises msgspec.ValidationError where the path leads
    through something that is no object, msgspec.DecodeError for what is not strict JSON, RecursionError for what is
    nested too deep.
    """
    strict = memoryview(content)[3:] if content[:3] == _BYTE_ORDER_MARK else content
    found = msgspec.json.decode(strict, type=_shape(path))
    for _ in path:
        if found is msgspec.UNSET:
            return None
        found = found.value
    return None if found is msgspec.UNSET else found


@functools.lru_cache(maxsize=1024)
def _shape(path: tuple[str, ...]) -> Any:
    """Build the types that lead msgspec along a path; kept, because every class made leaves cyclic garbage."""
    shape: Any = msgspec.Raw
    for name in reversed(path):
        fields = [("value", shape | msgspec.UnsetType, msgspec.UNSET)]
        shape = msgspec.defstruct("Level", fields, rename={"value": name}, gc=False)
    return shape
