"""The C library's memory allocator, told to give large blocks back.

A large answer passes through blocks of up to a few MiB. By default glibc learns from the first one that is freed to
take the next ones from its heap, where they leave holes, and every thread has a heap of its own: after one answer of
200,000 events the process kept dozens of MiB that nothing used. With a fixed threshold large blocks are mapped, and
returned when they are freed.
"""

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8

_LARGE_BLOCK_BYTES = 64 * 1024
_HEAPS = 2


def return_large_blocks() -> bool:
    """Set the allocator up, before threads start; return False where the C library has no such knobs (musl)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = (
        (_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES),
        (_TRIM_THRESHOLD, 2 * _LARGE_BLOCK_BYTES),
        (_ARENA_MAX, _HEAPS),
    )
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
