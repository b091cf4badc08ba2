"""The tar that `docker save` writes: which layers make up the image, and that they are the ones it names.

Two layouts, both from the engine: manifest.json (Docker) and index.json (OCI image layout). An engine of 25.0
or newer writes both into one tar.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from dataclasses import dataclass
from typing import IO, Any

from daemon.images import tar
from daemon.images.child import Unscannable

MEMBERS = 20_000
LAYERS = 512
DOCUMENT_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Layers:
    """`diff_ids` are of the unpacked layers, lowest first, as `sections` are."""

    config: dict[str, Any]
    sections: tuple[tar.Section, ...]
    diff_ids: tuple[str, ...]


class _Members:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sections: dict[str, tar.Section] = {}
        self._links: dict[str, str] = {}
        for path, kind, link, section in _listed(file):
            if kind == tar.REGULAR:
                self._sections[path] = section
            elif kind in (tar.SYMLINK, tar.LINK):
                folder = posixpath.dirname(path) if kind == tar.SYMLINK else ""
                self._links[path] = posixpath.normpath(posixpath.join(folder, link))

    def __contains__(self, path: str) -> bool:
        return path in self._sections

    def section(self, path: object) -> tar.Section:
        """One step of links is followed: the engine writes a layer that comes twice as one."""
        name = path if isinstance(path, str) else ""
        found = self._sections.get(name) or self._sections.get(self._links.get(name, ""))
        if found is None:
            raise Unscannable(f"the archive lacks {tar.shown(str(path))}, which it names")
        return found

    def content(self, path: object) -> bytes:
        section = self.section(path)
        if section.size_bytes > DOCUMENT_BYTES:
            raise Unscannable(f"{tar.shown(str(path))} has over {DOCUMENT_BYTES} bytes")
        self._file.seek(section.offset)
        return self._file.read(section.size_bytes)

    def blob(self, digest: object) -> bytes:
        """Checked against its digest."""
        algorithm, _, name = str(digest).partition(":")
        content = self.content(f"blobs/{algorithm}/{name}")
        if digest != _digest(content):
            raise Unscannable(f"the blob {tar.shown(str(digest))} is not what its name says")
        return content


class _Seekable:
    """`tar.entries` for the outer archive: what is not asked for is not read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size_bytes = file.seek(0, 2)
        file.seek(0)

    def take(self, size_bytes: int) -> bytes:
        return self._file.read(size_bytes)

    def skip(self, size_bytes: int) -> bool:
        return self._file.seek(size_bytes, 1) <= self._size_bytes

    def position(self) -> int:
        return self._file.tell()


def _listed(file: IO[bytes]) -> list[tuple[str, str, str, tar.Section]]:
    stream = _Seekable(file)
    found = []
    for entry in tar.entries(stream):
        section = tar.Section(file, stream.position(), entry.size_bytes)
        found.append((entry.path, entry.kind, entry.link, section))
        if len(found) > MEMBERS:
            raise Unscannable(f"the archive has over {MEMBERS} members")
    return found


def read(file: IO[bytes], image_id: str) -> Layers:
    """Raises Unscannable where the archive is malformed or of another image than `image_id`."""
    members = _Members(file)
    if "manifest.json" in members:
        config, paths = _of_docker(members)
    elif "index.json" in members:
        config, paths = _of_oci(members)
    else:
        raise Unscannable("the archive has neither manifest.json nor index.json")
    _check_identity(members, image_id, _digest(config))
    parsed = as_mapping(document(config), "the image's configuration")
    diff_ids = as_list(as_mapping(parsed.get("rootfs"), "rootfs").get("diff_ids"), "diff_ids")
    if len(paths) != len(diff_ids):
        raise Unscannable(f"the archive has {len(paths)} layers, its configuration names {len(diff_ids)}")
    if len(paths) > LAYERS:
        raise Unscannable(f"the image has over {LAYERS} layers")
    return Layers(parsed, tuple(members.section(path) for path in paths), tuple(map(str, diff_ids)))


def _of_docker(members: _Members) -> tuple[bytes, list[object]]:
    listed = as_list(document(members.content("manifest.json")), "manifest.json")
    if len(listed) != 1:
        raise Unscannable(f"the archive holds {len(listed)} images: save one at a time")
    image = as_mapping(listed[0], "manifest.json")
    return members.content(image.get("Config")), as_list(image.get("Layers") or [], "Layers")


def _of_oci(members: _Members) -> tuple[bytes, list[object]]:
    manifest = _manifest(members, members.content("index.json"))
    layers = [as_mapping(layer, "a layer") for layer in as_list(manifest.get("layers"), "layers")]
    config = members.blob(as_mapping(manifest.get("config"), "config").get("digest"))
    return config, [_blob_path(layer.get("digest")) for layer in layers]


def _manifest(members: _Members, content: bytes, depth: int = 0) -> dict[str, Any]:
    """Down from an index, which must lead to one manifest whose blob is there."""
    parsed = as_mapping(document(content), "a manifest")
    if "manifests" not in parsed:
        return parsed
    digests = [
        as_mapping(item, "manifests").get("digest") for item in as_list(parsed["manifests"], "manifests")
    ]
    here = [digest for digest in digests if _blob_path(digest) in members]
    if len(here) != 1 or depth > 2:
        raise Unscannable(f"the archive holds {len(here)} images: save one at a time")
    return _manifest(members, members.blob(here[0]), depth + 1)


def _blob_path(digest: object) -> str:
    return f"blobs/{str(digest).replace(':', '/', 1)}"


def _check_identity(members: _Members, image_id: str, config_digest: str) -> None:
    """An image id is the configuration's digest, or in a containerd store that of the manifest or index."""
    if image_id == config_digest:
        return
    if _blob_path(image_id) in members:
        manifest = _manifest(members, members.blob(image_id))
        if as_mapping(manifest.get("config"), "config").get("digest") == config_digest:
            return
    raise Unscannable(f"the archive is of {config_digest}, not of {tar.shown(image_id)}")


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def document(content: bytes) -> Any:
    """JSON, or Unscannable."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unscannable(f"has broken JSON: {str(error)[:200]}") from error


def as_mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unscannable(f"{name} is not a JSON object")
    return value


def as_list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unscannable(f"{name} is not a JSON array")
    return value
