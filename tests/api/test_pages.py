"""Lists come in pages that neither repeat nor leave out, whatever happens between two of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.running import Daemon

pytestmark = [pytest.mark.root, pytest.mark.docker]


@pytest.fixture
def three(running: Daemon, image: str) -> Iterator[list[str]]:
    """The newest three sandboxes of the daemon, oldest first."""
    ids = [running.launch(image, "sleep", "60", limits={"memory": "32m"})["id"] for _ in range(3)]
    yield ids
    for sandbox_id in ids:
        running.request("DELETE", f"/v1/sandboxes/{sandbox_id}")


def page(running: Daemon, limit: int, after: str | None = None) -> tuple[list[str], str | None]:
    query = f"?limit={limit}" + (f"&after={after}" if after else "")
    content = running.request("GET", f"/v1/sandboxes{query}").json()
    return [item["id"] for item in content["items"]], content["next"]


def walk(running: Daemon, limit: int) -> list[str]:
    ids, after = page(running, limit)
    while after is not None:
        more, after = page(running, limit, after)
        assert 1 <= len(more) <= limit
        ids += more
    return ids


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_all_pages_together_are_the_whole_list_in_its_order(
    running: Daemon, three: list[str], limit: int
) -> None:
    whole, after = page(running, 1000)
    assert after is None
    assert whole[-3:] == three
    assert walk(running, limit) == whole


def test_one_that_is_gone_meanwhile_takes_no_other_with_it(running: Daemon, three: list[str]) -> None:
    whole, _ = page(running, 1000)
    first, after = page(running, len(whole) - 2)
    assert first[-1] == three[0]
    assert running.request("DELETE", f"/v1/sandboxes/{three[0]}").status == 204
    rest, last = page(running, 1000, after)
    assert (rest, last) == (three[1:], None)


def test_one_that_came_meanwhile_is_on_a_later_page(running: Daemon, three: list[str], image: str) -> None:
    whole, _ = page(running, 1000)
    _, after = page(running, len(whole) - 1)
    newest = running.launch(image, "true")["id"]
    assert page(running, 1000, after) == ([three[2], newest], None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=%D9%A3", "after=%00", "after=a"]
)
def test_a_page_that_is_none_is_refused(running: Daemon, query: str) -> None:
    answer = running.request("GET", f"/v1/sandboxes?{query}")
    assert (answer.status, answer.json()["type"]) == (400, "/problems/invalid-query")


def test_the_other_lists_have_the_same_form(running: Daemon) -> None:
    for path in ("/v1/profiles", "/v1/doctor", "/v1/findings"):
        assert running.request("GET", path).json().keys() == {"items", "next"}
