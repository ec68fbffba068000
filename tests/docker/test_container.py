"""The image in a real Docker engine against simulators: restricted, stopped, killed, and as any user."""

from collections.abc import Callable

import pytest

from oase_agent.simulators.faults import Fault
from tests.acceptance.stage import Stage
from tests.docker.container import Container

pytestmark = pytest.mark.docker

NAME = "log-lines"
Count = Callable[[str, object], None]


async def test_a_restricted_container_delivers_and_stops_in_order(
    stage: Stage, container: Container, count: Count
) -> None:
    await stage.open()
    logs = await stage.logs(NAME, PARAMETER=None)
    written = [logs.write(f"line {number}") for number in range(1_000)]
    container.start(stage.environment)
    assert await stage.arrived(NAME, 1_000) == written
    await container.healthy()
    count("container, memory after 1,000 events", await container.memory())
    stopped_s = await container.stop()
    count("container, seconds from docker stop to its end", f"{stopped_s:.2f}")
    state = await container.state()
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


async def test_d1_a_killed_container_loses_nothing_and_sends_nothing_twice(
    stage: Stage, container: Container
) -> None:
    workspace = await stage.open()
    logs = await stage.logs(NAME, PARAMETER=None)
    written = [logs.write("before the first kill")]
    for _ in range(2):
        container.start(stage.environment)
        await stage.arrived(NAME, len(written))
        workspace.faults.add(Fault.lost_answer(endpoint="events"))
        written.append(logs.write("stored, and the agent is not told"))
        await stage.arrived(NAME, len(written))
        await workspace.refuse()
        written += [logs.write("the workspace is away") for _ in range(50)]
        # The second request from now on tells that what the first one brought is on the volume.
        logs.requests.clear()
        await logs.wait_for(lambda logs: len(logs.requests) >= 2)
        await container.kill()
        await workspace.resume()
    container.start(stage.environment)
    written.append(logs.write("after the last kill"))
    await stage.arrived(NAME, len(written))
    await container.stop()
    assert sorted(workspace.ids_of(NAME), key=int) == written


@pytest.mark.parametrize(
    "user",
    [
        pytest.param("1000:999", id="the reference's Podman sample"),
        pytest.param("0:0", id="Podman's root, who is nobody outside"),
        pytest.param("4321:4321", id="somebody whom the image does not know"),
    ],
)
async def test_any_user_may_run_it(stage: Stage, container: Container, user: str) -> None:
    await stage.open()
    logs = await stage.logs(NAME, PARAMETER=None)
    written = logs.write("one line")
    container.start(stage.environment, f"--user={user}")
    assert await stage.arrived(NAME, 1) == [written]
