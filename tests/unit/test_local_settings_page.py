"""The example of docs/local-settings.md is a good file."""

import re
from pathlib import Path

from tests.unit.local_settings_stage import answer_of, file_of, write

PAGE = Path(__file__).parents[2] / "docs" / "local-settings.md"


def test_the_example_of_the_page_is_a_whole_file(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "secrets").mkdir()
    for name in ("zabbix.auth-token", "alertmanager.password"):
        (tmp_path / "secrets" / name).write_text("hunter2")
    answer = answer_of(file_of(write(tmp_path, example)))
    assert [setting.name for setting in answer.settings] == ["zabbix-problems", "active-alerts"]
    assert answer.settings[0].parameter is not None
    assert '"time_from": "{{ EXASTRO_LAST_FETCHED_TIMESTAMP }}"' in answer.settings[0].parameter
