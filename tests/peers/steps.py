"""What tests with a real peer wait for."""

from tests.acceptance.stage import Stage


async def trouble_of(stage: Stage, name: str) -> str:
    """Wait until a setting is in trouble; return what the agent's status says of it."""
    await stage.until(lambda: stage.setting(name).trouble)
    return stage.setting(name).trouble or ""
