"""``/v1/about``: what a server has and allows; and ``/v1/stream`` by HTTP: why a WebSocket is refused there."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from audiorec import __version__
from audiorec.serving.access import must_be_allowed
from audiorec.serving.service import Served, Service


async def about(request: Request) -> Response:
    """For clients that offer a choice of models."""
    service: Service = request.app.state.service
    must_be_allowed(request, service.access)
    return JSONResponse(
        {
            "server": "audiorec",
            "version": __version__,
            "models": [_model(served) for served in service.models.values()],
            "max_seconds": service.limits.seconds,
            "max_upload_bytes": service.limits.upload_bytes,
        }
    )


def _model(served: Served) -> dict[str, object]:
    return {
        "name": served.name,
        "base": served.base,
        "latency_ms": round(served.latency_ms, 1),
        "sample_rate": served.sample_rate,
        "hotwords": served.engine.revises,  # only a beam takes them
    }


async def why(request: Request) -> Response:
    """Browsers do not tell a page why a WebSocket was refused, so it asks here: with POST, for they name a page's origin in
    no GET of its own server."""
    service: Service = request.app.state.service
    must_be_allowed(request, service.access)
    service.must_run()
    error = {"code": "upgrade_required", "message": "this address is a WebSocket's; docs/serving.md says what it takes"}
    return JSONResponse({"error": error}, 426, {"Upgrade": "websocket"})
