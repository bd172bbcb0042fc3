"""A script run twice, side by side, as the two processes of a distributed run."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def in_two_processes(module: str, *arguments: str | Path) -> list[str]:
    """Runs a module's script over the loopback interface and returns what each process left on stderr."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(unused.getsockname()[1]), "GLOO_SOCKET_IFNAME": "lo"}
    # One thread each: what a process is left with on two cores.
    shared = os.environ | place | {"WORLD_SIZE": "2", "NODE_RANK": "0", "OMP_NUM_THREADS": "1"}
    started = []
    try:
        for rank in range(2):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *map(str, arguments)],
                    cwd=Path(__file__).parents[1],
                    env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        errors = [process.communicate(timeout=300)[1] for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0, 0], errors
    return errors
