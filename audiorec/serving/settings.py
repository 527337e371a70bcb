"""What a server allows: ``Limits`` of its clients, and ``Access``, who may come."""

from pydantic import Field, PositiveFloat, PositiveInt

from audiorec.config import Config

MIB = 2**20


class Limits(Config):
    sessions: PositiveInt = Field(64, description="streams at once, of each model")
    seconds: PositiveFloat = Field(4 * 3600.0, description="of audio in a session")
    idle_seconds: PositiveFloat = Field(60.0, description="without a message, after which a session is ended")
    bytes_per_second: PositiveFloat | None = Field(
        None, description="of audio from a session; a faster one is slowed down"
    )
    message_bytes: PositiveInt = Field(16 * MIB, description="of a WebSocket message")
    upload_bytes: PositiveInt = Field(128 * MIB, description="of a file to transcribe")
    send_seconds: PositiveFloat = Field(30.0, description="that a client may take to read what it was sent")


class Access(Config):
    """``token`` None: everybody. ``origins``: pages of other hosts that may use the server from a browser; "*" is any."""

    token: str | None = Field(None, min_length=1)
    origins: tuple[str, ...] = ()
