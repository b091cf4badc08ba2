"""Detectors of the category network, in the order in which they are asked."""

from __future__ import annotations

from detectors import Detector
from detectors.network.bind_shell import BindShell
from detectors.network.dns_tunnel import DnsTunnel
from detectors.network.download_run import DownloadRun
from detectors.network.egress import Egress
from detectors.network.engine_api import EngineApi
from detectors.network.kubernetes_api import KubernetesApi
from detectors.network.metadata_service import MetadataService
from detectors.network.netlink_socket import NetlinkSocket
from detectors.network.packet_socket import PacketSocket
from detectors.network.port_scan import PortScan
from detectors.network.raw_socket import RawSocket
from detectors.network.relay_ports import RelayPorts
from detectors.network.unusual_socket import UnusualSocket

DETECTORS: tuple[type[Detector], ...] = (
    MetadataService,
    EngineApi,
    Egress,
    BindShell,
    PacketSocket,
    KubernetesApi,
    DownloadRun,
    PortScan,
    DnsTunnel,
    RawSocket,
    UnusualSocket,
    NetlinkSocket,
    RelayPorts,
)
