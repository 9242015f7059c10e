"""Settings of a node, in groups, validated before anything is opened or bound.

`services.settings.layers` reads them from YAML files, the environment and the command line. Every setting is named
``group.name``; units stand last in a name.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from penstock.contract.record import RECORD_BYTES
from penstock.contract.target import PORT_MAX, parse_listen_address
from statestore.session_bounds import SessionBounds
from txqueue.ring.wait_strategy import WaitStrategy

_MIB: Final = 1 << 20
_NAMESPACE_MAX: Final = 65_535
_PAGE_BYTES: Final = 4096


def _split_commas(value: Any) -> Any:
    """Take ``a,b`` for a list where only text can be given: in the environment and on the command line."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        return [part.strip() for part in str(value).split(",") if part.strip()]
    if isinstance(value, list):
        return [str(part) if isinstance(part, int) else part for part in value]
    return value


def _namespace_range(text: str) -> range:
    first, separator, last = text.partition("-")
    bounds = [first, last] if separator else [first, first]
    if not all(bound.isascii() and bound.isdigit() for bound in bounds):
        raise ValueError(f"{text!r}: write a number or a range such as 0-9")
    if any(bound != "0" and bound.startswith("0") for bound in bounds):
        raise ValueError(f"{text!r}: write numbers without leading zeros, which make them octal to some")
    low, high = int(bounds[0]), int(bounds[1])
    if low > high or high > _NAMESPACE_MAX:
        raise ValueError(f"{text!r}: namespaces are 0 to {_NAMESPACE_MAX}, the lower one first")
    return range(low, high + 1)


def _none_of_text(value: Any) -> Any:
    """Take ``none`` for an absent value where only text can be given."""
    return None if value == "none" else value


def _check_power_of_two(number: int) -> int:
    if number & (number - 1):
        raise ValueError(f"must be a power of two, for example {1 << number.bit_length()}")
    return number


_POWER_OF_TWO: Final = AfterValidator(_check_power_of_two)

TextList = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class IdentitySettings(_Group):
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


class ListenSettings(_Group):
    """Where the gRPC services are offered. There is no TLS yet: keep them on this machine or on a trusted network."""

    addresses: TextList = Field(default=("127.0.0.1:50051",), min_length=1)
    """Each ``host:port`` (port 0: any free one), ``[ipv6]:port`` or ``unix:/path``."""

    @field_validator("addresses")
    @classmethod
    def _check_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for address in addresses:
            parse_listen_address(address)
        if len(set(addresses)) != len(addresses):
            raise ValueError("an address is named twice; name each once")
        return addresses


class LogSettings(_Group):
    """The write-ahead log."""

    segment_bytes: ByteSize = Field(default=ByteSize(64 * _MIB), ge=8 * _MIB, le=4096 * _MIB, multiple_of=_PAGE_BYTES)
    """Size of one segment file; a multiple of 4 KiB."""
    sync_mode: Literal["block", "interval", "none"] = "block"
    """``block``: an answer follows fdatasync. ``interval``: a crash of the machine loses up to ``sync_interval_ms`` of
    answered transactions. ``none``: it loses what the kernel had not written. A killed process loses nothing at all."""
    sync_interval_ms: int = Field(default=50, ge=1, le=60_000)
    """Milliseconds between syncs where ``sync_mode`` is ``interval``; of no meaning otherwise."""


class QueueSettings(_Group):
    """The ring between admission and the sequencer."""

    slots: Annotated[int, _POWER_OF_TWO] = Field(default=4096, ge=512, le=1 << 16)
    """Frames that wait at most; a power of two."""
    producer_buffer_bytes: Annotated[ByteSize, _POWER_OF_TWO] = Field(
        default=ByteSize(16 * _MIB), ge=8 * _MIB, le=1024 * _MIB, multiple_of=_PAGE_BYTES
    )
    """Each producer's own space for frames; the file is sparse, so only what was ever used takes memory."""
    wait: WaitStrategy = WaitStrategy.PARK
    """How the sequencer waits for a frame. ``park`` sleeps and takes no time when idle; ``yield`` and ``spin`` see a
    frame some microseconds sooner, and keep a core busy for that."""


class StateSettings(_Group):
    """The tables of the state machine."""

    bytes_max: ByteSize = Field(default=ByteSize(8192 * _MIB), ge=64 * _MIB)
    """Address space set aside for the tables; pages are taken when first touched. A frame that the tables might not
    hold is refused (``STATE_FULL``)."""
    session_capacity: int = Field(default=262_144, ge=1, le=1 << 20)
    """Clients remembered at once for their sequences; fewer where half of ``session_bytes_max`` does not hold so many.
    This and the next two are written into the log: a node that is started with others changes them for all."""
    session_horizon_s: int = Field(default=3600, ge=1)
    """A client that is idle for less is remembered; where there is no room, one that was idle for longer makes it."""
    session_bytes_max: Annotated[ByteSize | None, BeforeValidator(_none_of_text)] = Field(default=None, ge=_MIB)
    """Part of ``bytes_max`` for clients and the results that are remembered of them, at most half of it; none: an
    eighth, and 1 GiB at most."""

    @model_validator(mode="after")
    def _check_session_bytes(self) -> Self:
        if self.session_bytes_max is not None and self.session_bytes_max > self.bytes_max // 2:
            raise ValueError(
                f"state.session_bytes_max {int(self.session_bytes_max)} is more than half of state.bytes_max "
                f"{int(self.bytes_max)}; lower it or raise that"
            )
        return self

    def session_bounds(self) -> SessionBounds:
        """Give the bounds on sessions that these settings ask for."""
        horizon_ns = self.session_horizon_s * 1_000_000_000
        if self.session_bytes_max is None:
            return SessionBounds.within(self.bytes_max, self.session_capacity, horizon_ns)
        return SessionBounds.of_bytes(self.session_capacity, horizon_ns, self.session_bytes_max)


class PoolingSettings(_Group):
    """The object pools, and garbage collection."""

    bytes_max: ByteSize = Field(default=ByteSize(512 * _MIB), ge=64 * _MIB)
    """What the objects of any one pool may take at most, and what all pools hold together when they are sized anew."""
    transactions: int = Field(default=10_000, ge=1)
    """Single records at most, for transactions that are sent one by one."""
    block_bytes_max: ByteSize = Field(default=ByteSize(80 * _MIB), ge=16 * _MIB)
    """What the buffers of blocks may take, each counted as large as a block can be: header, records and payloads, 4.6
    MiB. The default makes 17 buffers; ``GetPoolMetrics`` gives the number in force (``max_total`` of the pool
    ``blocks``). When all hold blocks under way the ring fills, then clients are pushed back: more memory here makes
    queues longer, not the node faster."""
    messages: int = Field(default=50_000, ge=1)
    """Buffers shared with other processes of the host at most."""
    message_bytes: Annotated[ByteSize, _POWER_OF_TWO] = Field(default=ByteSize(_PAGE_BYTES), ge=_PAGE_BYTES, le=_MIB)
    """Size of each; a power of two."""
    preallocate: bool = False
    """Make all transactions and block buffers at start. Otherwise memory is set aside then, and each is made when first
    needed."""
    optimize_interval_s: float = Field(default=0.0, ge=0, le=3600)
    """Seconds between learning from the demand and sizing the pools by it; 0: only when asked to (``PoolService``)."""
    gc_schedule: Literal["idle", "python"] = "idle"
    """``idle``: collect garbage while nothing is under way, or by a small budget; ``python``: as Python decides."""

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        largest = max(self.transactions * RECORD_BYTES, self.block_bytes_max, self.messages * self.message_bytes)
        if largest > self.bytes_max:
            raise ValueError(
                f"pooling.transactions times {RECORD_BYTES}, pooling.block_bytes_max, and pooling.messages times "
                f"pooling.message_bytes, are each at most pooling.bytes_max {int(self.bytes_max)}; raise it or lower "
                "them"
            )
        return self


class AdmissionSettings(_Group):
    """What is admitted, and how much of it at a time."""

    namespaces: TextList = Field(default=(f"0-{_NAMESPACE_MAX}",), min_length=1)
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
    retry_after_ms: int = Field(default=20, ge=1, le=60_000)
    """What a refused client is told to wait (``RetryInfo``)."""

    @field_validator("namespaces")
    @classmethod
    def _check_namespaces(cls, namespaces: tuple[str, ...]) -> tuple[str, ...]:
        for text in namespaces:
            _namespace_range(text)
        return namespaces

    def allowed_namespaces(self) -> list[int] | None:
        """Give the admitted namespaces' numbers in order, or None for all of them."""
        allowed = set().union(*(_namespace_range(text) for text in self.namespaces))
        return None if len(allowed) == _NAMESPACE_MAX + 1 else sorted(allowed)


class TelemetrySettings(_Group):
    """Metrics and traces. Off by default, when they cost nothing."""

    prometheus: bool = False
    """Serve metrics to be scraped at ``http://<prometheus_host>:<prometheus_port>/metrics``."""
    prometheus_host: str = Field(default="127.0.0.1", min_length=1)
    prometheus_port: int = Field(default=9464, ge=0, le=PORT_MAX)
    """0: any free one."""
    otlp_endpoint: Annotated[str | None, BeforeValidator(_none_of_text)] = Field(default=None, pattern=r"^https?://")
    """Push metrics and traces to this OTLP endpoint over gRPC, for example ``http://127.0.0.1:4317``."""
    otlp_interval_s: float = Field(default=10.0, gt=0, le=3600)
    """Seconds between pushes of metrics."""
    trace_ratio: float = Field(default=0.001, ge=0, le=1)
    """Share of blocks that get a span. A block with a sampled submitter always gets one."""


class MonitorSettings(_Group):
    """aiomonitor, an inspector of the running event loop. It gives full control of the process."""

    enabled: bool = False
    port: int = Field(default=20101, ge=1, le=PORT_MAX - 2)
    """Loopback only: telnet here, the web page on the next port, the Python console on the one after it."""


class ShutdownSettings(_Group):
    """How a node ends."""

    grace_s: float = Field(default=10.0, ge=0, le=3600)
    """Seconds given to calls in progress; what was accepted is answered first."""


class NodeSettings(_Group):
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
        assert issubclass(field.annotation, _Group)
        names += [f"{group}.{name}" for name in field.annotation.model_fields]
    return names
