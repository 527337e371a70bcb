"""Features by kind: what turns samples into the frames that an encoder reads."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from audiorec.audio.logmel import LogMel
from audiorec.audio.nemo import NemoMel
from audiorec.config import Config, Registry

# A kind is a StreamingModule from samples (B, T, 1) in [−1, 1] to (B, T', output_dim), made from its config alone, with
# ``sample_rate`` (hertz; its config has one, too) and ``set_statistics(mean, std)``, each (output_dim,).
FEATURES = Registry("features")
FEATURES.register(LogMel)
FEATURES.register(NemoMel)


def _with_kind(value: Any) -> Any:
    """Recipes and models need not name the kind of features: there was one only."""
    return {"kind": "log_mel", **value} if isinstance(value, Mapping) else value


Features: Any = Annotated[FEATURES.field, BeforeValidator(_with_kind)]
DEFAULT: Config = LogMel.Config()
