"""The image gate with a real engine and registry: only what was judged runs, and nothing that was not."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from daemon import PROFILES, __version__
from daemon.cli import main
from daemon.images.osv import index
from daemon.images.policy import FILE
from tests.images.advisories import ADVISORIES, Advisory, osv_directory
from tests.images.archives import File, alpine, debian
from tests.images.local_registry import Images, registry
from tests.running import Daemon, daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]
LOCAL = f"container-kit-test/gate-{os.getpid()}"
VULNERABLE = {"openssl": "3.0.1-1"}
CVE = "CVE-2099-0001"
POLICY = """
[local]
images = ["docker.io/{local}/listed"]
why = "what the tests build"

[[rules]]
images = ["{host}/open/**"]
why = "runs as it is, for the tests"

[[rules]]
images = ["{host}/pinned/**"]
digest_required = true
why = "must be named by its digest"

[[rules]]
images = ["{host}/signed/**"]
signature = {{ keys = ["/nowhere/release.pub"] }}
why = "must be signed by the release key"

[[rules]]
images = ["{host}/scanned/**"]
vulnerabilities = {{ max_severity = "medium", unknown_as = "high" }}
why = "must have no bad vulnerability"

[[rules]]
images = ["{host}/lenient/**"]
vulnerabilities = {{ max_severity = "medium", unknown_as = "low" }}
why = "need not be understood at all"

[[rules]]
images = ["{host}/plain/**"]
max_issue = "low"
why = "must have no devices in it"

[profiles.strict]
digest_required = true
why = "the same bytes every time"

[[exceptions]]
id = "{cve}"
images = ["{host}/scanned/excepted"]
expires = {tomorrow}
why = "the code in question is not built"

[[exceptions]]
id = "{cve}"
images = ["{host}/scanned/expired"]
expires = {yesterday}
why = "it was to be fixed by now"
"""


@dataclass(frozen=True)
class Gated:
    """A daemon with POLICY, the registry whose images it judges, and what makes images."""

    daemon: Daemon
    host: str
    images: Images
    folder: Path

    def pushed(self, path: str, *files: File) -> str:
        name = f"{self.host}/{path}"
        self.images.pushed(name, [*files, File("etc/made-for", path.encode())])
        return name

    def check(self, name: str, profile: str = "default") -> Any:
        return self.daemon.request("POST", "/v1/images/check", {"image": name, "profile": profile}).json()

    def threats(self, name: str, profile: str = "default") -> dict[str, str]:
        """By id, those that block."""
        found = self.check(name, profile)["threats"]
        return {one["id"]: one["reason"] for one in found if one["severity"] in {"HIGH", "CRITICAL"}}

    def notes(self, name: str) -> dict[str, str]:
        found = self.check(name)["threats"]
        return {one["id"]: one["reason"] for one in found if one["severity"] == "LOW"}

    def advisories(self, *known: Advisory) -> None:
        """The database from now on."""
        index.build(osv_directory(self.daemon.state / "osv", known))


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    folder = tmp_path_factory.mktemp("gate")
    images = Images()
    try:
        with registry(folder) as host, daemon(folder, _settings(folder, host)) as started:
            gated = Gated(started, host, images, folder)
            gated.advisories(*ADVISORIES)
            yield gated
    finally:
        images.close()


def _settings(folder: Path, host: str) -> str:
    profiles = folder / "profiles"
    profiles.mkdir()
    for name in ("default", "strict"):
        text = (PROFILES / f"{name}.toml").read_text()
        changed = text.replace('value = ["docker.io"]', f'value = ["docker.io", "{host}"]')
        assert changed != text
        (profiles / f"{name}.toml").write_text(changed)
    today, day = datetime.now(UTC).date(), timedelta(days=1)
    text = POLICY.format(local=LOCAL, host=host, cve=CVE, tomorrow=today + day, yesterday=today - day)
    (profiles / FILE).write_text(text)
    return f'profile_dirs = ["{PROFILES}", "{profiles}"]\n'


def test_what_a_rule_covers_runs_and_the_report_says_what_nobody_checked(gated: Gated) -> None:
    name = gated.pushed("open/tool:1")
    assert gated.daemon.run(name, "echo", "ran")["stdout"] == "ran\n"
    report = gated.check(name)
    assert not report["blocked"]
    detail = f"{gated.host}/open/tool is covered by the rule for {gated.host}/open/**"
    assert {"id": "image.policy", "detail": detail} in report["active_controls"]
    unchecked = gated.notes(name)["image.unchecked"]
    assert unchecked.endswith("ask for it: its signature, vulnerabilities, configuration and layers")


def test_what_no_rule_covers_does_not_run(gated: Gated) -> None:
    name = gated.pushed("other/tool:1")
    refused = gated.daemon.run(name, "true")
    assert refused["type"] == "/problems/execution-blocked"
    reason = f"untrusted registry: no rule of the policy covers {gated.host}/other/tool"
    assert refused["reasons"] == [reason]


def test_another_name_for_it_does_not_help(gated: Gated) -> None:
    """Of each name that it was pulled by, the rule is asked."""
    name = gated.pushed("elsewhere/tool:1")
    gated.images.tag(name, f"{gated.host}/open/disguised:1")
    assert list(gated.threats(f"{gated.host}/open/disguised:1")) == ["image.policy"]


def test_a_digest_where_one_is_asked_for(gated: Gated) -> None:
    name = f"{gated.host}/pinned/tool"
    digest = gated.images.pushed(f"{name}:1", [File("etc/made-for", b"pinned")])
    image_id = gated.images.client.images.get(f"{name}:1").id
    assert "has none" in gated.threats(f"{name}:1")["image.digest"]
    assert gated.threats(f"{name}@{digest}") == {}
    assert gated.threats(image_id) == {}
    assert gated.daemon.run(f"{name}@{digest}", "true")["exit_code"] == 0


def test_a_profile_asks_for_more(gated: Gated) -> None:
    name = gated.pushed("open/tightened:1")
    assert gated.threats(name) == {}
    assert "profile strict asks for a digest" in gated.threats(name, "strict")["image.digest"]


def test_a_signature_that_cannot_be_verified_is_none(gated: Gated) -> None:
    name = gated.pushed("signed/tool:1")
    assert "a key of the policy cannot be used" in gated.threats(name)["image.signature"]
    assert gated.daemon.run(name, "true")["type"] == "/problems/execution-blocked"


def test_local_images_are_those_that_are_listed(gated: Gated) -> None:
    listed, other = f"{LOCAL}/listed:1", f"{LOCAL}/other:1"
    gated.images.local(listed)
    other_id = gated.images.local(other, [File("etc/made-for", b"other")])
    assert gated.threats(listed) == {}
    assert "made on this host" in gated.threats(other)["image.policy"]
    assert list(gated.threats(other_id)) == ["image.policy"]
    assert list(gated.threats(other_id[7:19])) == ["image.registry", "image.reference"]


def test_vulnerabilities_above_the_limit_block(gated: Gated) -> None:
    bad = gated.pushed("scanned/bad:1", *debian(VULNERABLE))
    reason = gated.threats(bad)["image.vulnerability"]
    assert reason == f"vulnerabilities above medium: {CVE} in openssl 3.0.1-1 (critical, fixed in 3.0.11-1)"
    assert gated.daemon.run(bad, "true")["reasons"] == [reason]
    good = gated.pushed("scanned/good:1", *alpine({"musl": "1.2.4-r2"}))
    assert gated.threats(good) == {}
    (control,) = [c for c in gated.check(good)["active_controls"] if c["id"] == "image.vulnerabilities"]
    assert control["detail"].startswith("none known of 1 packages, builtin with a database of ")
    assert gated.daemon.run(good, "true")["exit_code"] == 0


def test_what_is_not_understood_counts_as_the_policy_says(gated: Gated) -> None:
    strict, lenient = gated.pushed("scanned/odd:1"), gated.pushed("lenient/odd:1")
    assert "no package was found" in gated.threats(strict)["image.unscannable"]
    assert gated.threats(lenient) == {}
    assert "no package was found" in gated.notes(lenient)["image.unscannable"]


def test_an_exception_holds_until_its_day(gated: Gated) -> None:
    excepted = gated.pushed("scanned/excepted:1", *debian(VULNERABLE))
    expired = gated.pushed("scanned/expired:1", *debian(VULNERABLE))
    assert gated.threats(excepted) == {}
    assert gated.notes(excepted)["image.vulnerability.accepted"].startswith("1 vulnerabilities")
    ended = datetime.now(UTC).date() - timedelta(days=1)
    assert f"its exception ended on {ended}" in gated.threats(expired)["image.vulnerability"]


def test_issues_of_configuration_and_layers_block(gated: Gated) -> None:
    device = File("dev/disk", kind=b"4", device=(8, 0))
    name = gated.pushed("plain/tool:1", device)
    assert "dev/disk" in gated.threats(name)["image.device"]


def test_a_tag_that_moves_after_the_check_is_judged_anew(gated: Gated) -> None:
    good, bad = f"{gated.host}/scanned/first:1", f"{gated.host}/scanned/second:1"
    gated.pushed("scanned/first:1", *alpine({"musl": "1.2.4-r2"}))
    gated.pushed("scanned/second:1", *debian(VULNERABLE))
    moving = f"{gated.host}/scanned/moving:1"
    gated.images.tag(good, moving)
    assert gated.threats(moving) == {}
    assert gated.daemon.run(moving, "cat", "/etc/made-for")["stdout"] == "scanned/first:1"
    gated.images.tag(bad, moving)  # what the daemon remembers of the name lets it run
    refused = gated.daemon.run(moving, "cat", "/etc/made-for")
    assert CVE in refused["reasons"][0], refused
    assert gated.daemon.containers() == 0


def test_a_new_database_is_asked_anew_and_none_is_no_excuse(gated: Gated) -> None:
    name = gated.pushed("scanned/aging:1", *debian({"zlib": "1.2.13"}))
    gated.advisories(Advisory("CVE-2099-0100", "Debian:12", "zlib", "1.2"))
    assert gated.threats(name) == {}
    gated.advisories(Advisory("CVE-2099-0101", "Debian:12", "zlib", "2.0"))
    assert "CVE-2099-0101" in gated.threats(name)["image.vulnerability"]
    database = gated.daemon.state / "osv" / index.INDEX
    database.rename(database.with_suffix(".gone"))
    try:
        assert "images db import" in gated.threats(name)["image.unscannable"]
    finally:
        database.with_suffix(".gone").rename(database)
        gated.advisories(*ADVISORIES)


def test_what_was_read_of_an_image_goes_with_it(gated: Gated) -> None:
    name = gated.pushed("scanned/going:1", *alpine({"musl": "1.2.4-r2"}))
    assert gated.threats(name) == {}
    image = gated.images.client.images.get(name)
    read = gated.daemon.state / "images" / __version__ / f"{image.id.removeprefix('sha256:')}.json"
    assert read.is_file()
    assert [path.name for path in read.parents[1].iterdir()] == [__version__]
    gated.images.client.images.remove(image.id, force=True)
    deadline_s = time.monotonic() + 30
    while read.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not read.exists()


def test_the_command_says_it_by_its_exit_status(gated: Gated) -> None:
    name = gated.pushed("open/command:1")
    environment = {"CONTAINER_KIT_SOCKET": str(gated.daemon.socket)}
    allowed = CliRunner().invoke(main, ["images", "check", name], env=environment)
    assert (allowed.exit_code, allowed.output.partition(",")[0]) == (0, "allowed: risk LOW")
    blocked = CliRunner().invoke(main, ["images", "check", "--profile=strict", name], env=environment)
    assert blocked.exit_code == 1
    assert "image.digest" in blocked.output
