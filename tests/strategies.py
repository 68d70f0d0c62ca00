"""Hypothesis strategies for what Rushes reads: storyboards as plain values, money, and texts that a file can hold."""

from typing import Any

from hypothesis import strategies as st

from specs.money import MAX_AMOUNT, USD, Money

__all__ = ["addresses", "boards", "identifiers", "json_values", "money", "texts"]

MICROS = MAX_AMOUNT * 1_000_000


def texts(most: int = 60) -> st.SearchStrategy[str]:
    """Texts of any script that are not blank and hold no character that a spec refuses."""
    characters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\ufffe\uffff")
    return st.text(characters, min_size=1, max_size=most).filter(str.strip)


def identifiers() -> st.SearchStrategy[str]:
    """Names that any disk can hold."""
    return st.from_regex(r"S[A-Za-z0-9._-]{0,20}[A-Za-z0-9_-]", fullmatch=True)


def addresses() -> st.SearchStrategy[str]:
    """Stills beside the spec, and in the places that may hold them."""
    places = st.sampled_from(
        ["", "../", "stills/", "https://example.org/", "s3://bucket/", "gs://bucket/", "abfs://c@d/"]
    )
    return st.builds("{}{}.jpg".format, places, st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,18}[a-z0-9])?", fullmatch=True))


def money(unit: str = USD) -> st.SearchStrategy[Money]:
    """Any amount that a price, a quote or a cap can have."""
    return st.builds(Money, st.integers(0, MICROS), st.just(unit))


def json_values() -> st.SearchStrategy[Any]:
    """What JSON holds, but for null, which a storyboard has no use for."""
    letters = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    scalars = st.booleans() | st.integers(1 - 10**11, 10**12 - 1) | letters
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(letters, inner, max_size=4), max_leaves=12
    )


@st.composite
def boards(draw: st.DrawFn) -> dict[str, Any]:
    """A valid storyboard as the plain values of its file; every optional key is now there, now absent."""
    names = draw(st.lists(identifiers(), max_size=4, unique=True))
    ids = draw(st.lists(identifiers(), min_size=1, max_size=5, unique_by=str.casefold))
    optional = {
        "provider": st.sampled_from(["animatic", "sjinn", ["shortapi", "animatic"]]),
        "budget": st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("cap", "per_shot", "auto_approve"), money().map(str))
        ),
        "style": texts(40),
        "defaults": st.fixed_dictionaries({}, optional=_choices()),
        "elements": st.fixed_dictionaries(dict.fromkeys(names, _elements())),
    }
    board = {
        "rushes": 1,
        "title": draw(texts()),
        "code": draw(st.from_regex(r"T[A-Z0-9_-]{0,20}", fullmatch=True)),
        **draw(st.fixed_dictionaries({}, optional=optional)),
    }
    known = names if "elements" in board else []
    return {**board, "shots": [draw(_shots(name, known)) for name in ids]}


def _choices() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "mode": st.sampled_from(["std", "pro"]),
        "duration": st.integers(3, 15),
        "audio": st.booleans(),
        "negative_prompt": texts(),
    }


def _elements() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"front": addresses()}, optional={"references": st.lists(addresses(), min_size=1, max_size=3)}
    )


@st.composite
def _cuts(draw: st.DrawFn) -> list[dict[str, Any]]:
    seconds = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6).filter(lambda parts: 3 <= sum(parts) <= 15))
    return [{"duration": part, "prompt": draw(texts())} for part in seconds]


@st.composite
def _shots(draw: st.DrawFn, name: str, known: list[str]) -> dict[str, Any]:
    optional = {**_choices(), "end_still": addresses(), "take": st.integers(1, 999)}
    if known:
        optional["elements"] = st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True)
    shot = {"id": name, "still": draw(addresses()), **draw(st.fixed_dictionaries({}, optional=optional))}
    kind = draw(st.sampled_from(["one", "auto", "list"]))
    if kind == "list":
        shot.pop("duration", None)
        return {**shot, "cuts": draw(_cuts())}
    return {**shot, "prompt": draw(texts()), **({"cuts": "auto"} if kind == "auto" else {})}
