"""Command line of a node. Importing it, which is the first thing that a command does, has SIGTERM heard.

The kernel drops signals to the first process of a container that has no handler for them, and a node's start takes
seconds: a stop in between would be lost, and the container killed later. Elsewhere the signal ends a process by itself.
"""

import os
import signal
from typing import Final

EXIT_TERMINATED: Final = 128 + signal.SIGTERM

if os.getpid() == 1:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_TERMINATED))
