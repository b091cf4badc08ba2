"""Reading from an image registry (OCI distribution specification 1.1), as anybody or with credentials.

Credentials are sent to a registry that asks for them, or where it sends us for a token, over HTTPS or within
this host alone. What comes is bounded and compared with its digest; "it is not there" and "nobody can tell"
are two answers.
"""

from __future__ import annotations

import asyncio
import json
import re
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import aiohttp
from yarl import URL

from daemon.errors import ConfigError
from daemon.images.credentials import NOBODY, SETTING, Credentials, Login
from daemon.images.reference import DEFAULT_REGISTRY, Reference

DEADLINE_S = 15.0
MANIFEST_LIMIT_BYTES = 4 << 20
TOKEN_LIMIT_BYTES = 64 * 1024
MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
REFUSALS = frozenset({401, 403})
DOCKER_HUB = "registry-1.docker.io"


class RegistryError(Exception):
    """The registry did not answer, refused, or answered with what it should not: nobody can tell."""


class Absent(Exception):
    """The registry says that it has no such thing."""


class RegistryClient:
    def __init__(self, deadline_s: float = DEADLINE_S, credentials: Credentials = NOBODY) -> None:
        self._deadline_s = deadline_s
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def manifest(self, repository: Reference, version: str) -> dict[str, Any]:
        """By tag or digest; where by digest, these very bytes. Raises Absent, RegistryError."""
        try:
            found = json.loads(await self.manifest_content(repository, version))
        except (ValueError, RecursionError) as error:
            raise RegistryError(f"{_url(repository, f'manifests/{version}')}: no JSON") from error
        if not isinstance(found, dict):
            raise RegistryError(f"{_url(repository, f'manifests/{version}')}: no manifest")
        return found

    async def manifest_content(self, repository: Reference, version: str) -> bytes:
        """As it is signed. Raises as `manifest` does."""
        url = _url(repository, f"manifests/{version}")
        content = await self._get(url, repository, MANIFEST_LIMIT_BYTES)
        if version.startswith("sha256:"):
            _compare(content, version)
        return content

    async def referrers(self, repository: Reference, digest: str) -> dict[str, Any]:
        """The index of what refers to it, by the API or else by the tag schema. Raises RegistryError."""
        url = _url(repository, f"referrers/{digest}")
        try:
            index = json.loads(await self._get(url, repository, MANIFEST_LIMIT_BYTES))
        except Absent:
            return await self._tagged_referrers(repository, digest)
        except (ValueError, RecursionError) as error:
            raise RegistryError(f"{url}: no JSON") from error
        if not isinstance(index, dict):
            raise RegistryError(f"{url}: no index")
        return index

    async def _tagged_referrers(self, repository: Reference, digest: str) -> dict[str, Any]:
        try:
            return await self.manifest(repository, digest.replace(":", "-"))
        except Absent:
            return {}

    async def blob(self, repository: Reference, digest: str, limit_bytes: int) -> bytes:
        """Raises Absent, RegistryError, also where it is larger than `limit_bytes`."""
        content = await self._get(_url(repository, f"blobs/{digest}"), repository, limit_bytes)
        _compare(content, digest)
        return content

    async def _get(self, url: URL, repository: Reference, limit_bytes: int) -> bytes:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._content(url, repository, limit_bytes)
        except TimeoutError as error:
            raise RegistryError(f"{url.host}: no answer within {self._deadline_s:g} s") from error
        except aiohttp.ClientError as error:
            raise RegistryError(f"{url.host}: {error}") from error

    async def _content(self, url: URL, repository: Reference, limit_bytes: int) -> bytes:
        status, challenge, content = await self._ask(url, {"Accept": MANIFESTS}, limit_bytes)
        if status == 401:
            login = self._login(repository)
            authorization = await self._authorization(challenge, repository, login)
            headers = {"Accept": MANIFESTS, "Authorization": authorization}
            status, _, content = await self._ask(url, headers, limit_bytes)
            if status in REFUSALS:
                raise _refused(repository, login)
        if status == 404:
            raise Absent(str(url))
        if status != 200:
            raise RegistryError(f"{url.host}: answered {status} for {url.path}")
        return content

    async def _ask(self, url: URL, headers: dict[str, str], limit_bytes: int) -> tuple[int, str, bytes]:
        self._session = self._session or aiohttp.ClientSession()
        async with self._session.get(url, headers=headers, max_redirects=3) as response:
            content = await response.content.read(limit_bytes + 1)
            while len(content) <= limit_bytes and (more := await response.content.read(limit_bytes)):
                content += more
            if len(content) > limit_bytes:
                raise RegistryError(f"{url.host}: more than {limit_bytes} bytes for {url.path}")
            return response.status, response.headers.get("WWW-Authenticate", ""), content

    def _login(self, repository: Reference) -> Login | None:
        try:
            return self._credentials.of(repository.registry)
        except ConfigError as error:
            raise RegistryError(str(error)) from error

    async def _authorization(self, challenge: str, repository: Reference, login: Login | None) -> str:
        """What is asked for (RFC 9110, 11.6.1). Raises RegistryError."""
        scheme, _, rest = challenge.partition(" ")
        said = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if scheme.lower() == "basic" and login is not None and login.username:
            return login.basic
        if scheme.lower() == "basic":
            raise _refused(repository, login)
        if scheme.lower() != "bearer" or "realm" not in said:
            raise RegistryError(f"{repository.registry}: asks for what is not supported: {scheme[:20]!a}")
        if login is not None and login.token:
            return f"Bearer {login.token}"
        return f"Bearer {await self._token(URL(said['realm']), said.get('service', ''), repository, login)}"

    async def _token(self, realm: URL, service: str, repository: Reference, login: Login | None) -> str:
        """For reading (distribution's token authentication). Raises RegistryError."""
        if realm.scheme != "https" and not (_loopback(realm.host or "") and _of_loopback(repository)):
            raise RegistryError(
                f"{repository.registry}: sends us to {realm} for a token: not over plain HTTP"
            )
        query = {"scope": f"repository:{repository.repository}:pull", "service": service}
        headers = {"Authorization": login.basic} if login is not None else {}
        status, _, content = await self._ask(realm.update_query(query), headers, TOKEN_LIMIT_BYTES)
        if status in REFUSALS:
            raise _refused(repository, login)
        try:
            answer = json.loads(content)
            return str(answer.get("token") or answer["access_token"])
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise RegistryError(f"{realm.host}: gave no token, but {status}") from error


def _refused(repository: Reference, login: Login | None) -> RegistryError:
    if login is None:
        reason = f"lets nobody read {repository.repository} without credentials: {SETTING} has none for it"
    else:
        reason = f"does not let us read {repository.repository} as {login}: correct its entry"
    return RegistryError(f"{repository.registry}: {reason}")


def _url(repository: Reference, rest: str) -> URL:
    """Plain HTTP to this host alone, as the engine does it."""
    host = DOCKER_HUB if repository.registry == DEFAULT_REGISTRY else repository.registry
    scheme = "http" if _of_loopback(repository) else "https"
    return URL(f"{scheme}://{host}/v2/{repository.repository}/{rest}", encoded=True)


def _of_loopback(repository: Reference) -> bool:
    host = repository.registry
    return _loopback(host.rpartition(":")[0] or host)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _compare(content: bytes, digest: str) -> None:
    found = f"sha256:{sha256(content).hexdigest()}"
    if found != digest:
        raise RegistryError(
            f"sent {found[:19]} for {digest[:19]}: these are not the bytes that were asked for"
        )
