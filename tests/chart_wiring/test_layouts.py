"""Every layout of the chart works as rendered: agents in their pods collect, tell how they are, and stop."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.chart_wiring.conftest import LayoutStages
from tests.chart_wiring.layouts import layouts
from tests.chart_wiring.pod import ANY_ADDRESS, Container
from tests.chart_wiring.stage import LayoutStage

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
# Agents mostly wait for their turn, so several layouts run at a time.
AT_A_TIME = 7
GROUPS = [layouts()[start : start + AT_A_TIME] for start in range(0, len(layouts()), AT_A_TIME)]


@pytest.mark.parametrize("names", GROUPS, ids=", ".join)
async def test_agents_collect_tell_how_they_are_and_stop(
    layout_stages: LayoutStages, names: list[str]
) -> None:
    outcomes = await asyncio.gather(*(outcome(layout_stages, name) for name in names), return_exceptions=True)
    if failures := [found for found in outcomes if isinstance(found, Exception)]:
        raise ExceptionGroup("these layouts do not work as rendered", failures)


async def outcome(layout_stages: LayoutStages, name: str) -> None:
    async with layout_stages() as layout:
        try:
            await layout.open(name)
            await agents_work(layout)
        except Exception as error:
            error.add_note(f"layout {name}\n{layout.told()}")
            raise


async def agents_work(layout: LayoutStage) -> None:
    await layout.start_pods()

    await layout.events_arrive()
    for pod, container in layout.agents():
        for probe in PROBES:
            await pod.passes(container, probe)
        assert folder_of_the_agent(container).is_dir()
    await helm_test_finds_nothing_wrong(layout)
    for codes in await asyncio.gather(*(pod.stopped() for pod in layout.pods)):
        assert set(codes.values()) == {0}


def folder_of_the_agent(container: Container) -> Path:
    known = container.environment
    assert str(container.storage) != known["STORAGE_PATH"], "it is no mount, and the root is read-only"
    workspace = container.storage / known["EXASTRO_ORGANIZATION_ID"] / known["EXASTRO_WORKSPACE_ID"]
    return workspace / known["AGENT_NAME"]


async def helm_test_finds_nothing_wrong(layout: LayoutStage) -> None:
    pods = layout.test_pods()
    assert len(pods) == len(layout.release.all("Deployment"))
    await asyncio.gather(*(pod.start() for pod in pods))
    for codes in await asyncio.gather(*(pod.ended() for pod in pods)):
        assert set(codes.values()) == {0}


@pytest.mark.parametrize("name", layouts())
async def test_spools_are_on_claims_unless_none_is_wanted(layout_stages: LayoutStages, name: str) -> None:
    async with layout_stages() as layout:
        await layout.open(name)
        layout.make_pods()
        is_kept = {layout.is_on_a_claim(container.storage) for _, container in layout.agents()}
        assert is_kept == {name != "no-persistence"}


@pytest.mark.parametrize("name", layouts())
async def test_ports_probes_and_options_of_a_pod_agree(layout_stages: LayoutStages, name: str) -> None:
    async with layout_stages() as layout:
        await layout.open(name)
        layout.make_pods()
        for _, container in layout.agents():
            port = int(container.environment["ADMIN_PORT"])
            assert [found["containerPort"] for found in container.manifest["ports"]] == [port]
            assert {container.container_port(probe) for probe in PROBES} == {port}
            # The node asks at the pod's address.
            assert container.environment.get("ADMIN_HOST", "") in ANY_ADDRESS
        for pod in layout.pods:
            ports = [found for container in pod.containers for found in container.manifest["ports"]]
            for key in ("name", "containerPort"):
                assert len({port[key] for port in ports}) == len(ports)


@pytest.mark.parametrize("name", layouts())
async def test_agents_of_a_pod_share_no_place_but_the_volume_of_spools(
    layout_stages: LayoutStages, name: str
) -> None:
    async with layout_stages() as layout:
        await layout.open(name)
        layout.make_pods()
        for pod in layout.pods:
            own = [
                place
                for container in pod.containers
                for place in container.mounts.places.values()
                if place != container.storage and os.access(place, os.W_OK) and "pods" in place.parts
            ]
            assert len(own) >= 2 * len(pod.containers)
            assert len(set(own)) == len(own)


async def test_the_init_container_gives_a_volume_with_old_folders_to_the_agents(
    layout_stages: LayoutStages,
) -> None:
    async with layout_stages() as layout:
        await layout.open("exastro-agent")
        layout.make_pods()
        (pod,) = layout.pods
        (container,) = pod.containers
        restored = container.storage / "org001"
        restored.mkdir()

        await pod.initialise()

        if os.geteuid() == 0:
            owner = container.manifest["securityContext"]["runAsUser"]
            assert [container.storage.stat().st_uid, restored.stat().st_uid] == [owner, owner]


async def test_the_init_container_stops_nothing_where_the_owner_cannot_be_changed(
    layout_stages: LayoutStages,
) -> None:
    async with layout_stages() as layout:
        await layout.open("exastro-agent")
        layout.make_pods()
        (pod,) = layout.pods
        # As a server that squashes root makes it.
        pod.init_containers[0].manifest["securityContext"].update(runAsUser=1000, capabilities={})
        await pod.initialise()
