"""A server of ranges on this machine, which counts the bytes that it gives away."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Served:
    """A folder behind a URL; `served` counts the bytes of bodies, `requests` how many there were.

    `ranges` may be switched off, and an answer cut in the middle (`cut`) or refused (`refuses`).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.served = 0
        self.requests = 0
        self.ranges = True
        self.cut = False
        self.refuses = False
        self.lock = threading.Lock()


class Server(ThreadingHTTPServer):
    """One that takes as many connections at once as clients make: the sixth may be forgotten."""

    request_queue_size = 256


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """The folder behind a URL inside the `with` block."""
    state = Served(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16  # else the head of an answer waits to be acknowledged
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, body: bool) -> None:
            path = state.folder / self.path.lstrip("/")
            if state.refuses:
                self.send_response(403)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                return self.end_headers()
            data, status = path.read_bytes(), os.stat(path)
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            part = data
            if asked and state.ranges:
                first, last = int(asked[1]), min(int(asked[2]), len(data) - 1)
                part = data[first : last + 1]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
            else:
                self.send_response(200)
            self.send_header("ETag", f'"{status.st_mtime_ns}-{status.st_size}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if body:
                with state.lock:
                    state.served += len(part)
                    state.requests += 1
                self.wfile.write(part[: len(part) // 2] if state.cut else part)
                self.close_connection = state.cut
            return None

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
