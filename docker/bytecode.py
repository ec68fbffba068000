"""Compile what the agent imports, and only that, into PYTHONPYCACHEPREFIX; run by the image's build with -OO.

The root file system may be read-only, and base images come without bytecode of the standard library: without this
every start would compile it anew. The files carry a hash of the source instead of its time, which nobody checks
again, so the same inputs make the same files.
"""

import importlib
import pkgutil
import py_compile
import sys
from pathlib import Path

import oase_agent

# Imported by what the agent uses, later than at its start.
_LATE = (
    "apscheduler.triggers.interval",
    "cryptography.hazmat.primitives.ciphers.aead",
    "encodings.idna",
    "jinja2.sandbox",
    "jmespath",
    "uvloop",
    "zoneinfo",
)


def main() -> None:
    """Import everything and compile it."""
    for name in _LATE:
        importlib.import_module(name)
    for module in pkgutil.walk_packages(oase_agent.__path__, "oase_agent."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for loaded in list(sys.modules.values()):
        source = getattr(loaded, "__file__", None)
        if source and source.endswith(".py") and loaded.__name__ != "__main__":
            py_compile.compile(
                str(Path(source).absolute()),
                doraise=True,
                optimize=sys.flags.optimize,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )


if __name__ == "__main__":
    main()
