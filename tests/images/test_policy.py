"""The policy of images: which rule decides, and that a file that says something odd is refused whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon import PROFILES, ROOT
from daemon.errors import ConfigError
from daemon.findings import Severity
from daemon.images.policy import FILE, ImagePolicy, covers, load_policy, read_policy
from daemon.images.reference import parse
from daemon.sandbox.profile import Profiles
from tests.images.authority import Authority

ID = "sha256:" + "ab" * 32
WHY = "why = 'it is made for a test'\n"
LOCAL = f"[local]\nimages = ['*']\n{WHY}"


VEX = """{"@context": "https://openvex.dev/ns/v0.2.0", "author": "the tests",
"timestamp": "2030-01-01T00:00:00Z", "statements": [{"vulnerability": {"name": "CVE-1"},
"products": [{"@id": "pkg:deb/debian/a"}], "status": "affected"}]}"""
FILES = {
    "/etc/container-kit/vex/team.json": VEX,
    "/var/lib/container-kit/known_exploited_vulnerabilities.json": '{"vulnerabilities": []}',
    "/var/lib/container-kit/epss_scores-current.csv.gz": "cve,epss,percentile\n",
}


def policy(tmp_path: Path, text: str) -> ImagePolicy:
    """With the files that the examples name."""
    for name, content in FILES.items():
        (tmp_path / Path(name).name).write_text(content)
        text = text.replace(name, str(tmp_path / Path(name).name))
    path = tmp_path / FILE
    path.write_text(text)
    return read_policy(path)


def rule(*images: str, more: str = "") -> str:
    return f"[[rules]]\nimages = {list(images)}\n{WHY}{more}\n"


def decided_by(judged: ImagePolicy, name: str) -> str | None:
    found = judged.rule_for(parse(name))
    return str(found[0]) if found else None


def test_the_shipped_policy_lets_local_images_and_docker_hub_run() -> None:
    shipped = load_policy([PROFILES])
    assert covers(shipped.local.images, [], ID)
    assert decided_by(shipped, "python:3") == "docker.io/**"
    assert decided_by(shipped, "ghcr.io/x/y") is None


def test_it_is_no_profile() -> None:
    assert {profile.name for profile in Profiles([PROFILES])} == {"strict", "default", "build", "network"}


def test_the_most_specific_rule_decides_whatever_the_order(tmp_path: Path) -> None:
    patterns = [
        "r.example",
        "r.example/team/**",
        "r.example/team/*",
        "r.example/team/tool",
        "r.example/team/a/**",
    ]
    for order in (patterns, patterns[::-1]):
        judged = policy(tmp_path, LOCAL + "".join(rule(one) for one in order))
        assert decided_by(judged, "r.example/x") == "r.example"
        assert decided_by(judged, "r.example/team/x") == "r.example/team/*"
        assert decided_by(judged, "r.example/team/tool:2") == "r.example/team/tool"
        assert decided_by(judged, "r.example/team/b/c") == "r.example/team/**"
        assert decided_by(judged, "r.example/team/a/c") == "r.example/team/a/**"
        assert decided_by(judged, "r.example:443/team/x") is None
        assert decided_by(judged, "python") is None


def test_what_an_entry_covers() -> None:
    names = [parse("bench:1")]
    assert covers(["*"], [], ID)
    assert covers([ID], [], ID)
    assert covers(["docker.io/library/bench"], names, ID)
    assert not covers(["sha256:" + "cd" * 32, "docker.io/bench", "ghcr.io"], names, ID)
    assert not covers([], names, ID)


def test_everything_that_can_be_written_is_read(tmp_path: Path) -> None:
    more = """
digest_required = true
max_issue = "medium"
signature = { keys = ["/k/a.pub"], identities = [{ issuer = "https://i", subject = "s" }], threshold = 2 }
vulnerabilities = { max_severity = "low", unknown_as = "high", fixable_only = true, max_scan_age = "1h" }
"""
    exception = f"[[exceptions]]\nid = 'CVE-1'\nimages = ['{ID}', 'r.example/x']\nexpires = 2030-01-01\n{WHY}"
    tightening = f"[profiles.strict]\nmax_issue = 'low'\n{WHY}"
    trust = f"[sigstore]\ntrusted_root = '{Authority().root(tmp_path / 'root.json')}'\n"
    read = policy(tmp_path, LOCAL + rule("r.example/**", more=more) + exception + tightening + trust)
    (only,) = read.rules
    assert only.vulnerabilities is not None
    assert (only.vulnerabilities.max_severity, only.vulnerabilities.max_scan_age) == (Severity.LOW, 3600)
    assert only.signature is not None
    assert only.signature.threshold == 2
    assert read.profiles["strict"].max_issue is Severity.LOW
    assert read.exceptions[0].expires.year == 2030


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "local: Field required"),
        (LOCAL + "trust_all = true\n", "local.trust_all: Extra inputs"),
        ("trust_all = true\n" + LOCAL, "trust_all: Extra inputs"),
        ("[local]\nimages = ['*']\n", "local.why: Field required"),
        ("[local]\nimages = ['*']\nwhy = 'short'\n", "local.why: String should have at least 10"),
        ("[local]\nimages = ['4472add905c7']\n" + WHY, "local.images.0: "),
        (LOCAL + rule("*"), "rules.0.images.0: .*in full"),
        (LOCAL + rule("*.example.com/x"), "rules.0.images.0: "),
        (LOCAL + rule("DOCKER.IO"), "rules.0.images.0: "),
        (LOCAL + rule(), "rules.0.images: "),
        (LOCAL + rule("r.example", more="signed = true"), "rules.0.signed: "),
        (LOCAL + rule("r.example", more="signature = {}"), "rules.0.signature: .*threshold"),
        (LOCAL + rule("r.example", more="vulnerabilities = {}"), "rules.0.vulnerabilities.max_severity: "),
        (
            LOCAL + rule("r.example", more="vulnerabilities = { max_severity = 'terrible' }"),
            "rules.0.vulnerabilities.max_severity: ",
        ),
        (
            LOCAL + rule("r.example", more="vulnerabilities = { max_severity = 'low', max_scan_age = 0 }"),
            "rules.0.vulnerabilities.max_scan_age: ",
        ),
        (LOCAL + rule("r.example") + rule("r.example/**"), "two rules are for r.example/"),
        (LOCAL + rule("docker.io") + rule("index.docker.io"), "two rules are for docker.io/"),
        (LOCAL + f"[[exceptions]]\nid = 'CVE-1'\nimages = ['r.example']\n{WHY}", "exceptions.0.expires: "),
        (LOCAL + "[local]\n", "cannot be read as TOML"),
    ],
)
def test_what_is_odd_is_refused_with_file_and_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/{FILE}: .*{key}"):
        policy(tmp_path, text)


def test_the_policy_of_the_documentation_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs/images.md").read_text().partition("```toml\n")[2].partition("```")[0]
    assert decided_by(policy(tmp_path, text), "registry.example.com/team/x") == "registry.example.com/team/**"


def test_the_examples_of_the_shipped_one_can_be_uncommented(tmp_path: Path) -> None:
    before, _, examples = (PROFILES / FILE).read_text().partition("# For example:\n")
    text = before + "".join(line.removeprefix("#") for line in examples.splitlines(keepends=True))
    read = policy(tmp_path, text)
    assert (len(read.rules), list(read.profiles), len(read.exceptions)) == (2, ["strict"], 1)
    assert [len(entry.document.statements) for entry in read.vex] == [1]


def test_the_last_folder_that_has_one_decides(tmp_path: Path) -> None:
    assert load_policy([PROFILES, tmp_path]) == load_policy([PROFILES])
    (tmp_path / FILE).write_text(f"[local]\nimages = []\n{WHY}")
    assert load_policy([PROFILES, tmp_path]).local.images == []


def test_none_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no {FILE} found"):
        load_policy([tmp_path])
