"""A Sigstore of the tests' own: an authority, a log of its certificates, one of signatures, and the root.

Formats: RFC 6962 (SCT, Merkle tree), Rekor's dsse entry 0.0.1, C2SP signed notes, Sigstore's protobuf-specs.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daemon.images.bundles import BUNDLE, STATEMENT, Envelope

ISSUER_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
SCT_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
SHA256_ECDSA = b"\x04\x03"
LOG = "log.example.org"
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])


def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def der(of: ec.EllipticCurvePrivateKey) -> bytes:
    return of.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signed(by: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return by.sign(data, ec.ECDSA(hashes.SHA256()))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Authority:
    ca: ec.EllipticCurvePrivateKey = field(default_factory=key)
    certificates_log: ec.EllipticCurvePrivateKey = field(default_factory=key)
    log: ec.EllipticCurvePrivateKey = field(default_factory=key)

    def root(self, path: Path) -> Path:
        start = {"start": "2020-01-01T00:00:00Z"}

        def log(of: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
            public = {"rawBytes": b64(der(of)), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": start}
            named = {"logId": {"keyId": b64(sha256(der(of)).digest())}, "publicKey": public}
            return {"baseUrl": f"https://{LOG}", "hashAlgorithm": "SHA2_256", **named}

        chain = {"certificates": [{"rawBytes": b64(self._certificate().public_bytes(Encoding.DER))}]}
        authority = {
            "subject": {"organization": "tests", "commonName": "tests"},
            "uri": "https://ca.example.org",
        }
        document = {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log(self.log)],
            "ctlogs": [log(self.certificates_log)],
            "certificateAuthorities": [{**authority, "certChain": chain, "validFor": start}],
            "timestampAuthorities": [],
        }
        path.write_text(json.dumps(document))
        return path

    def _certificate(self) -> x509.Certificate:
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.ca.public_key())
        return (
            _builder(NAME, NAME, self.ca, datetime(2020, 1, 1, tzinfo=UTC), timedelta(days=36500))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(self.ca, hashes.SHA256())
        )

    def leaf(
        self, of: ec.EllipticCurvePrivateKey, subject: str, issuer: str, start: datetime
    ) -> x509.Certificate:
        """As Fulcio issues it, for ten minutes; with the timestamp of the log of certificates."""
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.ca.public_key())
        builder = (
            _builder(x509.Name([]), NAME, of, start, timedelta(minutes=10))
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(identifier, critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(subject)]), critical=True
            )
            .add_extension(x509.UnrecognizedExtension(ISSUER_EXTENSION, issuer.encode()), critical=False)
        )
        before = builder.sign(self.ca, hashes.SHA256()).tbs_certificate_bytes
        timestamp = x509.UnrecognizedExtension(SCT_EXTENSION, self._timestamps(before, start))
        return builder.add_extension(timestamp, critical=False).sign(self.ca, hashes.SHA256())

    def _timestamps(self, certificate: bytes, time: datetime) -> bytes:
        """RFC 6962, 3.2 and 3.3: of a precertificate; a list of one in an OCTET STRING."""
        at_ms = int(time.timestamp() * 1000)
        entry = sha256(der(self.ca)).digest() + len(certificate).to_bytes(3, "big") + certificate
        signature = signed(self.certificates_log, struct.pack(">BBQH", 0, 0, at_ms, 1) + entry + b"\0\0")
        identifier = sha256(der(self.certificates_log)).digest()
        one = struct.pack(">B32sQH", 0, identifier, at_ms, 0) + SHA256_ECDSA
        one += struct.pack(">H", len(signature)) + signature
        listed = struct.pack(">HH", len(one) + 2, len(one)) + one
        return b"\x04" + (bytes([len(listed)]) if len(listed) < 128 else bytes([0x81, len(listed)])) + listed

    def bundle(
        self,
        statement: dict[str, Any],
        subject: str,
        issuer: str,
        *,
        start: datetime | None = None,
        logged: datetime | None = None,
    ) -> dict[str, Any]:
        """Signed at `logged`, by a certificate that is valid from `start`."""
        signer, start = key(), start or now()
        payload = json.dumps(statement).encode()
        signature = signed(signer, Envelope(b"", payload).signed)
        certificate = self.leaf(signer, subject, issuer, start)
        entry = self._entry(
            "dsse", _body(payload, signature, certificate), int((logged or start).timestamp())
        )
        envelope = {
            "payload": b64(payload),
            "payloadType": STATEMENT,
            "signatures": [{"sig": b64(signature)}],
        }
        return {**_material(certificate, entry), "dsseEnvelope": envelope}

    def message_bundle(self, message: bytes, subject: str, issuer: str) -> dict[str, Any]:
        """Of the signature of a message, which is not in it."""
        signer, start = key(), now()
        certificate = self.leaf(signer, subject, issuer, start)
        signature, digest = signed(signer, message), sha256(message)
        hashed = {"hash": {"algorithm": "sha256", "value": digest.hexdigest()}}
        by = {
            "content": b64(signature),
            "publicKey": {"content": b64(certificate.public_bytes(Encoding.PEM))},
        }
        spec = {"data": hashed, "signature": by}
        body = json.dumps({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}).encode()
        entry = self._entry("hashedrekord", body, int(start.timestamp()))
        return {**_material(certificate, entry), **of_message(signature, message)}

    def _entry(self, kind: str, body: bytes, time_s: int) -> dict[str, Any]:
        """In a log of one entry."""
        identifier = sha256(der(self.log)).digest()
        root = sha256(b"\0" + body).digest()
        promised = {"body": b64(body), "integratedTime": time_s, "logID": identifier.hex(), "logIndex": 0}
        promise = json.dumps(promised, sort_keys=True, separators=(",", ":")).encode()
        note = f"{LOG} - 1\n1\n{b64(root)}\n"
        signature = b64(identifier[:4] + signed(self.log, note.encode()))
        return {
            "logIndex": "0",
            "logId": {"keyId": b64(identifier)},
            "kindVersion": {"kind": kind, "version": "0.0.1"},
            "integratedTime": str(time_s),
            "inclusionPromise": {"signedEntryTimestamp": b64(signed(self.log, promise))},
            "inclusionProof": {
                "logIndex": "0",
                "rootHash": b64(root),
                "treeSize": "1",
                "hashes": [],
                "checkpoint": {"envelope": f"{note}\n\u2014 {LOG} {signature}\n"},
            },
            "canonicalizedBody": b64(body),
        }


def of_message(signature: bytes, message: bytes) -> dict[str, Any]:
    """The part of a bundle that is about a message."""
    digest = {"algorithm": "SHA2_256", "digest": b64(sha256(message).digest())}
    return {"messageSignature": {"messageDigest": digest, "signature": b64(signature)}}


def _material(certificate: x509.Certificate, entry: dict[str, Any]) -> dict[str, Any]:
    named = {"rawBytes": b64(certificate.public_bytes(Encoding.DER))}
    return {
        "mediaType": BUNDLE,
        "verificationMaterial": {"certificate": named, "tlogEntries": [entry]},
    }


def _body(payload: bytes, signature: bytes, certificate: x509.Certificate) -> bytes:
    hashed = {"algorithm": "sha256", "value": sha256(payload).hexdigest()}
    by = {"signature": b64(signature), "verifier": b64(certificate.public_bytes(Encoding.PEM))}
    spec = {"envelopeHash": hashed, "payloadHash": hashed, "signatures": [by]}
    return json.dumps({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}).encode()


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    of: ec.EllipticCurvePrivateKey,
    start: datetime,
    valid: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(of.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + valid)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
