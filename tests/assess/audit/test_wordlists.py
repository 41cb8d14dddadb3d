"""The word lists of the audit: the shipped ones are valid, a user's file overrides them, problems are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from submillion.assess.audit.wordlists import OWN, SHIPPED, AuditWords, parse, read_words
from submillion.errors import BadInput
from submillion.rundir import RunDir


def words_with(tmp_path: Path, own: str | None = None) -> tuple[AuditWords, list[str]]:
    run = RunDir.create(tmp_path / "run")
    if own is not None:
        (run.path / OWN).write_text(own, encoding="utf-8")
    return read_words(run)


def problems_of(tmp_path: Path, own: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        words_with(tmp_path, own)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_the_shipped_lists_are_sound(tmp_path: Path) -> None:
    words, own = words_with(tmp_path)
    assert own == []
    axes = {f"{listed.kind}.{level}" for listed in words.lists for level in listed.levels}
    assert axes == {"given_names.gender", "given_names.region", "countries.region", "companies.sector"}
    for listed in words.lists:
        assert listed.source and listed.title
        spellings = [spelling for word in listed.words for form in word.forms for spelling in form]
        assert len({spelling.lower() for spelling in spellings}) == len(spellings)
        assert listed.capital_only <= set(spellings)
        places = [word.place for word in listed.words]
        assert min(places.count(place) for place in places) >= 3  # the control needs others of the group
    names = next(listed for listed in words.lists if listed.kind == "given_names")
    # Gender is exchanged within a region, so that every region needs both.
    pairs = {(region, gender) for region in names.groups(0) for gender in names.groups(1)}
    assert {word.place for word in names.words} == pairs


def test_the_shipped_texts_are_short_distinct_and_enough_to_judge(tmp_path: Path) -> None:
    words, _ = words_with(tmp_path)
    for kinds in (words.outside, words.foreign):
        texts = [text for texts in kinds.values() for text in texts]
        assert len(set(texts)) == len(texts) >= 30
        assert all(len(text) < 200 for text in texts)


def test_no_spelling_is_in_two_lists(tmp_path: Path) -> None:
    words, _ = words_with(tmp_path)
    owners: dict[str, str] = {}
    for listed in words.lists:
        for word in listed.words:
            for spelling in (spelling for form in word.forms for spelling in form):
                assert owners.setdefault(spelling.lower(), listed.kind) == listed.kind


def test_the_lists_are_in_the_package() -> None:
    assert sorted(file.name for file in SHIPPED.glob("*.yaml")) == [
        "companies.yaml",
        "countries.yaml",
        "names.yaml",
        "outside.yaml",
    ]


def test_a_users_file_extends_overrides_and_removes(tmp_path: Path) -> None:
    own = """
words:
  companies: null
  given_names: {groups: {Islands: {women: [Malia, Leilani], men: [Kai, Keoni]}}}
  faiths:
    title: faiths
    source: our own
    levels: [faith]
    forms: [people, adjective]
    groups: {one: [[Xs, X-ish], [[Ys, Why], Y-ish]], two: [[Zs, Z-ish], [Vs, V-ish]]}
outside: {recipes: null, tickets: [My printer does not print.]}
foreign: {German: [Guten Morgen.]}
"""
    words, changed = words_with(tmp_path, own)
    lists = {listed.kind: listed for listed in words.lists}
    assert list(lists) == ["countries", "given_names", "faiths"]
    assert changed == ["given_names", "faiths"]
    assert lists["given_names"].groups(0)[-1] == "Islands"
    assert "English-speaking" in lists["given_names"].groups(0)
    assert lists["faiths"].words[1].forms == (("Ys", "Why"), ("Y-ish",))
    assert lists["faiths"].words[1].name == "Ys"
    assert "recipes" not in words.outside and words.outside["tickets"] == ("My printer does not print.",)
    assert words.foreign["German"] == ("Guten Morgen.",) and len(words.foreign["French"]) > 1


def test_lists_survive_json(tmp_path: Path) -> None:
    words, _ = words_with(tmp_path, "words: {companies: {groups: {more: [Aaa, Bbb]}}}")
    assert parse(json.loads(json.dumps(words.values)), "audit.json") == words


def test_an_audit_may_have_no_lists(tmp_path: Path) -> None:
    words, _ = words_with(tmp_path, "{words: null, outside: null, foreign: null}")
    assert (words.lists, words.outside, words.foreign) == ((), {}, {})


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("word: {}", "audit.yaml: word: expected a known key, found 'word'. Did you mean 'words'?"),
        ("words: [a]", "words: expected a mapping of names"),
        ("words: {x: {title: t}}", "words.x.source: expected a value"),
        ("words: {countries: {levels: [a, b, c]}}", "words.countries.levels: expected one name or two"),
        ("words: {countries: {level: [a]}}", "Did you mean 'levels'?"),
        ("words: {companies: {title: 3}}", "words.companies.title: expected a text"),
        ("words: {companies: {groups: {x: [One]}}}", "groups.x: expected a list of at least two words"),
        ("words: {companies: {groups: {x: [One, true]}}}", "groups.x: expected a word"),
        ("words: {companies: {groups: {x: [One, ' two']}}}", "groups.x: expected a word"),
        ("words: {companies: {groups: {x: [One, []]}}}", "groups.x: expected a word"),
        ("words: {countries: {groups: {x: [Atlantis, Utopia]}}}", "groups.x: expected 2 forms of a word"),
        ("words: {companies: {groups: {x: [Intel, Two]}}}", "expected each spelling once, found 'Intel'"),
        ("outside: {x: [1, 2]}", "outside.x: expected a list of words or texts"),
        ("foreign: {'': [ja]}", "foreign: expected a mapping of names (put quotes"),
        ("foreign: {no: [no, true]}", "foreign.no: expected a list of words or texts (put quotes"),
        ("[]", "expected word lists in yaml"),
        ("{", "a text that is not YAML"),
    ],
)
def test_problems_are_reported_with_their_place(tmp_path: Path, own: str, message: str) -> None:
    lines = problems_of(tmp_path, own)
    assert any(message in line for line in lines), lines
    assert all("audit.yaml" in line for line in lines)


def test_a_list_needs_two_groups_on_every_level(tmp_path: Path) -> None:
    own = "words: {x: {title: t, source: s, levels: [a, b], groups: {one: {p: [C, D], q: [E, F]}}}}"
    assert problems_of(tmp_path, own)[0].endswith("expected at least two groups of 'a', found ['one'].")


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    own = "{word: {}, outside: {x: [1]}, words: {companies: {title: 3}}}"
    assert len(problems_of(tmp_path, own)) == 3


def test_the_example_in_the_documentation_is_valid(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")
    run = RunDir.create(tmp_path / "run")
    (run.path / "audit.yaml").write_text(text.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    words, own = read_words(run)
    assert own == ["given_names", "clubs"]
    assert "companies" not in [listed.kind for listed in words.lists]
    assert "invoices" in words.outside
