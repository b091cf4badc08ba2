"""TLS 1.2 or newer, the receiver verified unless the settings say otherwise."""

from __future__ import annotations

import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict, model_validator

from daemon.errors import ExportError


class Tls(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    ca_file: Path | None = None
    """Who vouches for the receiver; the system's authorities where it is not given."""
    certificate_file: Path | None = None
    """Ours, where the receiver asks for one, with its key in `key_file`."""
    key_file: Path | None = None
    server_name: str | None = None
    """The name in the receiver's certificate where it is not that of the address."""
    verify: bool = True

    @model_validator(mode="after")
    def _a_pair(self) -> Tls:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or none")
        return self


def context(tls: Tls) -> ssl.SSLContext:
    """Reads the files anew: they may have been renewed. Raises ExportError."""
    try:
        made = ssl.create_default_context(cafile=tls.ca_file)
        if tls.certificate_file and tls.key_file:
            made.load_cert_chain(tls.certificate_file, tls.key_file)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(f) for f in (tls.ca_file, tls.certificate_file, tls.key_file) if f)
        raise ExportError(f"tls: {files}: cannot be used: {error}") from error
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
