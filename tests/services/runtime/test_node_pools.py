"""A node's pools can be used as far as they may be resized."""

import threading

from pydantic import ByteSize

from replication.log.block import BLOCK_BYTES_MAX
from services.runtime.node_pools import NodePools
from services.settings.memory_settings import PoolingSettings


def test_shared_buffers_suffice_after_resizing_and_clearing_by_another_thread() -> None:
    settings = PoolingSettings.model_validate({"messages": 16, "bytes_max": "64MiB", "block_bytes_max": "32MiB"})
    pools = NodePools(settings)
    messages = pools.messages
    pools.manager.resize_pool("messages", (64 << 20) // 4096)
    cleared, finish = threading.Event(), threading.Event()

    def clear_and_live_on() -> None:
        messages.clear()
        cleared.set()
        finish.wait(60)

    clearing = threading.Thread(target=clear_and_live_on)
    for buffer in [messages.borrow_object(0) for _ in range(messages.max_total)]:
        messages.return_object(buffer)
    clearing.start()
    assert cleared.wait(60)
    try:
        lent = [messages.borrow_object(0) for _ in range(messages.max_total)]
        assert len({buffer.offset_bytes for buffer in lent}) == 16_384
        for buffer in lent:
            messages.return_object(buffer)
    finally:
        finish.set()
        clearing.join()
    messages.clear()
    pools.close()


def test_preallocated_pools_make_nothing_under_load() -> None:
    settings = PoolingSettings.model_validate(
        {"preallocate": True, "block_bytes_max": "16MiB", "transactions": 100, "messages": 1}
    )
    pools = NodePools(settings)
    for pool, objects in ((pools.blocks, 3), (pools.transactions, 100)):
        assert (pool.max_total, pool.get_metrics().made) == (objects, objects)
    lent = [pools.blocks.borrow_object(0) for _ in range(3)]
    assert pools.blocks.get_metrics().made == 3
    for buffer in lent:
        pools.blocks.return_object(buffer)
    pools.close()


def test_block_buffers_take_no_more_than_their_bytes() -> None:
    for block_bytes_max in (16 << 20, 80 << 20, 400 << 20):
        pools = NodePools(PoolingSettings(block_bytes_max=ByteSize(block_bytes_max)))
        assert pools.blocks.max_total == block_bytes_max // BLOCK_BYTES_MAX
        pools.close()
