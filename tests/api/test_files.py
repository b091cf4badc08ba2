"""Files of a workspace by the API: what cannot be had or taken says which, and what to do."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterator

import pytest

from daemon.api.files import MAX_FILE_BYTES
from tests.running import Answer, Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]

SCRIPT = """
mkdir d; : >d/a; truncate -s 2G d/b; truncate -s 65M big; ln -s /etc l; mkfifo p; : >made; exec sleep 600
"""


@pytest.fixture(scope="module")
def files(running: Daemon, image: str) -> Iterator[str]:
    """The path of a workspace of 1 MiB with a folder, a link, a FIFO and a file that is nearly all hole."""
    sandbox = running.launch(image, "sh", "-c", SCRIPT, limits={"workspace_size": "1m"})
    path = f"/v1/sandboxes/{sandbox['id']}"
    made = {"command": ["sh", "-c", "until [ -e made ]; do :; done"]}
    assert running.request("POST", f"{path}/exec", made).lines() == [{"exit_code": 0}]
    yield f"{path}/files"
    running.request("DELETE", path)


def archive(content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("f")
        member.type, member.size = kind, len(content)
        tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def check(answer: Answer, status: int, kind: str, told: str) -> None:
    problem = answer.json()
    assert (answer.status, problem["type"]) == (status, f"/problems/{kind}")
    assert told in problem["detail"]


@pytest.mark.parametrize(
    ("path", "status", "kind", "told"),
    [
        ("absent", 404, "not-found", "that file does not exist"),
        ("absent?tar=true", 404, "not-found", "that file does not exist"),
        ("big", 413, "too-large", "fetch it with tar=true"),
        ("d", 400, "path-refused", "'d' is a directory: name a file"),
        ("l/passwd", 400, "path-refused", "symbolic link: name the path that the link stands for"),
        ("p?tar=true", 400, "path-refused", "only regular files can be opened"),
        ("..%2fx", 400, "path-refused", "write the path without it"),
        ("made?tar=yes", 400, "invalid-query", "tar: write true or false"),
    ],
)
def test_what_cannot_be_fetched(
    running: Daemon, files: str, path: str, status: int, kind: str, told: str
) -> None:
    check(running.request("GET", f"{files}/{path}"), status, kind, told)


def test_what_is_too_large_for_one_answer_comes_as_a_tree(running: Daemon, files: str) -> None:
    answer = running.request("GET", f"{files}/big?tar=true")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as tar:
        assert [(member.name, member.size) for member in tar] == [("big", 65 << 20)]


def test_a_tree_that_passes_a_limit_is_not_sent_as_if_it_were_whole(running: Daemon, files: str) -> None:
    with socket.socket(socket.AF_UNIX) as raw, raw.makefile("rb") as answer:
        raw.settimeout(10)
        raw.connect(str(running.socket))
        raw.sendall(f"GET {files}/d?tar=true HTTP/1.1\r\nHost: d\r\n\r\n".encode())
        sent = answer.read()
    assert sent.startswith(b"HTTP/1.1 200 ")
    assert sent.count(b"HTTP/") == 1  # no other answer in the midst of it
    assert not sent.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "told"),
    [
        ("new", bytes(2 << 20), 507, "workspace-full", "ask for a larger workspace_size"),
        (".?tar=true", archive(bytes(2 << 20)), 507, "workspace-full", "ask for a larger workspace_size"),
        ("new", bytes(MAX_FILE_BYTES + 1), 413, "too-large", "send it as a tar with tar=true"),
        ("d", b"", 400, "path-refused", "'d' is a directory: name a file"),
        (".?tar=true", b"no tar" * 100, 400, "file-refused", "send an uncompressed tar archive"),
        (".?tar=true", archive(b"x" * 600)[:700], 400, "file-refused", "it was cut, send it again"),
        (".?tar=true", archive(b"", tarfile.SYMTYPE), 400, "file-refused", "pack only regular files"),
    ],
    ids=["full", "full by a tree", "large", "a folder", "no tar", "half a tar", "a link"],
)
def test_what_cannot_be_taken_leaves_nothing(
    running: Daemon, files: str, path: str, body: bytes, status: int, kind: str, told: str
) -> None:
    check(running.request("PUT", f"{files}/{path}", body), status, kind, told)
    names = running.request("POST", f"{files.removesuffix('files')}exec", {"command": ["ls", "-A"]}).lines()
    assert names == [{"stream": "stdout", "data": "big\nd\nl\nmade\np\n"}, {"exit_code": 0}]


def test_after_the_end_they_are_there_until_it_is_forgotten(running: Daemon, image: str) -> None:
    result = running.run(image, "sh", "-c", "echo kept >f")
    path = f"/v1/sandboxes/{result['sandbox_id']}"
    assert running.request("PUT", f"{path}/files/g", b"late").status == 204
    assert [running.request("GET", f"{path}/files/{name}").body for name in "fg"] == [b"kept\n", b"late"]
    running.request("DELETE", path)
    check(running.request("GET", f"{path}/files/f"), 404, "not-found", "does not exist, or is not yours")
