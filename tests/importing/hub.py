"""A Hugging Face hub of one repository, on this machine, as far as ``huggingface_hub`` asks one."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serving(repository: str, folder: Path) -> Iterator[str]:
    """Its address, for ``HF_ENDPOINT``, while it serves the files of ``folder``."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            path = self.path.partition("?")[0]
            name = path.removeprefix(f"/{repository}/resolve/{COMMIT}/")
            if name in sizes:
                self.answer((folder / name).read_bytes())
            elif path.startswith(f"/api/models/{repository}/tree/"):
                self.answer([{"type": "file", "path": name, "size": size, "oid": name} for name, size in sizes.items()])
            elif path in (f"/api/models/{repository}", f"/api/models/{repository}/revision/main"):
                self.answer({"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in sizes]})
            else:
                self.answer({"error": "Repository not found"}, 404)

        do_GET = do_HEAD

        def answer(self, content: object, status: int = 200) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hash(body) & (1 << 60) - 1:x}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
