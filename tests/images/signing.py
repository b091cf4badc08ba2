"""Signs images as cosign does, and puts the signatures into a registry of the tests."""

from __future__ import annotations

import base64
import json
from contextlib import closing
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from daemon.images.signatures import ANNOTATION, PAYLOAD

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
CONFIG = b"{}"


def public_file(key: PrivateKey | ed448.Ed448PrivateKey, path: Path) -> Path:
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def payload(reference: str, digest: str, kind: str = "cosign container image signature") -> bytes:
    critical = {
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": kind,
    }
    return json.dumps({"critical": critical, "optional": None}).encode()


def signature(key: PrivateKey, data: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def put(host: str, path: str, data: bytes, content_type: str) -> None:
    with closing(HTTPConnection(host, timeout=10)) as connection:
        connection.request("PUT", path, data, {"Content-Type": content_type})
        answer = connection.getresponse()
        assert answer.status == 201, (answer.status, answer.read())


def blob(host: str, repository: str, data: bytes) -> str:
    digest = f"sha256:{sha256(data).hexdigest()}"
    with closing(HTTPConnection(host, timeout=10)) as connection:
        connection.request("POST", f"/v2/{repository}/blobs/uploads/")
        location = connection.getresponse().headers["Location"]
    path = location.partition(host)[2] or location
    put(host, f"{path}{'&' if '?' in path else '?'}digest={digest}", data, "application/octet-stream")
    return digest


def layer(host: str, repository: str, signed: bytes, by: PrivateKey) -> dict[str, Any]:
    return {
        "mediaType": PAYLOAD,
        "size": len(signed),
        "digest": blob(host, repository, signed),
        "annotations": {ANNOTATION: base64.b64encode(signature(by, signed)).decode()},
    }


def attach(host: str, repository: str, digest: str, layers: list[dict[str, Any]]) -> None:
    """As the signatures of that manifest, whatever they are of."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", "size": len(CONFIG)}
    config["digest"] = blob(host, repository, CONFIG)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
    put(
        host,
        f"/v2/{repository}/manifests/{digest.replace(':', '-')}.sig",
        json.dumps(manifest).encode(),
        kind,
    )


def sign(host: str, repository: str, digest: str, *keys: PrivateKey) -> None:
    signed = payload(f"{host}/{repository}", digest)
    attach(host, repository, digest, [layer(host, repository, signed, key) for key in keys])
