from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest

from runbook_lib.notebook.pictures import svg


def test_attributes_and_text_are_escaped() -> None:
    drawn = svg.text(1, 2, "<b> & \"'", "small", anchor='"><script>')

    read = ET.fromstring(drawn)

    assert read.text == "<b> & \"'"
    assert read.get("text-anchor") == '"><script>'


def test_control_characters_are_left_out_as_no_xml_may_hold_them() -> None:
    assert ET.fromstring(svg.text(0, 0, "a\x00b\x1b[31m\u2028c")).text == "a b [31m c"


def test_attributes_that_are_none_are_left_out() -> None:
    assert svg.element("path", d="M0 0", stroke_dasharray=None) == '<path d="M0 0"/>'


class TestPage:
    def test_it_is_an_image_with_alternative_text(self) -> None:
        picture = ET.fromstring(svg.page(100, 50, "Title", "What it <shows>", []))[0]
        name = {child.tag.split("}")[1]: child for child in picture}

        assert picture.get("role") == "img"
        assert picture.get("aria-labelledby") == name["title"].get("id")
        assert picture.get("aria-describedby") == name["desc"].get("id")
        assert (name["title"].text, name["desc"].text) == ("Title", "What it <shows>")

    def test_two_pictures_in_a_page_do_not_share_ids(self) -> None:
        ids = re.findall(
            r' id="([^"]+)"', svg.page(1, 1, "a", "b", []) + svg.page(1, 1, "a", "c", [])
        )

        assert len(set(ids)) == 4

    def test_the_same_picture_is_the_same_text(self) -> None:
        assert svg.page(1, 1, "a", "b", []) == svg.page(1, 1, "a", "b", [])

    def test_it_needs_nothing_from_elsewhere(self) -> None:
        html = svg.page(1, 1, "a", "b", [])

        assert not re.search(r"url\(|@import|href|src=", html)

    def test_no_rule_of_its_style_reaches_the_page_around_it(self) -> None:
        rules = re.sub(r"@(media|supports)[^{]*\{", "", svg.STYLE)

        for selector in re.findall(r"([^{}]+)\{[^}]*\}", rules):
            assert selector.startswith((".rb-picture", ".rb-svg", "svg.rb-svg")), selector


class TestShorten:
    def test_what_fits_is_left_alone(self) -> None:
        assert svg.shorten("short", 200) == "short"

    def test_both_ends_of_a_long_name_are_kept(self) -> None:
        short = svg.shorten("release-" + "x" * 80 + "-postgresql-0", 150, size=12, per=svg.WIDE)

        assert short.startswith("release-")
        assert short.endswith("gresql-0")
        assert len(short) * 12 * svg.WIDE <= 150

    @pytest.mark.parametrize("width", [0, 1, 20])
    def test_there_is_something_left_in_the_narrowest_room(self, width: float) -> None:
        assert len(svg.shorten("abcdefgh", width)) == 3


class TestWrap:
    def test_lines_break_between_words(self) -> None:
        assert svg.wrap("one two three", 60, lines=3) == ["one two", "three"]

    def test_the_last_line_says_that_there_is_more(self) -> None:
        lines = svg.wrap("word " * 40, 100, lines=2)

        assert len(lines) == 2
        assert lines[-1].endswith("…")

    def test_words_joined_by_a_hard_space_stay_together(self) -> None:
        assert svg.wrap("POST\xa0403 GET\xa0200", 60) == ["POST\xa0403", "GET\xa0200"]

    def test_nothing_takes_no_line(self) -> None:
        assert svg.wrap("", 100) == []


def test_as_images_pictures_are_whole_and_need_no_trust() -> None:
    page = svg.page(300, 80, "A <title>", "What it shows.", [svg.text(1, 2, "ö & x")])
    shown = svg.as_images(f"<p>before</p>{page}{page}<p>after</p>")
    assert "<svg" not in shown
    assert "<style" not in shown
    images = re.findall(r'<img src="data:image/svg\+xml;base64,([^"]+)" alt="([^"]*)"', shown)
    assert [alt for _, alt in images] == ["A &lt;title&gt;. What it shows."] * 2
    picture = ET.fromstring(base64.b64decode(images[0][0]))
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert "ö & x" in "".join(picture.itertext())
    assert shown.startswith("<p>before</p>")
    assert shown.endswith("<p>after</p>")
