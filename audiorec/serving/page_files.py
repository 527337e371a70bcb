"""The page at ``/``: a few files, each an address of its own. They are read once; no request ever names a file of the disk."""

import hashlib
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audiorec.serving.access import must_come_from_here

FOLDER = Path(__file__).parent / "page"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
# The page runs its own scripts and talks to this server alone; no other page may hold it in a frame.
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "worker-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # ask each time whether it changed, so that a new version is seen at once
}


class PageFile:
    """One file of the page. It needs no token: the page has to be there to ask for one."""

    def __init__(self, path: Path):
        self.content = path.read_bytes()
        self.headers = {**HEADERS, "ETag": f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'}
        self.type = TYPES[path.suffix]

    async def answer(self, request: Request) -> Response:
        must_come_from_here(request, request.app.state.service.access, any_name=True)
        if request.headers.get("if-none-match") == self.headers["ETag"]:
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers, media_type=self.type)


def page_routes() -> list[Route]:
    """``/`` and ``/page/NAME`` of each file."""
    routes = []
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in TYPES:
            address = "/" if path.name == "index.html" else f"/page/{path.name}"
            routes.append(Route(address, PageFile(path).answer))
    return routes
