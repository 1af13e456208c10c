"""Walking a list: every row once, in order, whatever the page size; and cursors that are none."""

import base64
import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.kit.pagination import Page, decode_cursor, encode_cursor
from service.kit.problems import Invalid
from tests.lab import codes, column

N = 23


@pytest.fixture
def names(lab, other_lab):
    """Compounds in the order of their registration, amid those of another lab."""
    made = [f"C{number:02}" for number in range(N)]
    for start in range(0, N, 5):
        lab.compounds(*made[start : start + 5])
        other_lab.compounds(f"Foreign {start}")
    return made


def cursor_of(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class TestWalking:
    @settings(max_examples=12, deadline=None,
              suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
    @given(limit=st.integers(1, N + 2))
    def test_every_row_once_and_in_order(self, lab, names, limit):
        pages, cursor = [], None
        while cursor is not None or not pages:
            more = {"cursor": cursor} if cursor else {}
            page = lab.ok(lab.get("/v1/compounds", params={"limit": limit, **more}))
            pages.append(page["items"])
            cursor = page["next_cursor"]
        assert [name for page in pages for name in column(page, "name")] == names
        assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
        assert 1 <= len(pages[-1]) <= limit

    def test_by_its_links(self, lab, names):
        path, seen = "/v1/compounds?limit=7", []
        while path:
            response = lab.get(path)
            seen += column(lab.ok(response)["items"], "name")
            link = response.headers.get("link", "")
            path = link and re.fullmatch(r'<(/[^>]+)>; rel="next"', link)[1]
        assert seen == names

    def test_a_link_keeps_the_other_parameters(self, lab):
        campaign = lab.campaign()
        lab.measure(campaign["id"], "X,A,1,,,0.5", "X,A,2,,,0.5")
        path = f"/v1/campaigns/{campaign['id']}/measurements"
        response = lab.get(path, params={"versions": "all", "limit": 1})
        query = parse_qs(urlsplit(response.headers["link"][1:].split(">")[0]).query)
        assert (query["versions"], query["limit"]) == (["all"], ["1"])
        assert query["cursor"] == [response.json()["next_cursor"]]

    def test_the_last_page_has_no_link(self, lab, names):
        response = lab.get("/v1/compounds", params={"limit": N})
        assert response.json()["next_cursor"] is None
        assert "link" not in response.headers

    def test_rows_that_come_meanwhile_are_at_the_end(self, lab, names):
        first = lab.ok(lab.get("/v1/compounds", params={"limit": 20}))
        lab.compounds("New")
        rest = lab.ok(lab.get("/v1/compounds", params={"cursor": first["next_cursor"]}))
        assert column(rest["items"], "name") == [*names[20:], "New"]

    def test_a_cursor_of_another_lab_shows_nothing_of_it(self, lab, other_lab, names):
        theirs = other_lab.ok(other_lab.get("/v1/compounds", params={"limit": 1}))["next_cursor"]
        page = lab.ok(lab.get("/v1/compounds", params={"cursor": theirs}))
        assert all(name in names for name in column(page["items"], "name"))

    def test_a_hundred_unless_told_otherwise(self, lab):
        lab.compounds(*(f"C{number}" for number in range(101)))
        assert len(lab.ok(lab.get("/v1/compounds"))["items"]) == 100


class TestRefusals:
    def test_cursors_that_are_none(self, lab, names, subtests):
        good = json.dumps({"v": 1, "after": "cmp_1"}).encode()
        for cursor in [
            "x", "!!!!", "\u00e9", cursor_of(b""), cursor_of(b"[]"), cursor_of(b"null"),
            cursor_of(b'"cmp_1"'), cursor_of(b'{"v": 1}'), cursor_of(b'{"v": 2, "after": "a"}'),
            cursor_of(b'{"v": 1, "after": 7}'), cursor_of(b'{"v": 1, "after": null}'),
            cursor_of(b'{"v": 1, "after": "\\u0000"}'), cursor_of(b'{"v": 1, "after": "\\ud800"}'),
            cursor_of(b"\xff\xfe"), cursor_of(good) + "%", cursor_of(good)[:-3], "a" * 401,
            cursor_of(b"[" * 290),
        ]:  # fmt: skip
            with subtests.test(cursor[:30]):
                response = lab.get("/v1/compounds", params={"cursor": cursor})
                assert codes(lab.refused(response, 422))[0][1] == "query/cursor"

    def test_limits_that_are_none(self, lab, subtests):
        for limit in ("0", "-1", "501", "ten", "1.5", ""):
            with subtests.test(limit):
                problem = lab.refused(lab.get("/v1/compounds", params={"limit": limit}), 422)
                assert codes(problem)[0][1] == "query/limit"

    @given(st.text(max_size=60))
    def test_no_text_is_more_than_a_refusal(self, text):
        try:
            after = decode_cursor(text)
        except Invalid as problem:
            after, refusal = "", problem
        else:
            refusal = None
        assert after.isprintable()
        assert refusal is None or refusal.errors[0].pointer == "query/cursor"


class TestCursor:
    @given(st.from_regex(r"[a-z]{3}_[0-9a-z]{26}", fullmatch=True))
    def test_it_comes_back(self, identifier):
        cursor = encode_cursor(identifier)
        assert decode_cursor(cursor) == identifier
        assert re.fullmatch(r"[\w-]+", cursor)

    def test_there_is_one_exactly_where_there_is_more(self):
        rows = [type("Row", (), {"id": f"r{n}"}) for n in range(3)]
        assert Page.of(rows, 3).next_cursor is None
        page = Page.of(rows, 2)
        assert page.items == rows[:2]
        assert decode_cursor(page.next_cursor) == "r1"
