"""The options of one setting over those that hold for every setting."""

from typing import Any

from oase_agent.config.source_options.document import SourceBlock


def merged(own: SourceBlock, defaults: SourceBlock | None) -> dict[str, Any]:
    """Return the values of `own` over those of `defaults`, by key; null of `own` takes a default away.

    Headers are merged by name. Keys that mean something only together come from one of the two.
    """
    if defaults is None:
        return dict(own)
    given = set(own.model_fields_set)
    for together in ({"ca_file", "insecure"}, {"client_cert_file", "client_key_file"}):
        if given & together:
            given |= together
    values = dict(defaults) | {key: getattr(own, key) for key in given}
    if own.headers and defaults.headers:
        mine = {name.lower() for name in own.headers}
        kept = {name: block for name, block in defaults.headers.items() if name.lower() not in mine}
        values["headers"] = kept | own.headers
    return values
