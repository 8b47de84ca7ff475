"""What shipping tells operators in numbers."""

from prometheus_client import Counter

from charkha.kit.telemetry import REGISTRY

SHIPPED = Counter("charkha_inferences_shipped", "Inferences written to the log.", registry=REGISTRY)
LOST = Counter(
    "charkha_inferences_without_end", "Inferences whose process died before it told their end.", registry=REGISTRY
)
DAMAGED = Counter("charkha_spool_damaged_records", "Places in the spool that could not be read.", registry=REGISTRY)
