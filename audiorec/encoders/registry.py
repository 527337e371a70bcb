"""The kinds of encoders. Each is a StreamingModule from feature frames to encoder frames, built from its typed config."""

from audiorec.config import Registry

ENCODERS = Registry("encoder")
