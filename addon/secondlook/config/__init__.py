"""Settings, parsed once into frozen values: `proxy.yaml` (Settings) and `server.yaml` (ServerSettings)."""

from secondlook.config.agent import SINGLE_WORKER_MODES, Settings
from secondlook.config.document import Fault, InvalidConfigError
from secondlook.config.query import (
    CircuitSettings,
    LocationSettings,
    PatternSettings,
    PolicySettings,
    Reference,
    RemoteServer,
    ServersSettings,
    UnverifiableSettings,
)
from secondlook.config.record import BlockPageSettings, LogSettings, SyslogSettings, WebhookSettings
from secondlook.config.scan import ClamdSettings, ScanSettings
from secondlook.config.service import (
    FeedSettings,
    LimitsSettings,
    PublishSettings,
    ServerSettings,
    UpstreamSettings,
)
from secondlook.config.source import load_server_settings, load_settings
from secondlook.config.traffic import (
    ArchiveSettings,
    ClientsSettings,
    DownloadsSettings,
    Group,
    TrafficLimitsSettings,
    UpstreamProxySettings,
)

__all__ = [
    "SINGLE_WORKER_MODES",
    "ArchiveSettings",
    "BlockPageSettings",
    "CircuitSettings",
    "ClamdSettings",
    "ClientsSettings",
    "DownloadsSettings",
    "Fault",
    "FeedSettings",
    "Group",
    "InvalidConfigError",
    "LimitsSettings",
    "LocationSettings",
    "LogSettings",
    "PatternSettings",
    "PolicySettings",
    "PublishSettings",
    "Reference",
    "RemoteServer",
    "ScanSettings",
    "ServerSettings",
    "ServersSettings",
    "Settings",
    "SyslogSettings",
    "TrafficLimitsSettings",
    "UnverifiableSettings",
    "UpstreamProxySettings",
    "UpstreamSettings",
    "WebhookSettings",
    "load_server_settings",
    "load_settings",
]
