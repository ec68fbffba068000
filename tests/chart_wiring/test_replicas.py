"""Pods of one agent, as rendered, with an API server that allows what the Role allows: they share and take over."""

import asyncio
from collections import Counter
from collections.abc import Callable

from tests.chart_wiring.conftest import LayoutStages
from tests.chart_wiring.container_process import PATIENCE_S
from tests.chart_wiring.pod import Pod
from tests.chart_wiring.stage import LayoutStage

# The shortest lease that the agent allows: what a dead pod leaves is taken over after it.
SHORT_LEASE = {"COORDINATION_LEASE_S": "5"}


def owners(layout: LayoutStage) -> dict[str, str]:
    """Return the pod that owns a setting, by the setting's name."""
    holders = layout.api_server.holders("claim").items()
    return {setting: member.rpartition("_")[0] for setting, member in holders}


def settings_of(layout: LayoutStage) -> set[str]:
    return {name for _, container in layout.agents() for name in container.setting_names}


async def until(is_reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_reached():
            await asyncio.sleep(0.05)


async def all_owned_by(layout: LayoutStage, pods: list[Pod]) -> None:
    """Wait until these pods own every setting. Raises TimeoutError."""
    names = {pod.facts.name for pod in pods}
    await until(
        lambda: owners(layout).keys() == settings_of(layout) and set(owners(layout).values()) <= names
    )


async def new_alert_arrives_once(layout: LayoutStage, name: str) -> None:
    """Let a source tell something new, and wait until the workspace has it once for each setting."""
    layout.source.fire({"alertname": name})
    _, container = next(layout.agents())
    stored = layout.workspace_of(container).acceptance.stored

    def counts() -> list[Counter[str]]:
        return [
            Counter(found.event["labels"]["alertname"] for found in stored(s)) for s in settings_of(layout)
        ]

    await until(lambda: all(count[name] for count in counts()))
    assert all(set(count.values()) == {1} for count in counts())


async def test_pods_share_the_settings_and_take_over_what_another_leaves(layout_stages: LayoutStages) -> None:
    async with layout_stages() as layout:
        try:
            await layout.open("replicas", SHORT_LEASE)
            await layout.start_pods()
            await all_owned_by(layout, layout.pods)
            await until(lambda: len(layout.api_server.holders("member")) == len(layout.pods))
            await new_alert_arrives_once(layout, "all pods")

            first, second, third = layout.pods
            await first.kill()
            await all_owned_by(layout, [second, third])
            await new_alert_arrives_once(layout, "one was killed")

            assert set((await second.stopped()).values()) == {0}
            await all_owned_by(layout, [third])
            await new_alert_arrives_once(layout, "one was stopped")

            assert layout.api_server.requests
            assert "role_missing" not in layout.told()
        except BaseException as error:
            error.add_note(layout.told())
            raise
