"""Where settings come from: the workspace, the volume, a file of this host; and what becomes of their rows."""

from collections.abc import Sequence
from dataclasses import dataclass

from oase_agent.workspace.client import WorkspaceClient
from oase_agent.workspace.last_good import LastGoodSettings
from oase_agent.workspace.local_rows import laid_over
from oase_agent.workspace.local_settings import LocalSettingsFile
from oase_agent.workspace.secrets import SecretBox
from oase_agent.workspace.setting_row import NAME_COLUMN
from oase_agent.workspace.settings import Check, SettingsAnswer, folded, parse_settings


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """The workspace and the volume, by name, and the file with the settings of this host, if there is one.

    `names` are the configured ones. Without `asks_workspace`, the file is all there is.
    """

    workspace: WorkspaceClient
    last_good: LastGoodSettings
    box: SecretBox
    names: Sequence[str]
    checks: Sequence[Check]
    local: LocalSettingsFile | None = None
    asks_workspace: bool = True

    def wanted(self) -> tuple[str, ...]:
        """Return the names to collect: the configured ones and those of the file.

        Where the file is all there is, the configured names select from it.
        """
        in_file = self.local.settings.names if self.local else ()
        if not self.asks_workspace and self.names:
            in_file = ()
        configured = set(map(folded, self.names))
        return (*self.names, *(name for name in in_file if folded(name) not in configured))

    def sort(self, rows: Sequence[object]) -> SettingsAnswer:
        """Sort the workspace's rows with what the file says laid over them; `rows` are empty where it is not asked.

        Blocks for a moment: the first secret costs a key derivation of 50,000 rounds. Raises nothing.
        """
        wanted = self.wanted()
        if self.local is not None:
            selected = set(map(folded, wanted))
            local = [row for row in self.local.settings.rows if folded(row[NAME_COLUMN]) in selected]
            rows = laid_over(rows, local)
        return parse_settings(rows, self.box, wanted, checks=self.checks)

    def sort_without_file(self, rows: Sequence[object]) -> SettingsAnswer:
        """Sort the workspace's rows as they are; like `sort` in everything else."""
        return parse_settings(rows, self.box, self.wanted(), checks=self.checks)
