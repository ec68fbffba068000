"""`oase-agent run`: the agent until SIGTERM or SIGINT; SIGHUP reloads the settings."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import NoReturn

from oase_agent.app.agent import Agent
from oase_agent.cli.memory import return_large_blocks
from oase_agent.config.groups import AgentConfig
from oase_agent.config.load import load_config
from oase_agent.errors import ConfigError, OwnershipLost
from oase_agent.telemetry import Telemetry, configure_logging

# Parsed answers are trees of many small objects that never form cycles: looking for cycles after every 700 of them,
# as Python does by default, costs a tenth of the time and finds nothing.
_COLLECT_CYCLES_AFTER_OBJECTS = 50_000


def run(environment: Mapping[str, str]) -> NoReturn:
    """Run the agent, then end the process: with 0 after a requested stop, else with 1. Raises ConfigError."""
    return_large_blocks()
    config, warnings = load_config(environment)
    configure_logging(config.log.level, config.log.format)
    telemetry = Telemetry()
    for warning in warnings:
        telemetry.configuration_doubtful(warning)
    gc.freeze()
    gc.set_threshold(_COLLECT_CYCLES_AFTER_OBJECTS, 20, 20)
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        _leave(runner.run(_until_stopped(config, telemetry)))


def _leave(code: int) -> NoReturn:
    """End the process now: closing the loop waits for threads that still ask a name server, for many seconds."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def event_loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's factory where it is installed, else that of asyncio."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _until_stopped(config: AgentConfig, telemetry: Telemetry) -> int:
    agent = Agent(config, telemetry)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, partial(agent.stop, number.name))
    loop.add_signal_handler(signal.SIGHUP, agent.reload_settings)
    try:
        await agent.run()
    except ConfigError:
        raise
    except OwnershipLost as error:
        telemetry.spool_taken_over(error)
        return 1
    except BaseExceptionGroup as failures:
        for failure in failures.exceptions:
            if isinstance(failure, OwnershipLost):
                telemetry.spool_taken_over(failure)
            else:
                telemetry.task_failed("run", failure)
        return 1
    return 0
