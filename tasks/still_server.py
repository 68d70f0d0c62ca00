"""Stills for a provider that itself runs on this machine (a sandbox): served on loopback while the run lasts, nothing to set up."""

import hashlib
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["StillServer"]


class StillServer:
    """An HTTP server on 127.0.0.1 that knows the stills it was given, each under the hash of its bytes."""

    def __init__(self) -> None:
        self._shelf: dict[str, tuple[bytes, str]] = {}
        self._server: ThreadingHTTPServer | None = None
        self._lock = threading.Lock()

    def url(self, content: bytes, suffix: str, content_type: str) -> str:
        """The address under which `content` is served from now on; the first call starts the server."""
        path = f"/{hashlib.sha256(content).hexdigest()}{suffix}"
        with self._lock:
            self._shelf[path] = (content, content_type)
            if self._server is None:
                self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._shelf))
                threading.Thread(target=self._server.serve_forever, name="stills", daemon=True).start()
            port = self._server.server_address[1]
        return f"http://127.0.0.1:{port}{path}"

    def close(self) -> None:
        """Stop serving; harmless where nothing was served."""
        with self._lock:
            if self._server is not None:
                self._server.shutdown()
                self._server.server_close()
                self._server = None


def _handler(shelf: dict[str, tuple[bytes, str]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content, content_type = shelf.get(self.path, (b"", ""))
            self.send_response(HTTPStatus.OK if content_type else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", content_type or "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - the base class names it so

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Nothing is logged: a still's address says what is in production."""

    return Handler
