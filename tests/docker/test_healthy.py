"""`docker/healthy.py` as the engine runs it, against servers of this process; no engine is needed."""

import asyncio
import os
import sys

from aiohttp import web

from tests.docker.image import ROOT


async def check(*arguments: str, **environment: str) -> tuple[int | None, str]:
    """Run the script; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", str(ROOT / "docker/healthy.py"), *arguments),
        env={"PATH": os.defpath, **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def answering(path: str, status: int) -> tuple[web.AppRunner, str]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status)

    application = web.Application()
    application.router.add_get(path, answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, str(runner.addresses[0][1])


async def test_an_agent_that_answers_is_healthy() -> None:
    runner, port = await answering("/healthz", 200)
    assert await check(ADMIN_PORT=port, ADMIN_HOST="0.0.0.0") == (0, "")
    await runner.cleanup()


async def test_an_agent_that_answers_otherwise_is_not() -> None:
    runner, port = await answering("/healthz", 500)
    assert await check(ADMIN_PORT=port) == (1, "what answers is no healthy agent\n")
    await runner.cleanup()


async def test_an_absent_agent_is_not() -> None:
    runner, port = await answering("/healthz", 200)
    await runner.cleanup()
    code, told = await check(ADMIN_PORT=port, ADMIN_HOST="")
    assert (code, told.partition(":")[0]) == (1, "no answer")


async def test_a_port_that_is_no_number_is_told() -> None:
    assert (await check(ADMIN_PORT="eighty"))[0] == 1


async def test_a_simulator_is_asked_by_port_and_path() -> None:
    runner, port = await answering("/simulator/counts", 200)
    assert await check(port, "/simulator/counts", ADMIN_PORT="1") == (0, "")
    await runner.cleanup()
