"""Detectors of the category filesystem, in the order in which they are asked."""

from __future__ import annotations

from detectors import Detector
from detectors.filesystem.binfmt_misc import BinfmtMisc
from detectors.filesystem.block_device import BlockDevice
from detectors.filesystem.canary import Canary
from detectors.filesystem.cgroup_control import CgroupControl
from detectors.filesystem.control_filesystems import ControlFilesystems
from detectors.filesystem.core_pattern import CorePattern
from detectors.filesystem.credential_search import CredentialSearch
from detectors.filesystem.device_nodes import DeviceNodes
from detectors.filesystem.devices import Devices
from detectors.filesystem.engine_socket import EngineSocket
from detectors.filesystem.file_handle import FileHandle
from detectors.filesystem.foreign_file import ForeignFile
from detectors.filesystem.hardlink import Hardlink
from detectors.filesystem.host_mount import HostMount
from detectors.filesystem.host_socket import HostSocket
from detectors.filesystem.kernel_information import KernelInformation
from detectors.filesystem.kernel_memory import KernelMemory
from detectors.filesystem.kernel_settings import KernelSettings
from detectors.filesystem.mounting import Mounting
from detectors.filesystem.other_process import OtherProcess
from detectors.filesystem.password_hashes import PasswordHashes
from detectors.filesystem.path_swap import PathSwap
from detectors.filesystem.persistence import Persistence
from detectors.filesystem.release_agent import NotifyOnRelease, ReleaseAgent
from detectors.filesystem.runtime_overwrite import RuntimeOverwrite
from detectors.filesystem.setuid_file import SetuidFile
from detectors.filesystem.symlink_plant import SymlinkPlant
from detectors.filesystem.sysrq import Sysrq
from detectors.filesystem.system_programs import SystemPrograms
from detectors.filesystem.tampering import Tampering
from detectors.filesystem.unmasking import Unmasking
from detectors.filesystem.usermode_helper import UsermodeHelper

DETECTORS: tuple[type[Detector], ...] = (
    ForeignFile,
    FileHandle,
    RuntimeOverwrite,
    ReleaseAgent,
    CorePattern,
    UsermodeHelper,
    BinfmtMisc,
    Sysrq,
    EngineSocket,
    HostSocket,
    BlockDevice,
    KernelMemory,
    Unmasking,
    Mounting,
    HostMount,
    Canary,
    Tampering,
    DeviceNodes,
    Devices,
    OtherProcess,
    KernelSettings,
    ControlFilesystems,
    NotifyOnRelease,
    CgroupControl,
    KernelInformation,
    PasswordHashes,
    CredentialSearch,
    Persistence,
    SetuidFile,
    SymlinkPlant,
    Hardlink,
    PathSwap,
    SystemPrograms,
)
