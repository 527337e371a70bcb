"""``Refused``: why a client does not get what it asked for, in words, as an HTTP status and as a WebSocket close code."""

# reason → HTTP status, WebSocket close code
REASONS = {
    "unauthorized": (401, 1008),
    "forbidden_origin": (403, 1008),
    "unknown_model": (404, 1008),
    "unknown_path": (404, 1008),
    "bad_request": (400, 1007),
    "bad_audio": (400, 1007),
    "too_big": (413, 1009),
    "too_long": (413, 1008),
    "idle": (408, 1008),
    "too_slow": (408, 1008),
    "busy": (503, 1013),
    "shutting_down": (503, 1012),
    "failed": (500, 1011),
}
WITH_WORDS = {
    "too_long",
    "idle",
    "shutting_down",
}  # the server ends the stream; its words so far are good, and are sent


class Refused(Exception):
    """``reason`` is a key of ``REASONS``; the message is one line that says how to mend it, and goes to the client."""

    def __init__(self, reason: str, message: str):
        super().__init__(" ".join(message.split()))
        self.reason = reason
        self.status, self.close_code = REASONS[reason]


class Gone(Exception):
    """The client has left."""
