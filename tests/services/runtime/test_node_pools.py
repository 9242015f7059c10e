"""A node's pools can be used as far as they may be resized."""

import threading

from services.runtime.node_pools import NodePools
from services.settings.model import PoolingSettings


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
