"""One queue in the hands of several threads: the collector's, the deliverer's and the one that packs."""

import threading
from pathlib import Path

import pytest

from oase_agent.spool.queue import QueueFigures
from tests.spool.queue_stage import START, Clock, Witness, account_of, collect, ids_in, open_queue

FILES = 400


@pytest.mark.parametrize("packs", [False, True])
def test_collecting_settling_and_looking_at_once_keeps_order_and_numbers(tmp_path: Path, packs: bool) -> None:
    witness = Witness()
    queue = open_queue(tmp_path, Clock(), telemetry=witness)
    names = [str(number) for number in range(FILES)]
    left: list[str] = []
    seen: list[QueueFigures] = []
    troubles: list[BaseException] = []
    half_is_there, all_collected, all_done = threading.Event(), threading.Event(), threading.Event()

    def collector() -> None:
        for number, name in enumerate(names):
            collect(queue, name, time=START + number)
            if number == FILES * 3 // 4:
                half_is_there.set()
        all_collected.set()

    def deliverer() -> None:
        half_is_there.wait()
        while len(left) < FILES and not (all_collected.is_set() and not queue.has_waiting):
            if batches := queue.peek(2_000):
                queue.before_sending(batches[-1])
                left.extend(ids_in(batches))
                queue.settle(batches)
        all_done.set()

    def packer() -> None:
        while packs and not all_done.wait(0.002):
            queue.pack()

    def watcher() -> None:
        while not all_done.wait(0.0005):
            if (figures := queue.figures()) is not None:
                seen.append(figures)

    def guarded(work: object) -> None:
        assert callable(work)
        try:
            work()
        except BaseException as error:
            troubles.append(error)
            half_is_there.set()
            all_done.set()

    threads = [
        threading.Thread(target=guarded, args=(work,)) for work in (collector, deliverer, packer, watcher)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert troubles == []
    assert left == names
    assert witness.damages == []
    assert account_of(queue) == (FILES, FILES, 0, 0)
    assert account_of(open_queue(tmp_path, Clock())) == (FILES, FILES, 0, 0)
    assert seen
