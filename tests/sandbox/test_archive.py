"""Hostile archives coming in, hostile trees going out."""

from __future__ import annotations

import io
import itertools
import os
import resource
import stat
import subprocess
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.sandbox.archive import (
    BLOCK,
    CHUNK_BYTES,
    END,
    ArchiveRefused,
    Omitted,
    TarLimits,
    read_tar,
    write_tar,
)
from daemon.sandbox.beneath import opened

MIB = 1 << 20
LIMITS = TarLimits()


def member(name: str, content: bytes = b"", **fields: object) -> bytes:
    """One entry as the standard library writes it, without an end mark."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % BLOCK)


def raw(name: str, kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    return member(name, content, type=kind, size=len(content) if size is None else size)


def pax(*records: tuple[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    lines = b""
    for key, value in records:
        body = f" {key}={value}\n".encode()
        length = next(n for n in range(len(body), len(body) + 8) if n == len(body) + len(str(n)))
        lines += str(length).encode() + body
    return raw("header", kind, lines)


def unpack(data: bytes, limits: TarLimits = LIMITS) -> dict[str, bytes | None]:
    return {
        entry.path: None if entry.content is None else b"".join(entry.content)
        for entry in read_tar(io.BytesIO(data), limits)
    }


class Generated:
    """A stream of endless pieces, which are made when they are asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.taken_bytes = 0

    def read(self, size_bytes: int) -> bytes:
        self._rest = self._rest or next(self._pieces, b"")
        taken, self._rest = self._rest[:size_bytes], self._rest[size_bytes:]
        self.taken_bytes += len(taken)
        return taken


class TestRead:
    def test_files_and_directories(self) -> None:
        data = raw("d/", tarfile.DIRTYPE) + member("d/f", b"x" * 1000) + member("empty") + END
        assert unpack(data) == {"d": None, "d/f": b"x" * 1000, "empty": b""}

    @pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    def test_long_names_of_each_format(self, form: int) -> None:
        path = "/".join(["n" * 60] * 3)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            info = tarfile.TarInfo(path)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        assert unpack(buffer.getvalue()) == {path: b"abc"}

    def test_what_gnu_tar_writes(self, tmp_path: Path) -> None:
        (tmp_path / "sub").mkdir()
        (tmp_path / "sub/naïve").write_bytes(b"1")
        (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"2")
        for form in ("gnu", "pax", "ustar", "v7"):
            command = ["tar", "-C", str(tmp_path), f"--format={form}", "-cf", "-", "."]
            data = subprocess.run(command, check=True, capture_output=True).stdout
            assert unpack(data) == {"sub": None, "sub/naïve": b"1", "\udcff": b"2"}

    def test_a_global_comment_as_git_writes_it(self) -> None:
        data = pax(("comment", "0" * 40), kind=tarfile.XGLTYPE) + member("f", b"x") + END
        assert unpack(data) == {"f": b"x"}

    def test_setuid_is_stripped(self) -> None:
        [entry] = read_tar(io.BytesIO(member("f", mode=0o7755) + END), LIMITS)
        assert entry.mode == 0o755

    def test_content_not_asked_for_is_passed_over(self) -> None:
        data = member("a", b"x" * 5000) + member("b", b"y") + END
        assert [entry.path for entry in read_tar(io.BytesIO(data), LIMITS)] == ["a", "b"]

    def test_nothing_is_read_after_the_end(self) -> None:
        stream = io.BytesIO(member("a", b"x") + END + b"more")
        assert [entry.path for entry in read_tar(stream, LIMITS)] == ["a"]
        assert stream.tell() == 3 * BLOCK

    def test_a_stream_of_single_bytes(self) -> None:
        data = member("a/b", b"x" * 600) + END
        stream = Generated(bytes([byte]) for byte in data)
        assert [b"".join(entry.content or ()) for entry in read_tar(stream, LIMITS)] == [b"x" * 600]


class TestRefused:
    @pytest.mark.parametrize(
        ("kind", "why"),
        [
            (tarfile.LNKTYPE, "hard link"),
            (tarfile.SYMTYPE, "symbolic link"),
            (tarfile.CHRTYPE, "device"),
            (tarfile.BLKTYPE, "device"),
            (tarfile.FIFOTYPE, "FIFO"),
            (tarfile.GNUTYPE_SPARSE, "sparse"),
            (tarfile.GNUTYPE_LONGLINK, "link"),
            (tarfile.CONTTYPE, "unknown type"),
            (b"V", "unknown type"),
            (b"M", "unknown type"),
        ],
    )
    def test_kinds(self, kind: bytes, why: str) -> None:
        with pytest.raises(ArchiveRefused, match=f"'bad' is .*{why}"):
            unpack(member("good") + raw("bad", kind) + END)

    @pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "..", "a\0b"])
    def test_names(self, name: str) -> None:
        with pytest.raises(ArchiveRefused, match="entry refused"):
            unpack(pax(("path", name)) + member("good") + END)

    def test_long_names(self) -> None:
        with pytest.raises(ArchiveRefused, match="longer than 255"):
            unpack(member("n" * 256) + END)
        with pytest.raises(ArchiveRefused, match="longer than 4095"):
            unpack(member("/".join(["n" * 100] * 41)) + END)

    def test_pax_sparse(self) -> None:
        data = pax(("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "1000000000000")) + member("f") + END
        with pytest.raises(ArchiveRefused, match="sparse"):
            unpack(data)

    @pytest.mark.parametrize("key", ["path", "size"])
    def test_a_global_header_that_renames_or_resizes(self, key: str) -> None:
        with pytest.raises(ArchiveRefused, match="global header"):
            unpack(pax((key, "1"), kind=tarfile.XGLTYPE) + member("f") + END)

    @pytest.mark.parametrize(
        "records",
        [
            b"x",
            b"5 a=b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"6 a=bc",
            b"6 =ab\n",
            b"-6 a=b\n",
            b"9" * 30,
            b"6 abc\n",
            b"7 size=1_0\n",
        ],
    )
    def test_malformed_records(self, records: bytes) -> None:
        with pytest.raises(ArchiveRefused, match="extended header"):
            unpack(raw("header", tarfile.XHDTYPE, records) + member("f") + END)

    @pytest.mark.parametrize("size", ["-1", "1e3", "", "0x10", " 1"])
    def test_sizes_that_are_no_numbers(self, size: str) -> None:
        with pytest.raises(ArchiveRefused, match="where a number belongs"):
            unpack(pax(("size", size)) + member("f") + END)

    def test_negative_sizes(self) -> None:
        header = tarfile.TarInfo("f").tobuf(tarfile.GNU_FORMAT)
        for kind in (b"0", b"x"):
            block = header[:124] + b"\xff" * 12 + header[136:148] + b" " * 8 + kind + header[157:]
            block = block[:148] + b"%06o\0 " % sum(block) + block[156:]
            with pytest.raises(ArchiveRefused, match=r"cannot have the size -1|headers"):
                unpack(block + END)

    def test_a_directory_with_content(self) -> None:
        with pytest.raises(ArchiveRefused, match="cannot have the size 5"):
            unpack(raw("d/", tarfile.DIRTYPE, b"12345") + END)

    def test_no_tar_at_all(self) -> None:
        with pytest.raises(ArchiveRefused, match=r"not a tar header.*uncompressed"):
            unpack(b"\x1f\x8b" + bytes(1000))

    @pytest.mark.parametrize("keep", [0, 100, BLOCK, BLOCK + 100, BLOCK + 1000, 2 * BLOCK + 500, 3 * BLOCK])
    def test_an_archive_that_was_cut(self, keep: int) -> None:
        with pytest.raises(ArchiveRefused, match="was cut"):
            unpack((member("f", b"x" * 1000) + END)[:keep])


class TestLimits:
    def test_of_a_file_is_checked_before_its_content(self) -> None:
        stream = io.BytesIO(member("small") + raw("big", tarfile.REGTYPE, b"", size=101))
        limits = TarLimits(file_bytes=100)
        with pytest.raises(ArchiveRefused, match=r"'big' has 101 bytes: the limit of a file is 100"):
            list(read_tar(stream, limits))
        assert unpack(member("fits", b"x" * 100) + END, limits)

    def test_of_all_content(self) -> None:
        data = member("a", b"x" * 60) + member("b", b"x" * 40)
        limits = TarLimits(total_bytes=100)
        assert len(unpack(data + END, limits)) == 2
        with pytest.raises(ArchiveRefused, match="'c' is past the limit of 100 bytes"):
            unpack(data + member("c", b"x") + END, limits)

    def test_of_entries_counts_directories_and_repeats(self) -> None:
        data = member("a") + raw("d/", tarfile.DIRTYPE) + member("a")
        assert unpack(data + END, TarLimits(entries=3)) == {"a": b"", "d": None}
        with pytest.raises(ArchiveRefused, match="'a' is past the limit of 2 entries"):
            unpack(data + END, TarLimits(entries=2))

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_of_one_header(self, kind: bytes) -> None:
        stream = Generated(iter([raw("h", kind, b"", size=(1 << 33) - 1)] + [bytes(MIB)] * 100))
        with pytest.raises(ArchiveRefused, match="bytes of headers"):
            list(read_tar(stream, LIMITS))
        assert stream.taken_bytes == BLOCK

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_of_headers_without_end(self, kind: bytes) -> None:
        stream = Generated(itertools.repeat(raw("h", kind)))
        with pytest.raises(ArchiveRefused, match="bytes of headers"):
            list(read_tar(stream, LIMITS))
        assert stream.taken_bytes <= LIMITS.header_bytes + BLOCK

    def test_a_million_entries(self) -> None:
        """Within the limits the time is linear and the memory constant."""
        template = [member(f"d{n}/f", b"x") for n in range(100)]
        stream = Generated(itertools.chain(itertools.islice(itertools.cycle(template), 1_000_000), [END]))
        with pytest.raises(ArchiveRefused, match="past the limit of 10000 entries"):
            list(read_tar(stream, LIMITS))
        assert stream.taken_bytes < 10_002 * 2 * BLOCK

    def test_memory_does_not_grow_with_entries(self) -> None:
        def peak_bytes(count: int) -> int:
            stream = Generated(itertools.chain(itertools.repeat(member("f", b"x"), count), [END]))
            tracemalloc.start()
            assert sum(1 for _ in read_tar(stream, TarLimits(entries=count))) == count
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return peak

        peak_bytes(10)
        assert peak_bytes(10_000) < peak_bytes(100) + 64 * 1024

    def test_memory_does_not_grow_with_content(self) -> None:
        chunks = itertools.repeat(bytes(MIB), 64)
        stream = Generated(itertools.chain([raw("f", tarfile.REGTYPE, b"", size=64 * MIB)], chunks, [END]))
        tracemalloc.start()
        [size_bytes] = [sum(map(len, entry.content or ())) for entry in read_tar(stream, LIMITS)]
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size_bytes == 64 * MIB
        assert peak_bytes < 4 * MIB


class TestFuzz:
    GOOD = pax(("path", "p/q"), ("mtime", "1.5")) + member("f", b"content") + raw("d/", tarfile.DIRTYPE) + END

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6),
        st.booleans(),
    )
    def test_damage_is_refused_or_harmless(self, damage: list[tuple[int, int]], repair: bool) -> None:
        data = bytearray(self.GOOD)
        for at, byte in damage:
            data[at] = byte
        if repair:
            _repair_checksums(data)
        try:
            found = unpack(bytes(data))
        except ArchiveRefused:
            return
        assert all(not path.startswith("/") and ".." not in path.split("/") for path in found)
        assert sum(len(content or b"") for content in found.values()) <= len(data)

    @settings(deadline=None)
    @given(
        st.dictionaries(st.from_regex(r"[a-zé]{1,150}", fullmatch=True), st.binary(max_size=2000), max_size=8)
    )
    def test_what_the_standard_library_packs(self, files: dict[str, bytes]) -> None:
        assert unpack(b"".join(itertools.starmap(member, files.items())) + END) == files


def _repair_checksums(data: bytearray) -> None:
    for at in range(0, len(data) - 2 * BLOCK, BLOCK):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + BLOCK])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def pack(tree: Path, limits: TarLimits = LIMITS) -> tuple[bytes, list[Omitted]]:
    omitted: list[Omitted] = []
    with opened(os.open(tree, os.O_PATH)) as root:
        return b"".join(write_tar(root, limits, omitted)), omitted


def members(data: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.getmembers()


class TestWrite:
    def test_other_programs_read_it(self, tree: Path, tmp_path: Path) -> None:
        (tree / "d/e").mkdir(parents=True)
        (tree / "d/e/f").write_bytes(b"x" * 700_000)
        (tree / "d/ü").write_bytes(b"2")
        (tree / os.fsdecode(b"\xff")).write_bytes(b"3")
        (tree / ("n" * 200)).write_bytes(b"")
        data, omitted = pack(tree)
        copy = tmp_path / "copy"
        copy.mkdir()
        subprocess.run(["tar", "-C", copy, "-xf", "-"], input=data, check=True)
        subprocess.run(["diff", "-r", tree, copy], check=True)
        assert omitted == []
        assert [entry.path for entry in read_tar(io.BytesIO(data), LIMITS)] == [m.name for m in members(data)]

    def test_is_sorted_and_repeatable(self, tree: Path) -> None:
        for name in ("b", "a", "c"):
            (tree / name).mkdir()
            (tree / name / "f").write_bytes(name.encode())
        data, _ = pack(tree)
        assert [m.name for m in members(data)] == ["a", "a/f", "b", "b/f", "c", "c/f"]
        assert pack(tree)[0] == data

    def test_an_empty_tree(self, tree: Path) -> None:
        assert pack(tree) == (END, [])

    def test_modes_without_setuid_and_times_out_of_range(self, tree: Path) -> None:
        file = tree / "f"
        file.write_bytes(b"")
        file.chmod(0o6751)
        os.utime(file, ns=(0, -5_000_000_000))
        [found] = members(pack(tree)[0])
        assert (found.mode, found.mtime, found.uid) == (0o751, -5, os.getuid())

    def test_what_is_no_file_is_omitted_and_told(self, tree: Path) -> None:
        (tree / "link").symlink_to("/etc")
        (tree / "file").write_bytes(b"x")
        (tree / "inner").symlink_to("file")
        os.mkfifo(tree / "fifo")
        os.mknod(tree / "socket", stat.S_IFSOCK | 0o600)
        data, omitted = pack(tree)
        assert [m.name for m in members(data)] == ["file"]
        assert [o.path for o in omitted] == ["fifo", "inner", "link", "socket"]
        assert "symbolic link" in omitted[2].reason

    def test_a_tree_deeper_than_any_path(self, tree: Path) -> None:
        above = os.open(tree, os.O_PATH)
        for _ in range(40):
            os.mkdir("d" * 200, dir_fd=above)
            below = os.open("d" * 200, os.O_PATH, dir_fd=above)
            os.close(above)
            above = below
        os.close(above)
        data, [omitted] = pack(tree)
        assert len(members(data)) == 20
        assert "longer than 4095 bytes" in omitted.reason
        subprocess.run(["rm", "-r", tree], check=True)

    def test_depth_holds_no_descriptors(self, tree: Path) -> None:
        (tree / "/".join("d" * 300)).mkdir(parents=True)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 50, hard))
        try:
            assert len(members(pack(tree)[0])) == 300
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_limits(self, tree: Path) -> None:
        for name in "abc":
            (tree / name).write_bytes(b"x" * 10)
        assert len(members(pack(tree, TarLimits(entries=3, total_bytes=30, file_bytes=10))[0])) == 3
        for limits, why in (
            (TarLimits(entries=2), "limit of 2 entries"),
            (TarLimits(total_bytes=29), "'c' is past the limit of 29 bytes"),
            (TarLimits(file_bytes=9), "'a' has 10 bytes"),
        ):
            with pytest.raises(ArchiveRefused, match=why):
                pack(tree, limits)

    def test_a_sparse_file_of_exbibytes_is_over_the_limit(self, tree: Path) -> None:
        (tree / "huge").touch()
        os.truncate(tree / "huge", 1 << 40)
        with pytest.raises(ArchiveRefused, match="'huge' has 1099511627776 bytes"):
            pack(tree)

    def test_hard_links_count_each(self, tree: Path) -> None:
        (tree / "a").write_bytes(b"x" * 10)
        (tree / "b").hardlink_to(tree / "a")
        assert [m.size for m in members(pack(tree)[0])] == [10, 10]
        with pytest.raises(ArchiveRefused, match="past the limit of 19 bytes"):
            pack(tree, TarLimits(total_bytes=19))


class TestWriteWhileItChanges:
    SIZE = 3 * CHUNK_BYTES + 100

    def _pack_with(self, tree: Path, new_size: int) -> tuple[bytes, list[Omitted]]:
        """The file gets its new size after its header and first piece have been read."""
        (tree / "f").write_bytes(b"x" * self.SIZE)
        (tree / "g").write_bytes(b"after")
        omitted: list[Omitted] = []
        data = []
        with opened(os.open(tree, os.O_PATH)) as root:
            for number, piece in enumerate(write_tar(root, LIMITS, omitted)):
                data.append(piece)
                if number == 1:
                    os.truncate(tree / "f", new_size)
        return b"".join(data), omitted

    def test_a_file_that_grows_is_cut(self, tree: Path) -> None:
        data, omitted = self._pack_with(tree, 10 * self.SIZE)
        assert unpack(data) == {"f": b"x" * self.SIZE, "g": b"after"}
        assert omitted == []

    def test_a_file_that_shrinks_is_filled_and_told(self, tree: Path) -> None:
        data, [omitted] = self._pack_with(tree, CHUNK_BYTES + 50)
        found = unpack(data)
        assert found["f"] == b"x" * (CHUNK_BYTES + 50) + bytes(self.SIZE - CHUNK_BYTES - 50)
        assert found["g"] == b"after"
        assert omitted.path == "f"
        assert "shrank" in omitted.reason

    def test_a_directory_removed_after_its_header(self, tree: Path) -> None:
        (tree / "d").mkdir()
        (tree / "f").write_bytes(b"after")
        with opened(os.open(tree, os.O_PATH)) as root:
            pieces = write_tar(root, LIMITS, [])
            header = next(pieces)
            (tree / "d").rmdir()
            assert unpack(header + b"".join(pieces)) == {"d": None, "f": b"after"}

    def test_a_tree_in_turmoil_gives_a_whole_archive(self, tree: Path) -> None:
        stop = threading.Event()

        def churn() -> None:
            for number in itertools.count():
                if stop.is_set():
                    return
                (tree / "d").mkdir()
                (tree / "d/f").write_bytes(b"x" * (number % 5 * 1000))
                os.truncate(tree / "d/f", number % 7 * 100)
                (tree / "d/f").unlink()
                (tree / "d").rmdir()

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            deadline = time.monotonic() + 0.5
            seen: set[tuple[str, ...]] = set()
            while time.monotonic() < deadline:
                seen.add(tuple(unpack(pack(tree)[0])))
        finally:
            stop.set()
            thread.join()
        assert len(seen) > 1
