"""The options about replicas: how they share the settings of one agent."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from oase_agent.config.options import Bounds, OptionGroup, option


class CoordinationOptions(OptionGroup):
    """Replicas: how several processes of one agent share its settings.

    Every setting has one owner at a time. Without coordination a second process waits until the first one ends.
    """

    engine: Literal["auto", "none", "volume", "kubernetes"] = option(
        "COORDINATION",
        "What the replicas share the settings by: Leases of Kubernetes, locks on the volume (replicas on one host), "
        "or none. auto is kubernetes where POD_NAMESPACE and a service account token are there, else none.",
        must_be="auto, none, volume or kubernetes",
        default="auto",
        new=True,
    )
    lease_s: Annotated[float, Field(allow_inf_nan=False), Bounds(5, 600)] = option(
        "COORDINATION_LEASE_S",
        "Seconds after which a replica that gives no sign is taken for dead and its settings are taken over.",
        must_be="a number",
        default="25",
        new=True,
    )
    volume: Literal["shared", "own"] = option(
        "COORDINATION_VOLUME",
        "Whether the replicas share the volume of STORAGE_PATH, or each has its own: then the cursors travel in the "
        "Leases, and what a replica left behind is delivered when it returns.",
        must_be="shared or own",
        default="shared",
        new=True,
    )
    slots: Annotated[int, Bounds(1, 100)] = option(
        "COORDINATION_SLOTS",
        "Most replicas that work at the same time by Leases; further ones stand by. The chart's Role names as many.",
        must_be="a whole number",
        default="10",
        new=True,
    )
    namespace: str | None = option(
        "POD_NAMESPACE",
        "Namespace of the Leases. The chart sets it.",
        must_be="a namespace",
        default=None,
        default_text="–",
        new=True,
    )
    pod_name: str | None = option(
        "POD_NAME",
        "Name of the pod, for people who read the Leases. The chart sets it.",
        must_be="a name",
        default=None,
        default_text="–",
        new=True,
    )
    api_host: str | None = option(
        "KUBERNETES_SERVICE_HOST",
        "Address of the API server. Kubernetes sets it.",
        must_be="a host name or address",
        default=None,
        default_text="–",
        new=True,
    )
    api_port: Annotated[int, Field(ge=1, le=65535)] = option(
        "KUBERNETES_SERVICE_PORT",
        "Port of the API server. Kubernetes sets it.",
        must_be="a whole number, 1 to 65535",
        default="443",
        new=True,
    )
    service_account: Path = option(
        "SERVICE_ACCOUNT_PATH",
        "Folder with token and ca.crt of the service account.",
        must_be="the path of a folder",
        default="/var/run/secrets/kubernetes.io/serviceaccount",
        new=True,
    )
