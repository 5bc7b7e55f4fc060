"""Six tables like those that people ask models about: sizes, repetitions and dependencies set."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_WORDS = (
    "time year people way day man thing woman life child world school state family student group"
    " country problem hand part place case week company system program question work number night"
    " point home water room mother area money story fact month lot right study book eye job word"
    " business issue side kind head house service friend father power hour game line end member law"
    " car city community name president team minute idea kid body information back parent face"
    " others level office door health person art war history party result change morning reason"
).split()


@dataclass(frozen=True)
class Table:
    """A table of texts: *columns* by name, all of one length, and what is asked of each row."""

    name: str
    question: str
    columns: dict[str, list[str]]

    @property
    def rows(self) -> int:
        return len(next(iter(self.columns.values())))

    @property
    def cells(self) -> int:
        return self.rows * len(self.columns)


class _Chance:
    """Draws texts and numbers, the same ones each time."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self, words: int) -> str:
        """About so many words."""
        count = max(1, round(self.random.gauss(words, words / 4)))
        return " ".join(self.random.choices(_WORDS, k=count)).capitalize()

    def texts(self, count: int, words: int) -> list[str]:
        return [self.text(words) for _ in range(count)]

    def one(self, values: Sequence[str], skew: float = 0.0) -> str:
        """One of *values*; the first ones more often where there is a *skew*."""
        at = self.random.random() ** (1 + skew)
        return values[int(at * len(values))]

    def number(self, low: float, high: float, digits: int = 0) -> str:
        return f"{self.random.uniform(low, high):.{digits}f}"

    def maybe(self, value: str, share: float, other: str = "null") -> str:
        return value if self.random.random() < share else other


Row = dict[str, str]


def tables() -> Iterator[Table]:
    """The six tables."""
    for make in (passages, bird, products, movies, beer, scores):
        yield make()


def _table(name: str, question: str, count: int, row: Callable[[int], Row]) -> Table:
    rows = [row(index) for index in range(count)]
    return Table(name, question, {key: [r[key] for r in rows] for key in rows[0]})


def movies() -> Table:
    """Reviews, each with what is known of its film and of who wrote it."""
    chance = _Chance(1)
    genres = chance.texts(24, 2)
    companies = chance.texts(300, 3)
    films = [
        {
            "title": chance.text(3),
            "info": chance.text(70),
            "genres": chance.one(genres, 0.6),
            "company": chance.one(companies, 1.0),
            "rating": chance.one(["PG", "PG-13", "R", "NR"]),
        }
        for _ in range(1_200)
    ]
    critics = [(chance.text(2), chance.one(chance.texts(40, 2))) for _ in range(900)]

    def row(_: int) -> Row:
        film = films[int(chance.random.random() ** 1.6 * len(films))]
        critic, paper = critics[int(chance.random.random() ** 2 * len(critics))]
        return {
            "critic": critic,
            "publisher": paper,
            "top_critic": chance.maybe("true", 0.25, "false"),
            "review": chance.text(22),
            "score": chance.one(["Fresh", "Rotten"], 0.4),
            **film,
        }

    return _table("movies", "Is this review good for children to read?", 15_000, row)


def products() -> Table:
    """Reviews of products in a shop: the text of the product is long and repeats."""
    chance = _Chance(2)
    makers = chance.texts(150, 2)
    kinds = chance.texts(30, 2)
    goods = [
        {"title": chance.text(8), "description": chance.text(60), "maker": chance.one(makers, 0.5),
         "kind": chance.one(kinds, 0.5)}
        for _ in range(2_500)
    ]  # fmt: skip

    def row(index: int) -> Row:
        return {
            "id": f"R{index:07d}",
            "stars": chance.one(["5", "4", "1", "3", "2"], 0.8),
            "verified": chance.maybe("true", 0.9, "false"),
            "headline": chance.text(4),
            "review": chance.text(35),
            **goods[int(chance.random.random() ** 1.8 * len(goods))],
        }

    return _table("products", "Does the review praise the price?", 14_900, row)


def bird() -> Table:
    """Comments joined with their posts: four columns, three of which go together."""
    chance = _Chance(3)
    posts = [
        {
            "post": chance.text(90),
            "post_id": str(1000 + 7 * at),
            "date": f"2014-0{1 + at % 9}-1{at % 9}",
        }
        for at in range(2_800)
    ]

    def row(_: int) -> Row:
        return {
            "comment": chance.text(25),
            **posts[int(chance.random.random() ** 1.5 * len(posts))],
        }

    return _table("bird", "Is the comment relevant to the post?", 14_900, row)


def beer() -> Table:
    """Ratings: short cells, many of them numbers of few values, nothing unique but the whole."""
    chance = _Chance(4)
    styles = chance.texts(90, 3)
    beers = [
        {"beer_id": str(10_000 + at), "name": chance.text(3), "brewer": str(1 + at // 9),
         "style": chance.one(styles, 0.7), "abv": chance.number(4, 11, 1)}
        for at in range(4_000)
    ]  # fmt: skip
    halves = [f"{n / 2:.1f}" for n in range(2, 11)]

    def row(_: int) -> Row:
        return {
            "user": f"user{int(chance.random.random() ** 2.5 * 5_000)}",
            "aroma": chance.one(halves[::-1], 0.6),
            "appearance": chance.one(halves[::-1], 0.6),
            "palate": chance.one(halves[::-1], 0.6),
            "taste": chance.one(halves[::-1], 0.6),
            "overall": chance.one(halves[::-1], 0.6),
            **beers[int(chance.random.random() ** 2.5 * len(beers))],
        }

    return _table("beer", "Would a friend of light beers like this one?", 30_000, row)


def scores() -> Table:
    """Sheet music in 57 columns: switches that others decide, counts, ids, and many nulls."""
    chance = _Chance(5)
    artists = [_artist(chance) for _ in range(700)]
    licences = [
        {"licence": chance.text(2), "licence_url": f"https://example.org/{n}/{chance.text(1)}"}
        for n in range(5)
    ]
    genres = chance.texts(18, 1)

    def row(index: int) -> Row:
        artist = artists[int(chance.random.random() ** 2 * len(artists))]
        made: Row = {
            "path": f"data/{index % 97}/{index}.json",
            "metadata": f"metadata/{index % 97}/{index}.json",
            "title": chance.text(4),
            "subtitle": chance.maybe(chance.text(4), 0.3),
            **artist,
            "composer": chance.maybe(artist["artist"], 0.8, chance.text(2)),
            **licences[int(chance.random.random() ** 3 * len(licences))],
            "genre": chance.maybe(chance.one(genres, 1.5), 0.4),
            "groups": chance.maybe(chance.one(genres, 1.5), 0.1),
            "tags": chance.maybe(chance.text(3), 0.15),
        }
        made |= _rating(chance) | _music(chance) | _switches(chance, made)
        return made

    return _table("scores", "Is this piece for beginners?", 10_000, row)


def _artist(chance: _Chance) -> Row:
    """What goes with whoever put a piece there."""
    is_pro = chance.random.random() < 0.2
    return {
        "artist": chance.text(2),
        "country": chance.one(chance.texts(12, 1), 1.0),
        "publisher": chance.maybe(chance.text(2), 0.1),
        "is_pro": str(is_pro).lower(),
        "is_staff": chance.maybe("false", 0.99, "true"),
        "is_publisher": chance.maybe("false", 0.97, "true"),
        "has_page": str(is_pro).lower(),
    }


def _rating(chance: _Chance) -> Row:
    is_rated = chance.random.random() < 0.3
    many = chance.random.expovariate
    return {
        "rating": chance.number(3, 5, 2) if is_rated else "0.0",
        "ratings": str(int(many(0.1))) if is_rated else "0",
        "is_rated": str(is_rated).lower(),
        "comments": str(int(many(1.5))),
        "favourites": str(int(many(0.2))),
        "views": str(int(many(0.001))),
    }


def _music(chance: _Chance) -> Row:
    """What was measured of a piece."""
    tracks = int(1 + chance.random.expovariate(0.6))
    notes = chance.random.expovariate(0.002)
    lyrics = int(notes / 3) if chance.random.random() < 0.15 else 0
    return {
        "tracks": str(tracks),
        "track_numbers": "-".join(map(str, range(tracks))),
        "complexity": chance.one(["1", "2", "3"], 0.5),
        "bars": f"{notes / 9:.0f}",
        "beats": f"{notes / 9 * 4:.0f}",
        "seconds": f"{notes / 4:.2f}",
        "notes": f"{notes:.0f}",
        "tokens": f"{notes * 1.4 + tracks:.0f}",
        "lyrics": str(lyrics),
        "annotations": str(int(chance.random.expovariate(0.3))),
        "entropy": chance.number(1, 3, 4),
        "scale_consistency": chance.number(0.8, 1, 4),
        "groove_consistency": chance.number(0.9, 1, 4),
        "has_lyrics": str(lyrics > 0).lower(),
        "has_annotations": chance.maybe("true", 0.9, "false"),
        "has_metadata": chance.maybe("true", 0.97, "false"),
    }


def _switches(chance: _Chance, made: Row) -> Row:
    """Switches of the collection: some independent, some decided by others."""
    is_original = chance.random.random() < 0.35
    is_best = chance.random.random() < 0.8
    is_conflict = chance.random.random() < 0.08
    return {
        "is_original": str(is_original).lower(),
        "is_arrangement": str(not is_original).lower(),
        "is_official": made["is_publisher"],
        "has_paywall": chance.maybe("false", 0.98, "true"),
        "has_audio": chance.maybe("false", 0.96, "true"),
        "has_video": chance.maybe("false", 0.98, "true"),
        "is_draft": chance.maybe("false", 0.95, "true"),
        "is_best_path": str(is_best).lower(),
        "is_best_arrangement": str(is_best and not is_original).lower(),
        "is_unique": chance.maybe(str(is_best).lower(), 0.9, "false"),
        "licence_conflict": str(is_conflict).lower(),
        "is_usable": str(not is_conflict).lower(),
        "in_all": "true",
        "in_deduplicated": str(is_best).lower(),
        "in_valid": str(not is_conflict).lower(),
        "in_both": str(is_best and not is_conflict).lower(),
        "version": chance.one(["3.02", "2.06", "3.01", "1.14"], 1.0),
        "language": chance.maybe("null", 0.85, "en"),
    }


def passages() -> Table:
    """Questions over the four passages that a search found for each, the nearest one first."""
    chance = _Chance(6)
    subjects = [[(chance.text(80), chance.random.gauss(0, 1)) for _ in range(7)] for _ in range(65)]

    def row(_: int) -> Row:
        known = subjects[int(chance.random.random() ** 1.5 * len(subjects))]
        near = sorted((score + chance.random.gauss(0, 0.3), text) for text, score in known)
        found = {f"passage_{at + 1}": text for at, (_, text) in enumerate(near[:-5:-1])}
        return {"question": chance.text(12), **found}

    return _table("passages", "Answer the question from the passages.", 1_000, row)
