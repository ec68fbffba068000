"""Take from installed packages what only a compiler or a debugger reads; run by the image's build.

    python slim.py DIRECTORY

Removes C and Cython sources and type stubs, and cuts extension modules behind their last loaded segment: symbol
tables and debugging sections stand there, which the dynamic loader never reads. It saves about 20 MB, and base
images bring no `strip` for it. A module whose loaded segments reach to its end stays as it is.
"""

import struct
import sys
from pathlib import Path

_FOR_COMPILERS = {".c", ".h", ".pxd", ".pyi", ".pyx"}
_ELF64_LITTLE_ENDIAN = b"\x7fELF\x02\x01"
_LOADED = 1  # PT_LOAD
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")


def main(directory: Path) -> None:
    """Make everything below `directory` smaller."""
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix in _FOR_COMPILERS:
            path.unlink()
        elif ".so" in path.suffixes:
            path.write_bytes(without_sections(path.read_bytes()))


def without_sections(module: bytes) -> bytes:
    """Return an ELF file cut behind its last loaded segment, without a section table; others as they are."""
    if not module.startswith(_ELF64_LITTLE_ENDIAN):
        return module
    headers_at = struct.unpack_from("<Q", module, 32)[0]
    size, count = struct.unpack_from("<HH", module, 54)
    headers_end = headers_at + size * count
    segments = (_PROGRAM_HEADER.unpack_from(module, headers_at + size * index) for index in range(count))
    ends = (offset + length for kind, _, offset, _, _, length, _, _ in segments if kind == _LOADED)
    cut = bytearray(module[: max(headers_end, *ends)])
    struct.pack_into("<Q", cut, 40, 0)  # e_shoff: no table of sections
    struct.pack_into("<HH", cut, 60, 0, 0)  # e_shnum, e_shstrndx
    return bytes(cut)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
