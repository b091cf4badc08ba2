"""Detectors of the category process, in the order in which they are asked."""

from __future__ import annotations

from detectors import Detector
from detectors.process.bpf import Bpf
from detectors.process.call_probing import CallProbing
from detectors.process.compat_calls import CompatCalls
from detectors.process.decoded_payload import DecodedPayload
from detectors.process.drift import InvariantDrift
from detectors.process.entry import Entry
from detectors.process.fifo_shell import FifoShell
from detectors.process.fileless_execution import FilelessExecution
from detectors.process.foreign_execution import ForeignExecution
from detectors.process.fresh_execution import FreshExecution
from detectors.process.fresh_library import FreshLibrary
from detectors.process.host_execution import HostExecution
from detectors.process.host_settings import HostSettings
from detectors.process.io_uring import IoUring
from detectors.process.kernel_log import KernelLog
from detectors.process.kernel_module import KernelModule
from detectors.process.kexec import Kexec
from detectors.process.keyring import Keyring
from detectors.process.loader_execution import LoaderExecution
from detectors.process.masquerade import Masquerade
from detectors.process.namespace_creation import NamespaceCreation
from detectors.process.namespace_entry import NamespaceEntry
from detectors.process.noexec_execution import NoexecExecution
from detectors.process.package_manager import PackageManager
from detectors.process.perf_events import PerfEvents
from detectors.process.personality import Personality
from detectors.process.port_access import PortAccess
from detectors.process.preload import Preload
from detectors.process.privileged_program import PrivilegedProgram
from detectors.process.process_memory import ProcessMemory
from detectors.process.process_probing import ProcessProbing
from detectors.process.reboot import Reboot
from detectors.process.refused_execution import RefusedExecution
from detectors.process.reverse_shell import ReverseShell
from detectors.process.root_change import RootChange
from detectors.process.root_request import RootRequest
from detectors.process.sensor_health import SensorHealth
from detectors.process.shared_memory_execution import SharedMemoryExecution
from detectors.process.survey import Survey
from detectors.process.tracing import Tracing
from detectors.process.userfaultfd import Userfaultfd
from detectors.process.writable_code import WritableCode

DETECTORS: tuple[type[Detector], ...] = (
    InvariantDrift,
    SensorHealth,
    HostExecution,
    NamespaceEntry,
    KernelModule,
    Kexec,
    PortAccess,
    Bpf,
    RootChange,
    NamespaceCreation,
    ForeignExecution,
    NoexecExecution,
    FilelessExecution,
    ReverseShell,
    FifoShell,
    Entry,
    CompatCalls,
    Tracing,
    ProcessMemory,
    ProcessProbing,
    PerfEvents,
    Userfaultfd,
    Keyring,
    HostSettings,
    Reboot,
    RootRequest,
    PrivilegedProgram,
    Preload,
    SharedMemoryExecution,
    DecodedPayload,
    FreshExecution,
    FreshLibrary,
    LoaderExecution,
    Masquerade,
    CallProbing,
    IoUring,
    KernelLog,
    Survey,
    PackageManager,
    RefusedExecution,
    Personality,
    WritableCode,
)
