"""An rsyslog that takes TLS from one client alone, and the certificates for it and for its enemies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.exporters.authority import Authority, Pair
from tests.exporters.running import Child, rsyslog

RECEIVER, CLIENT = "logs.test", "node-1.test"


class Certificates:
    """A receiver's and a client's of one authority, and those of another with the same names."""

    def __init__(self, folder: Path) -> None:
        (folder / "strange").mkdir()
        authority, stranger = Authority(folder, "authority"), Authority(folder / "strange", "authority")
        self.authority, self.receiver = authority.pair.certificate, authority.issue(RECEIVER)
        self.client, self.other_client = authority.issue(CLIENT), authority.issue("node-2.test")
        self.strange_authority, self.strange_client = stranger.pair.certificate, stranger.issue(CLIENT)

    def tls(self, client: Pair | None, **changed: Any) -> dict[str, Any]:
        """The `tls` table of a client that has that pair."""
        files = {"certificate_file": client.certificate, "key_file": client.key} if client else {}
        return {"ca_file": self.authority, "server_name": RECEIVER, **files, **changed}


def secure_rsyslog(folder: Path, certificates: Certificates, listen: str = "") -> Child:
    """Takes the client of that name alone."""
    return rsyslog(
        folder,
        listen='StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" '
        f'PermittedPeer=["{CLIENT}"] {listen}',
        modules=f'DefaultNetstreamDriverCAFile="{certificates.authority}" '
        f'DefaultNetstreamDriverCertFile="{certificates.receiver.certificate}" '
        f'DefaultNetstreamDriverKeyFile="{certificates.receiver.key}"',
    )
