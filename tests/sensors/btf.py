"""A reader of BTF, the kernel's type format (Documentation/bpf/btf.rst), as far as structs and enums go."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)
MODIFIERS = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
MAGIC = 0xEB9F


@dataclass(frozen=True)
class Member:
    name: str
    type: int
    offset: int
    """In bytes."""
    size: int


@dataclass
class Type:
    kind: int
    name: str
    size_or_type: int
    members: list[tuple[str, int, int]] = field(default_factory=list)
    """Of structs: name, type, bit offset. Of enums: name, value, 0."""
    length: int = 1


class Btf:
    def __init__(self, data: bytes) -> None:
        magic, _version, _flags, header, type_at, type_size, text_at, text_size = struct.unpack_from(
            "<HBBIIIII", data
        )
        if magic != MAGIC:
            raise ValueError("not BTF")
        self._text = data[header + text_at : header + text_at + text_size]
        self.types = [Type(0, "void", 0), *self._types(data[header + type_at : header + type_at + type_size])]

    def _name(self, offset: int) -> str:
        return self._text[offset : self._text.index(b"\0", offset)].decode()

    def _types(self, data: bytes) -> Iterator[Type]:
        at = 0
        while at < len(data):
            name, info, size = struct.unpack_from("<III", data, at)
            kind, count, flagged = info >> 24 & 0x1F, info & 0xFFFF, info >> 31
            found = Type(kind, self._name(name), size)
            at = self._rest(data, at + 12, found, count, flagged)
            yield found

    def _rest(self, data: bytes, at: int, found: Type, count: int, flagged: int) -> int:
        match found.kind:
            case 1 | 14 | 17:  # INT, VAR, DECL_TAG
                return at + 4
            case 3:
                found.size_or_type, _, found.length = struct.unpack_from("<III", data, at)
                return at + 12
            case 4 | 5:
                for name, kind, offset in struct.iter_unpack("<III", data[at : at + 12 * count]):
                    found.members.append((self._name(name), kind, offset & 0xFFFFFF if flagged else offset))
                return at + 12 * count
            case 6:
                for name, value in struct.iter_unpack("<Ii", data[at : at + 8 * count]):
                    found.members.append((self._name(name), value, 0))
                return at + 8 * count
            case 13:
                return at + 8 * count
            case 15 | 19:
                return at + 12 * count
        return at

    def size(self, number: int) -> int:
        found = self.types[number]
        if found.kind in MODIFIERS:
            return self.size(found.size_or_type)
        if found.kind == PTR:
            return 8
        if found.kind == ARRAY:
            return found.length * self.size(found.size_or_type)
        return found.size_or_type

    def struct(self, name: str) -> tuple[int, list[Member]]:
        """Its size and its members, nested anonymous ones included."""
        for found in self.types:
            if found.kind == STRUCT and found.name == name and found.members:
                return found.size_or_type, list(self._members(found, 0))
        raise KeyError(name)

    def _members(self, found: Type, base: int) -> Iterator[Member]:
        for name, kind, bits in found.members:
            target = self._resolve(kind)
            if not name and target.kind in (STRUCT, UNION):
                yield from self._members(target, base + bits // 8)
            else:
                yield Member(name, kind, base + bits // 8, self.size(kind))

    def _resolve(self, number: int) -> Type:
        found = self.types[number]
        return self._resolve(found.size_or_type) if found.kind in MODIFIERS else found

    def describe(self, number: int) -> str:
        found = self.types[number]
        if found.kind == PTR:
            return self.describe(found.size_or_type) + " *"
        if found.kind == ARRAY:
            return f"{self.describe(found.size_or_type)}[{found.length}]"
        if found.kind in (VOLATILE, CONST, RESTRICT, TYPE_TAG):
            return self.describe(found.size_or_type)
        return found.name or f"anonymous kind {found.kind}"

    def enumerators(self) -> dict[str, int]:
        return {name: value for found in self.types if found.kind == ENUM for name, value, _ in found.members}


def of_object(path: Path) -> Btf:
    """The section .BTF of an ELF object of this machine's byte order and 64 bits."""
    data = path.read_bytes()
    (at,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", data, at + size * i) for i in range(count)]
    text = sections[names][4]
    for name, _kind, _flags, _address, offset, length in sections:
        if data[text + name : data.index(b"\0", text + name)] == b".BTF":
            return Btf(data[offset : offset + length])
    raise ValueError(f"{path} has no BTF")
