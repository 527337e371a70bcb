"""``Metrics``: what a server counts, as text for Prometheus."""

from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from audiorec.live.stats import LATENCY_BOUNDS

if TYPE_CHECKING:
    from audiorec.live import Engine

SECONDS = [bound for bound in LATENCY_BOUNDS if bound != float("inf")]


class Metrics:
    def __init__(self, engines: Callable[[], Iterable[tuple[str, "Engine"]]]):
        self._engines = engines
        self._registry = registry = CollectorRegistry()
        self.sessions = Counter("audiorec_sessions", "Sessions that began", ["model", "protocol"], registry=registry)
        self.refusals = Counter(
            "audiorec_refusals", "Requests and sessions refused or ended by the server", ["reason"], registry=registry
        )
        self.audio = Counter("audiorec_audio_seconds", "Seconds of audio taken", ["model"], registry=registry)
        self.finalise = Histogram(
            "audiorec_finalise_seconds",
            "From a flush or the end of the audio until its words are there",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        registry.register(self)  # it has ``collect``, as a collector needs

    def text(self) -> bytes:
        """Waits for the engines: to be called in a thread of its own."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What the engines count themselves."""
        families = {
            "streams": GaugeMetricFamily("audiorec_streams", "Streams that are open", labels=["model"]),
            "slots": GaugeMetricFamily("audiorec_slots", "Streams that may be open", labels=["model"]),
            "batch_fill": GaugeMetricFamily("audiorec_batch_fill", "Mean share of slots in a step", labels=["model"]),
            "state_bytes": GaugeMetricFamily("audiorec_state_bytes", "States of all slots", labels=["model"]),
            "real_time_factor": GaugeMetricFamily(
                "audiorec_real_time_factor", "Seconds of computing per second of audio", labels=["model"]
            ),
        }
        latency = HistogramMetricFamily(
            "audiorec_piece_to_words_seconds",
            "From the samples that complete a period until its words are there",
            labels=["model"],
        )
        for name, engine in self._engines():
            stats = engine.stats()
            for key, family in families.items():
                family.add_metric([name], getattr(stats, key))
            bounds = [*map(str, SECONDS), "+Inf"]
            counts = list(zip(bounds, accumulate(stats.latency_counts), strict=True))
            latency.add_metric([name], counts, stats.latency_seconds)
        yield from families.values()
        yield latency
