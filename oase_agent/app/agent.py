"""Runs the parts of an agent as named tasks, and stops them in order.

Stop order: no new collections → running ones end or are cut → the POST under way is settled → the admin
server closes → threads end → the spool is made durable and let go. A part that fails stops the agent.
"""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oase_agent import __version__
from oase_agent.app.agent_directory import agent_directory
from oase_agent.app.build import build
from oase_agent.app.standing import standing
from oase_agent.collect.unstorable import find_unstorable
from oase_agent.config.groups import AgentConfig
from oase_agent.disk import Disk
from oase_agent.errors import OwnershipLost, Reason, SpoolUnavailable
from oase_agent.serve.admin import AdminServer
from oase_agent.serve.status import AgentStatus
from oase_agent.spool.reference_state import reference_file, take_over
from oase_agent.spool.volume import volume_of
from oase_agent.telemetry import Telemetry

# Threads do files, parsing and names; each may cost memory of its own (durability study section 6).
_THREADS = 4
# What a stop leaves to what is under way, in seconds; together below the two seconds of design section 10. What
# does not end in time is cut: a cut collection is asked again, a cut POST is settled by the workspace's position.
_COLLECTION_GRACE_S = 0.4
_POST_GRACE_S = 1.2
_STANDBY_LOOK_S = 1.0
_STANDBY = "standby: another agent owns this spool"
_MAINTENANCE_S = 10.0


class Agent:
    """One agent; `run` it once. Raises ConfigError from the constructor and from `run`."""

    def __init__(self, config: AgentConfig, telemetry: Telemetry) -> None:
        self._config = config
        self._telemetry = telemetry
        self._parts = build(config, telemetry)
        self._admin = AdminServer(self.status, telemetry.registry)
        self._stop_requested = asyncio.Event()
        self._why_stop = ""
        self._taken_over: OwnershipLost | None = None
        self._started_at_s = time.time()
        self._waits_for: str | None = "the agent is starting"
        self.started = asyncio.Event()

    @property
    def admin_port(self) -> int:
        """The port of the admin server, once `started`."""
        return self._admin.port

    def status(self) -> AgentStatus:
        """Return how the agent stands. Never blocks."""
        return standing(
            self._config,
            self._parts,
            self._telemetry,
            waits_for=self._waits_for,
            # A replica that stands by is as it should be; if it were not ready, a rollout would wait for it.
            is_ready_as_standby=self._parts.shared is not None and self._waits_for is _STANDBY,
            now_s=time.time(),
            started_at_s=self._started_at_s,
        )

    def stop(self, why: str) -> None:
        """Ask the agent to stop; `run` returns soon. Safe to call twice."""
        self._why_stop = self._why_stop or why
        self._stop_requested.set()

    def reload_settings(self) -> None:
        """Ask the workspace for the settings now, and look at the options of sources."""
        self._parts.keeper.request_reload()
        self._parts.source_options.request_look()

    async def run(self) -> None:
        """Run until asked to stop, or until another process owns the spool.

        Raises what made a part fail, as an ExceptionGroup; OwnershipLost alone when that came before the start.
        """
        threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="file")
        asyncio.get_running_loop().set_default_executor(threads)
        await self._admin.start(self._config.admin.host, self._config.admin.port)
        self._telemetry.admin_listens(self._config.admin.host, self._admin.port)
        try:
            if await self._own_spool():
                await self._work()
        finally:
            stopping_since = time.monotonic()
            self._waits_for = "the agent is stopping"
            await self._admin.stop()
            # Blocks on purpose: nothing else runs any more, and no thread may write once the spool is let go.
            threads.shutdown(wait=True)
            self._parts.spool.close()
            self._telemetry.agent_stopped(time.monotonic() - stopping_since)

    async def _own_spool(self) -> bool:
        """Wait until the spool's directory is ours; return False if a stop came first."""
        is_told = False
        while not self._stop_requested.is_set():
            try:
                if await asyncio.to_thread(self._try_own):
                    await self._tell_volume()
                    return True
                self._waits_for = _STANDBY
                if not is_told:
                    self._telemetry.standing_by(str(agent_directory(self._config)))
                    is_told = True
            except OwnershipLost:
                raise
            except SpoolUnavailable as error:
                self._waits_for = f"volume: {error}"
                self._telemetry.volume_failed("", error)
            except OSError as error:
                self._waits_for = f"volume: STORAGE_PATH cannot be used ({error.strerror})"
                self._telemetry.volume_failed("", _volume_error(self._waits_for))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), _STANDBY_LOOK_S)
        return False

    def _try_own(self) -> bool:
        """Take the directory, alone or together with other replicas; what is found there is opened. Blocks."""
        spool = self._parts.spool
        is_alone = spool.try_own()
        if is_alone:
            self._take_over_reference_state()
        if self._parts.shared is not None:
            return self._parts.shared.try_begin(spool, is_alone=is_alone)
        if is_alone:
            spool.open_existing()
        return is_alone

    async def _tell_volume(self) -> None:
        volume = await asyncio.to_thread(volume_of, agent_directory(self._config), Disk(), time.monotonic)
        self._telemetry.volume_found(volume.file_system, volume.fsync_s, volume.warning)

    def _take_over_reference_state(self) -> None:
        """Begin where a reference agent stopped, if one left its state here. Raises SpoolUnavailable and OSError."""
        directory = agent_directory(self._config)
        old_file = reference_file(directory.parent, self._config.agent.name)
        for taken in take_over(self._parts.spool, Disk(), directory, old_file, fault_of=find_unstorable):
            self._telemetry.reference_state_taken(
                taken.setting,
                cursor_time=taken.cursor_time,
                unsent=taken.unsent_events,
                known_ids=taken.known_ids,
                unreadable=taken.unreadable,
            )

    async def _work(self) -> None:
        self._telemetry.volume_works_again("")
        parts = self._parts
        async with contextlib.AsyncExitStack() as connections, asyncio.TaskGroup() as tasks:
            await connections.enter_async_context(parts.sources)
            await connections.enter_async_context(parts.workspace)

            def start(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                return tasks.create_task(work, name=name)

            if parts.shared is None:
                self._stop_when_taken_over()
            else:
                parts.shared.listen_to(parts.spool)
            running = [
                start("deliver", parts.deliverer.run()),
                start("schedule", parts.scheduler.run()),
                start("keep settings", parts.keeper.run()),
                start("watch settings file", parts.keeper.watch_file()),
                start("watch source options", self._watch_source_options()),
                start("maintain spool", self._maintain()),
                *([start("share settings", parts.shared.run())] if parts.shared else []),
            ]
            self._waits_for = None
            self._telemetry.agent_started(__version__, self._config.agent.name, len(parts.keeper.names))
            self.started.set()
            await self._stop_requested.wait()
            self._telemetry.agent_stopping(self._why_stop)
            await parts.scheduler.finish(_COLLECTION_GRACE_S)
            if parts.shared is not None:
                await parts.shared.deliver_rest()
            await parts.deliverer.drain(_POST_GRACE_S)
            if parts.shared is not None:
                await parts.shared.leave()
            for task in running:
                task.cancel()
            if self._taken_over is not None:
                raise self._taken_over

    async def _watch_source_options(self) -> None:
        parts = self._parts
        await parts.source_options.run(
            self._telemetry, lambda: parts.keeper.names, parts.scheduler.apply_intervals
        )

    def _stop_when_taken_over(self) -> None:
        """Begin again as standby, by a restart: what this process knows of the spool is not true any more."""
        loop = asyncio.get_running_loop()

        def stop(error: OwnershipLost) -> None:
            self._taken_over = error
            self.stop("another process owns the spool")

        def tell(_setting_name: str, error: OwnershipLost) -> None:
            loop.call_soon_threadsafe(stop, error)

        self._parts.spool.when_taken_over(tell)

    async def _maintain(self) -> None:
        while True:
            await asyncio.sleep(_MAINTENANCE_S)
            try:
                await asyncio.to_thread(self._parts.spool.maintain)
                if self._parts.shared is not None:
                    await self._parts.shared.owned.look_at_volume()
            except (OSError, SpoolUnavailable) as error:
                self._telemetry.volume_failed(
                    "", _volume_error(f"the spool could not be maintained: {error}")
                )
            else:
                self._telemetry.volume_works_again("")


def _volume_error(message: str) -> SpoolUnavailable:
    return SpoolUnavailable(message, Reason.DISK)
