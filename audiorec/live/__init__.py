"""Live streams, the host's part: sessions, and an engine of many over one runner. No torch: any runtime may compute."""

from audiorec.live.base import BaseRecognizer
from audiorec.live.engine import Engine
from audiorec.live.engine_session import EngineSession
from audiorec.live.session import Boundary, News, Session
from audiorec.live.stream import Stream

__all__ = ["BaseRecognizer", "Boundary", "Engine", "EngineSession", "News", "Session", "Stream"]
