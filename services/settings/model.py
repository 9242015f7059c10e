"""Settings of a node, in groups, validated before anything is opened or bound.

`services.settings.layers` reads them from YAML files, the environment and the command line. Every setting is named
``group.name``; units stand last in a name.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from penstock.contract.target import PORT_MAX, parse_listen_address, status_target
from services.settings.memory_settings import PoolingSettings, QueueSettings, StateSettings
from services.settings.written_values import MIB, NAMESPACE_MAX, OR_NONE, PAGE_BYTES, Group, TextList, namespace_range


class IdentitySettings(Group):
    """Who the node is, and where it keeps its files."""

    name: str = Field(default="penstock-1", min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")
    """Unique among the nodes of a cluster; names the node in metrics, traces and the process list."""
    data_dir: Path = Path("penstock-data")
    """Holds the log; one node at a time. Made where it does not exist."""
    cluster_id: int = Field(default=1, ge=1, lt=1 << 64)
    """Written into every segment; a node refuses a log that carries another."""
    clock: Literal["check", "accept"] = "check"
    """``check``: a node refuses to start where its clock is further ahead of the log's last block than
    ``clock_jump_max_s``, and lets the time of blocks stand where it is behind. ``accept``: the first block takes the
    clock's time, whatever it is; for one start, after the clock was found to be right."""
    clock_jump_max_s: int = Field(default=2_592_000, ge=1)
    """Seconds by which the time of blocks may jump ahead: longer than a node is ever down or idle. 30 days."""


class ListenSettings(Group):
    """Where the gRPC services are offered. There is no TLS yet: keep them on this machine or on a trusted network."""

    addresses: TextList = Field(default=("127.0.0.1:50051",), min_length=1)
    """Each ``host:port`` (port 0: any free one), ``[ipv6]:port`` or ``unix:/path``."""

    status_addresses: Annotated[TextList | None, OR_NONE] = None
    """Where health and status are told besides, by threads of their own, whatever goes on at ``addresses``: for
    readiness probes, and for operators. none: beside each Unix socket, its path with ``.status`` behind."""

    @field_validator("addresses", "status_addresses")
    @classmethod
    def _check_addresses(cls, addresses: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for address in addresses or ():
            parse_listen_address(address)
        if len(set(addresses or ())) != len(addresses or ()):
            raise ValueError("an address is named twice; name each once")
        return addresses

    @model_validator(mode="after")
    def _check_addresses_differ(self) -> Self:
        for address in self.status_addresses or ():
            if address in self.addresses and not address.endswith(":0"):
                raise ValueError(f"listen.status_addresses names {address}, one of listen.addresses; choose another")
        return self

    def status_at(self) -> list[str]:
        """Give the addresses at which health and status are told besides."""
        if self.status_addresses is not None:
            return list(self.status_addresses)
        beside = [status_target(address) for address in self.addresses]
        return [address for address in beside if address is not None]


class LogSettings(Group):
    """The write-ahead log."""

    segment_bytes: ByteSize = Field(default=ByteSize(64 * MIB), ge=8 * MIB, le=4096 * MIB, multiple_of=PAGE_BYTES)
    """Size of one segment file; a multiple of 4 KiB."""
    sync_mode: Literal["block", "interval", "none"] = "block"
    """``block``: an answer follows fdatasync. ``interval``: a crash of the machine loses up to ``sync_interval_ms`` of
    answered transactions. ``none``: it loses what the kernel had not written. A killed process loses nothing at all."""
    sync_interval_ms: int = Field(default=50, ge=1, le=60_000)
    """Milliseconds between syncs where ``sync_mode`` is ``interval``; of no meaning otherwise."""


class AdmissionSettings(Group):
    """What is admitted, and how much of it at a time."""

    namespaces: TextList = Field(default=(f"0-{NAMESPACE_MAX}",), min_length=1)
    """Numbers and ranges, for example ``0-9,100``. Others are refused (``NAMESPACE_NOT_ALLOWED``), to transactions,
    reads and watches alike; a watch of all namespaces is one of these."""
    in_flight_frames_max: int = Field(default=4096, ge=1)
    """Frames of the whole node that await their receipts. More are refused where they are sent one per call
    (``IN_FLIGHT_LIMIT``); streams are read no further until some are answered."""
    stream_in_flight_frames_max: int = Field(default=64, ge=1)
    """Frames of one stream that await their receipts; that stream is read no further until some are written."""
    streams_max: int = Field(default=512, ge=1, le=8192)
    """Submit streams open at once. More are refused (``CALLS_LIMIT``). Each can make the node hold two frames, up to 5
    MiB each."""
    connection_streams_max: int = Field(default=128, ge=1, le=8192)
    """Submit streams of one connection. On Unix sockets, Penstock clients are told apart, and others by user-agent."""
    watches_max: int = Field(default=256, ge=1, le=8192)
    """Watches open at once. More are refused (``CALLS_LIMIT``). Each can make the node hold about 2 MiB."""
    connection_watches_max: int = Field(default=64, ge=1, le=8192)
    """Watches of one connection; see ``connection_streams_max``."""
    call_bytes_max: int = Field(default=512 << 20, ge=64 << 20)
    """Memory that calls may take beyond what the node had when it began to serve. Where it is more, calls that wait for
    a message are ended (``MEMORY_LIMIT``), the oldest first, until it is not: halves of messages have no other bound.
    """
    retry_after_ms: int = Field(default=20, ge=1, le=60_000)
    """What a refused client is told to wait (``RetryInfo``)."""

    @field_validator("namespaces")
    @classmethod
    def _check_namespaces(cls, namespaces: tuple[str, ...]) -> tuple[str, ...]:
        for text in namespaces:
            namespace_range(text)
        return namespaces

    def allowed_namespaces(self) -> list[int] | None:
        """Give the admitted namespaces' numbers in order, or None for all of them."""
        allowed = set().union(*(namespace_range(text) for text in self.namespaces))
        return None if len(allowed) == NAMESPACE_MAX + 1 else sorted(allowed)


class TelemetrySettings(Group):
    """Metrics and traces. Off by default, when they cost nothing."""

    prometheus: bool = False
    """Serve metrics to be scraped at ``http://<prometheus_host>:<prometheus_port>/metrics``."""
    prometheus_host: str = Field(default="127.0.0.1", min_length=1)
    prometheus_port: int = Field(default=9464, ge=0, le=PORT_MAX)
    """0: any free one."""
    otlp_endpoint: Annotated[str | None, OR_NONE] = Field(default=None, pattern=r"^https?://")
    """Push metrics and traces to this OTLP endpoint over gRPC, for example ``http://127.0.0.1:4317``."""
    otlp_interval_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds between pushes of metrics."""
    trace_ratio: float = Field(default=0.001, ge=0, le=1)
    """Share of blocks that get a span. A block with a sampled submitter always gets one."""


class MonitorSettings(Group):
    """aiomonitor, an inspector of the running event loop. It gives full control of the process."""

    enabled: bool = False
    port: int = Field(default=20101, ge=1, le=PORT_MAX - 2)
    """Loopback only: telnet here, the web page on the next port, the Python console on the one after it."""


class ShutdownSettings(Group):
    """How a node ends."""

    grace_s: float = Field(default=10.0, ge=0, le=3600)
    """Seconds given to calls in progress; what was accepted is answered first."""


class NodeSettings(Group):
    """All settings of a node. Unknown groups and names are refused."""

    node: IdentitySettings = IdentitySettings()
    listen: ListenSettings = ListenSettings()
    log: LogSettings = LogSettings()
    queue: QueueSettings = QueueSettings()
    pooling: PoolingSettings = PoolingSettings()
    state: StateSettings = StateSettings()
    admission: AdmissionSettings = AdmissionSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    monitor: MonitorSettings = MonitorSettings()
    shutdown: ShutdownSettings = ShutdownSettings()

    @model_validator(mode="after")
    def _check_ports_differ(self) -> Self:
        monitor_ports = range(self.monitor.port, self.monitor.port + 3)
        if self.monitor.enabled and self.telemetry.prometheus and self.telemetry.prometheus_port in monitor_ports:
            raise ValueError(
                f"telemetry.prometheus_port {self.telemetry.prometheus_port} is one of the three ports from "
                f"monitor.port {self.monitor.port} on, which the monitor takes; move one of them"
            )
        return self


def setting_names() -> list[str]:
    """Give every setting's ``group.name``, in the order in which they are shown."""
    names = []
    for group, field in NodeSettings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert issubclass(field.annotation, Group)
        names += [f"{group}.{name}" for name in field.annotation.model_fields]
    return names
