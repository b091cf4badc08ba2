"""References and allow-lists: one meaning a text, or none."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.images.reference import BadReference, Pattern, Reference, is_id, parse

HEX = "a" * 64
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("ubuntu", "docker.io/library/ubuntu"),
        ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
        ("docker.io/ubuntu", "docker.io/library/ubuntu"),
        ("index.docker.io/library/ubuntu", "docker.io/library/ubuntu"),
        ("team/tool", "docker.io/team/tool"),
        ("localhost/x", "localhost/x"),
        ("localhost:5000/foo:1", "localhost:5000/foo:1"),
        ("bb:latest", "docker.io/library/bb:latest"),
        ("team/deadbeef", "docker.io/team/deadbeef"),
        ("docker.io/deadbeef", "docker.io/library/deadbeef"),
        (f"ubuntu@{DIGEST}", f"docker.io/library/ubuntu@{DIGEST}"),
        (f"r.example/a/b/c:t@{DIGEST}", f"r.example/a/b/c:t@{DIGEST}"),
        ("a__b/c---d.e", "docker.io/a__b/c---d.e"),
        ("127.1:5577/x", "127.1:5577/x"),
        ("[::1]:5000/x", "[::1]:5000/x"),
        # These look like Docker's own registry and are others.
        ("evil.com/docker.io/library/ubuntu", "evil.com/docker.io/library/ubuntu"),
        ("docker.io.evil.com/library/ubuntu", "docker.io.evil.com/library/ubuntu"),
        ("docker.io:443/library/ubuntu", "docker.io:443/library/ubuntu"),
        ("registry-1.docker.io/library/ubuntu", "registry-1.docker.io/library/ubuntu"),
    ],
)
def test_it_reads_as_the_engine_does(text: str, meaning: str) -> None:
    assert str(parse(text)) == meaning
    assert parse(meaning) == parse(text)


TRICKS = [
    "", " ubuntu", "ubuntu ", "ubuntu\n", "ubuntu:1\n", "ubuntu\0", "ubuntu:", "ubuntu@", "/ubuntu",
    "ubuntu/",
    "Foo/bar", "LOCALHOST/foo", "DOCKER.IO/library/x", "docker.io/Library/x", "UBUNTU",
    "docker.io@evil.com/x", "user:pass@reg.example/x", "https://docker.io/x", "docker.io\\@evil.com/x",
    "d\u043ecker.io/library/x", "docker\u3002io/x", "ubuntu\uff0flatest", "\u0131ndex.docker.io/x",
    "ubuntu@sha256:abc", f"ubuntu@sha512:{'a' * 128}", f"ubuntu@sha256:{'A' * 64}", f"ubuntu@{HEX}",
    f"ubuntu@{DIGEST}@{DIGEST}", f"ubuntu@{DIGEST}:1",
    DIGEST, HEX, "4472add905c7", "deadbeef", "f", "sha256:abc",
    "reg.example:0/x", "reg.example:99999/x", "reg.example:99999999/x", "reg.example:080/x", "reg.example:/x",
    "reg.example//x", "reg.example./x", ".reg.example/x", "reg..example/x", "-reg.example/x",
    "reg_1.example/x",
    "docker.io/../x", "docker.io/./x", "a___b/c", "a..b/c", "-x", "--config=/etc/passwd", "x" * 300,
    "[::1/x", "[::zz]:1/x", "[1::2::3]/x", "::1/x", "*/x", "docker.io/*", "x:*",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKS, ids=ascii)
def test_a_trick_is_refused_and_named(text: str) -> None:
    with pytest.raises(BadReference, match=r"^image reference '"):
        parse(text)


component = st.from_regex(r"[a-z0-9]{1,8}(?:[._-][a-z0-9]{1,8}){0,2}", fullmatch=True)
host = st.from_regex(r"[a-z][a-z0-9]{0,8}\.[a-z]{2,5}(?::[1-9][0-9]{0,3})?", fullmatch=True)
repository = st.lists(component, min_size=1, max_size=4).map("/".join)
tag = st.none() | st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)
digest = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)
reference = st.builds(
    Reference, host.filter(lambda name: not name.endswith("docker.io")), repository, tag, digest
)


@given(reference)
def test_what_is_written_in_full_reads_as_itself(written: Reference) -> None:
    assert parse(str(written)) == written


@given(st.text() | st.text("aA0.:/@-_[] \n*", max_size=40))
def test_whatever_is_read_has_one_meaning(text: str) -> None:
    try:
        read = parse(text)
    except BadReference:
        return
    assert parse(str(read)) == read
    assert str(read).isascii()
    assert not any(character.isspace() for character in str(read))
    assert not is_id(text)
    assert read.registry == read.registry.lower()


@given(reference, st.sampled_from(["/*", "/**"]), component)
def test_a_pattern_means_whole_parts(written: Reference, wildcard: str, more: str) -> None:
    below = Reference(written.registry, f"{written.repository}/{more}")
    beside = Reference(written.registry, f"{written.repository}{more}")
    pattern = Pattern.of(written.name + wildcard)
    assert pattern.matches(below)
    assert not pattern.matches(written)
    assert not pattern.matches(Reference(f"x{written.registry}", below.repository))
    assert not Pattern.of(written.name).matches(beside)
    assert Pattern.of(written.name).matches(written)
    assert not pattern.matches(Reference(written.registry, f"{written.repository}{more}/x"))


TEAM = Pattern.of("registry.example.com/team/**")


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("registry.example.com/team/x", True),
        ("registry.example.com/team/x/y", True),
        ("registry.example.com/team", False),
        ("registry.example.com/teamevil/x", False),
        ("registry.example.com.evil.com/team/x", False),
        ("evil.com/registry.example.com/team/x", False),
        ("registry.example.com:443/team/x", False),
        ("xregistry.example.com/team/x", False),
    ],
)
def test_no_neighbour_is_let_in(text: str, matched: bool) -> None:
    assert TEAM.matches(parse(text)) is matched


def test_one_star_is_one_part() -> None:
    one = Pattern.of("ghcr.io/team/*")
    assert one.matches(parse("ghcr.io/team/x"))
    assert not one.matches(parse("ghcr.io/team/x/y"))


def test_a_registry_alone_is_all_of_it() -> None:
    assert Pattern.of("index.docker.io").matches(parse("ubuntu"))
    assert Pattern.of("docker.io").matches(parse("team/tool:1"))
    assert not Pattern.of("docker.io").matches(parse("ghcr.io/team/tool"))


@pytest.mark.parametrize(
    "text",
    ["", "*", "ubuntu", "library/ubuntu", "*.example.com/x", "docker.io/", "docker.io/te*", "docker.io/*/x",
     "docker.io/**/x", "DOCKER.IO", "docker.io/x:1", f"docker.io/x@{DIGEST}", "docker.io/***",
     "docker.io//x", "team x"],
)  # fmt: skip
def test_a_pattern_that_would_mean_more_than_it_says_is_refused(text: str) -> None:
    with pytest.raises(BadReference):
        Pattern.of(text)


def test_the_more_a_pattern_names_the_more_specific_it_is() -> None:
    texts = ["docker.io", "docker.io/*", "docker.io/a/**", "docker.io/a/*", "docker.io/a/b"]
    patterns = [Pattern.of(text) for text in texts]
    assert sorted(patterns, key=lambda pattern: pattern.specificity) == patterns
    assert len({pattern.specificity for pattern in patterns}) == len(patterns)
