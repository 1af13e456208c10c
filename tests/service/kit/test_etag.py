"""Versions as ETags: who changes a row must have read it as it is."""

import pytest
from fastapi import Response

from service.kit import etag
from service.kit.problems import PreconditionFailed, PreconditionRequired


class TestCheck:
    @pytest.mark.parametrize("given", ['"7"', ' "7" ', '"6", "7"', "*", '"7","8"'])
    def test_the_present_version_may(self, given):
        etag.check(given, 7)

    @pytest.mark.parametrize("given", ['"6"', "7", "", '"77"', '"07a"', "'7'", '"-7"', '"7', "**"])
    def test_any_other_may_not(self, given):
        with pytest.raises(PreconditionFailed, match='"7"'):
            etag.check(given, 7)

    def test_nothing_is_not_enough(self):
        with pytest.raises(PreconditionRequired, match='If-Match: "7"'):
            etag.check(None, 7)


class TestKnown:
    @pytest.mark.parametrize("given", ['"a-1"', 'W/"a-1"', '"b", "a-1"', '"b",W/"a-1"', "*"])
    def test_it_is(self, given):
        assert etag.is_known(given, '"a-1"')

    @pytest.mark.parametrize("given", [None, "", '"b"', "a-1", '"a-1', '"a-12"', 'X/"a-1"'])
    def test_it_is_not(self, given):
        assert not etag.is_known(given, '"a-1"')


def test_a_tag_is_the_quoted_version():
    response = Response()
    etag.tag(response, 12)
    assert response.headers["etag"] == '"12"'


class TestOverHttp:
    @pytest.fixture
    def compound(self, lab):
        (identifier,) = lab.compounds("A")
        return f"/v1/compounds/{identifier}"

    def change(self, lab, compound, value):
        return lab.request("PATCH", compound, json={"name": "B"}, headers={"If-Match": value})

    def test_taken(self, lab, compound):
        response = self.change(lab, compound, '"9", "1"')
        assert (response.status_code, response.headers["etag"]) == (200, '"2"')

    def test_not_taken(self, lab, compound):
        for value in ('"2"', "1", '"x"', ""):
            with lab.untouched():
                lab.refused(self.change(lab, compound, value), 412)

    def test_too_long(self, lab, compound):
        with lab.untouched():
            problem = lab.refused(self.change(lab, compound, '"1",' * 60), 422)
        assert problem["errors"][0]["pointer"].lower() == "header/if-match"
