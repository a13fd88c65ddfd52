"""The program of a process that computes blocks for another one, and ends with it.

It takes messages on its standard input, each a length of 8 bytes and a pickle, and answers on its
standard output in the same way. What a step prints goes to standard error.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import sys
import threading
from typing import IO, Any

import cloudpickle

LENGTH = struct.Struct("<Q")


def send(pipe: IO[bytes], message: Any) -> None:
    """Write one message, with functions of notebooks and scripts as they are."""
    content = cloudpickle.dumps(message)
    pipe.write(LENGTH.pack(len(content)))
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> Any:
    """Read one message.

    Raises
    ------
    EOFError : where the other side has ended
    """
    return pickle.loads(_exactly(pipe, LENGTH.unpack(_exactly(pipe, LENGTH.size))[0]))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    content = pipe.read(count)
    if len(content) < count:
        raise EOFError("the other process has ended")
    return content


def main() -> None:
    """Do what comes, until nothing comes any more."""
    # Ctrl-C reaches all processes of a terminal; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, messages), daemon=True).start()
    from usidx.process.running.parcel import perform

    shared: dict[str, bytes] = {}
    while True:
        parcel, new = messages.get()
        shared.update(new)
        send(outbox, perform(parcel, *(shared[name] for name in parcel.shared)))


def _listen(inbox: IO[bytes], messages: queue.SimpleQueue[Any]) -> None:
    """Hand on messages; end the process with the one that sends them, even within a block."""
    try:
        while True:
            messages.put(receive(inbox))
    except EOFError:
        os._exit(0)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
