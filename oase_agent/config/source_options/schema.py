"""docs/source-options.schema.json: the JSON schema of SOURCE_OPTIONS_FILE, for editors and for checks in CI."""

import json
import sys
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import CoreSchema

from oase_agent.config.source_options.document import Document
from oase_agent.config.source_options.faults import OPTION

COMMAND = "python -m oase_agent.config.source_options.schema > docs/source-options.schema.json"


class _Schema(GenerateJsonSchema):
    """Draft 2020-12, without the titles that only repeat the keys."""

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> dict[str, Any]:
        return {"$schema": self.schema_dialect, **super().generate(schema, mode)}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        return False


def render_schema() -> str:
    """Return the text of the schema."""
    content = _tidied(Document.model_json_schema(schema_generator=_Schema))
    return json.dumps({**content, "title": OPTION}, indent=2, ensure_ascii=False) + "\n"


def _tidied(part: Any) -> Any:
    """Leave out the names of classes, and defaults that only say that there is none."""
    if isinstance(part, list):
        return [_tidied(item) for item in part]
    if not isinstance(part, dict):
        return part
    idle = {"title"} | ({"default"} if "default" in part and part["default"] is None else set())
    return {key: _tidied(value) for key, value in part.items() if key not in idle}


if __name__ == "__main__":
    sys.stdout.write(render_schema())
