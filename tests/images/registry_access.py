"""What the real registry lets people in by: a file of passwords, or tokens of a server of the tests' own."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

ISSUER, SERVICE = "token-server", "registry"


def by_passwords(folder: Path, username: str, password: str) -> str:
    """The section `auth`. By perl, which every Debian has: Python has no bcrypt."""
    script = 'print crypt($ARGV[0], q($2b$05$) . "abcdefghijklmnopqrstuu")'
    done = subprocess.run(["perl", "-e", script, password], capture_output=True, text=True, check=True)
    (folder / "htpasswd").write_text(f"{username}:{done.stdout}\n")
    return f"auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}"


def _plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """Who gives the password gets a token for what is asked; who gives none gets one for nothing."""

    def __init__(self, folder: Path, username: str, password: str) -> None:
        self._expected = f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._signed()
        (folder / "tokens.pem").write_bytes(self._certificate.public_bytes(Encoding.PEM))
        self._bundle = folder / "tokens.pem"

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The section `auth` of a registry that believes it."""
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = answer(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        realm = f"http://127.0.0.1:{server.server_port}/token"
        try:
            yield (
                f"auth: {{token: {{realm: '{realm}', service: {SERVICE}, issuer: {ISSUER}, "
                f"rootcertbundle: {self._bundle}}}}}"
            )
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def token(self, *repositories: str) -> str:
        """JSON Web Token to pull from them."""
        now = int(time.time())
        access = [{"type": "repository", "name": name, "actions": ["pull"]} for name in repositories]
        claims = {"iss": ISSUER, "aud": SERVICE, "sub": "", "iat": now, "nbf": now - 5, "exp": now + 3600}
        certificate = base64.b64encode(self._certificate.public_bytes(Encoding.DER)).decode()
        head = {"typ": "JWT", "alg": "ES256", "x5c": [certificate]}
        body = {**claims, "jti": "1", "access": access}
        signed = ".".join(_plain(json.dumps(part).encode()) for part in (head, body))
        pair = decode_dss_signature(self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_plain(b''.join(number.to_bytes(32, 'big') for number in pair))}"

    def _answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, Any]]:
        if authorization is not None and authorization != self._expected:
            return 401, {"errors": [{"code": "UNAUTHORIZED"}]}
        scopes = parse_qs(urlparse(path).query).get("scope", [])
        named = [scope.split(":")[1] for scope in scopes] if authorization else []
        return 200, {"token": self.token(*named)}

    def _signed(self) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
        made = made.public_key(self._key.public_key())
        made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return made.sign(self._key, hashes.SHA256())
