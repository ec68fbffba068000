"""Where an agent keeps everything."""

from pathlib import Path

from oase_agent.config.groups import AgentConfig


def agent_directory(config: AgentConfig) -> Path:
    """Return where the agent keeps everything: `<STORAGE_PATH>/<organization>/<workspace>/<agent>`."""
    workspace = config.workspace
    return config.spool.path / workspace.organization_id / workspace.workspace_id / config.agent.name
