"""docs/configuration.md, written from the declarations of the options."""

import sys
from collections.abc import Iterable, Iterator
from inspect import cleandoc

from oase_agent.config.environment import PROXY_NAMES, WITHOUT_EFFECT
from oase_agent.config.groups import GROUPS
from oase_agent.config.options import Option, options_of

COMMAND = "python -m oase_agent.config.reference > docs/configuration.md"

_HEAD = f"""\
<!-- Written by `{COMMAND}`; do not edit. -->

# Configuration

The agent reads environment variables once, at its start. If something is wrong, it writes one message that lists
every fault and ends with exit code 2. Values that can be mended, such as a number out of its bounds, are mended
with one warning each.

- Every option may also come from a file: `<NAME>_FILE` holds its path, for example
  `EXASTRO_REFRESH_TOKEN_FILE=/run/secrets/token`. One newline at the end of the file is ignored. Setting both is a
  fault.
- An empty value counts as not set, except for `AGENT_NAME`, which must not be empty.
- Numbers of bytes are plain, or have a unit: `1048576`, `1024KiB`, `1 MiB`, `1Mi`.
- Secret options appear in no message, log or status.
- *Since* tells whether the agent of Exastro IT Automation 2.7 knows the option ("reference") or not ("new").
"""

_PROXIES = f"""
## Proxies

| Name | Default | Meaning | Allowed | Secret | Since |
| --- | --- | --- | --- | --- | --- |
| `{PROXY_NAMES[0]}` | – | Proxy for http URLs, in any case of the name. | a URL | yes | reference |
| `{PROXY_NAMES[1]}` | – | Proxy for https URLs, in any case of the name. | a URL | yes | reference |
| `{PROXY_NAMES[2]}` | – | Hosts that are reached directly, in any case of the name. | suffixes of host \
names separated by commas, or `*` | no | reference |

They hold for the workspace and for sources; the proxy of a setting goes before them.
"""

_TAIL = """
## Read by the system

| Name | Meaning |
| --- | --- |
| `TZ` | Time zone of the formatted times in templates, for example `Asia/Tokyo`. The C library reads it, not the \
agent. |

## Accepted, without effect

The reference agent or its image knows these names. They may stay in a values file or a compose file.

"""


def render_reference() -> str:
    """Return the text of docs/configuration.md."""
    tables = "".join(_table(group.__doc__ or "", options_of(group)) for group in GROUPS.values())
    ignored = "".join(f"- `{name}`\n" for name in WITHOUT_EFFECT)
    return _HEAD + tables + _PROXIES + _TAIL + ignored


def _table(charter: str, options: Iterable[Option]) -> str:
    """Return a section; the first line of the group's docstring is its title, the rest its introduction."""
    title, _, introduction = cleandoc(charter).partition("\n\n")
    introduction += "\n\n" if introduction else ""
    rows = "\n".join(_rows(options))
    return (
        f"\n## {title.removesuffix('.')}\n\n{introduction}"
        f"| Name | Default | Meaning | Allowed | Secret | Since |\n| --- | --- | --- | --- | --- | --- |\n{rows}\n"
    )


def _rows(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        cells = (
            f"`{option.name}`",
            "**required**" if option.required else option.default,
            option.meaning,
            option.must_be,
            "yes" if option.secret else "no",
            "new" if option.new else "reference",
        )
        yield "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(render_reference())
