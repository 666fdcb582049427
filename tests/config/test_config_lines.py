"""The line index says where a key stands."""

from __future__ import annotations

import pytest

from gateway.config.lines import Lines, Path

TEXT = (
    """# a comment with [brackets] and = signs
top = 1
"quoted \\u006bey" = 'it"""
    + """'

[a]
b.c = "x # no comment" # a comment
text = \"\"\"
[not.a.table]
key = 1
"quoted" \\\"\"\" still
\"\"\"\"
after = '''
[nor = this]'''
[a.d."e.f"]
list = [
    1, # one
    [2, 3],
    {x = 1, y.z = "}"},
]

[[rule]]
name = "first"
[[rule]]
name = "second"
when = {header = {name = "X"}, sender = ["a@b.example"]}
[[rule.sub]]
k = 1979-05-27 07:32:00
[rule.deep]
last = true
"""
)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("quoted key",), 3),
        (("a",), 5),
        (("a", "b"), 6),
        (("a", "b", "c"), 6),
        (("a", "text"), 7),
        (("a", "after"), 12),
        (("a", "d", "e.f"), 14),
        (("a", "d", "e.f", "list"), 15),
        (("a", "d", "e.f", "list", 0), 16),
        (("a", "d", "e.f", "list", 1, 1), 17),
        (("a", "d", "e.f", "list", 2, "y", "z"), 18),
        (("rule", 0), 21),
        (("rule", 0, "name"), 22),
        (("rule", 1), 23),
        (("rule", 1, "when", "header", "name"), 25),
        (("rule", 1, "when", "sender", 0), 25),
        (("rule", 1, "sub", 0, "k"), 27),
        (("rule", 1, "deep", "last"), 29),
    ],
)
def test_each_form_of_key_has_its_line(path: Path, line: int) -> None:
    assert Lines(TEXT).line(path) == line


def test_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    assert Lines(TEXT).line(("rule", 1, "protect")) == 23
    assert Lines(TEXT).line(("nowhere", "at", "all")) == 1


def test_the_text_of_these_tests_is_toml() -> None:
    import tomllib

    assert tomllib.loads(TEXT)["rule"][1]["deep"]["last"] is True
