"""Many searches side by side, so that what they ask for is computed together.

A search is a generator: it yields a list of requests, is sent the list of their answers, and returns its result.
"""

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from ._paths import Answer, Request

Result = TypeVar("Result")
Search = Generator[list[Request], list[Answer], Result]


def together(searches: Sequence[Search[Result]]) -> Search[list[Result]]:
    """All of them as one: each round asks for what the unfinished ones ask for."""
    results: dict[int, Result] = {}
    answers: dict[int, list[Answer] | None] = dict.fromkeys(range(len(searches)))
    while True:
        asked: dict[int, list[Request]] = {}
        for k, given in answers.items():
            try:
                asked[k] = next(searches[k]) if given is None else searches[k].send(given)
            except StopIteration as stop:
                results[k] = stop.value
        if not asked:
            return [results[k] for k in range(len(searches))]
        found = iter((yield [request for requests in asked.values() for request in requests]))
        answers = {k: [next(found) for _ in requests] for k, requests in asked.items()}


def run(search: Search[Result], respond: Callable[[Sequence[Request]], list[Answer]]) -> Result:
    """Answer a search's requests until it is done."""
    answers: list[Answer] | None = None
    while True:
        try:
            requests = next(search) if answers is None else search.send(answers)
        except StopIteration as stop:
            return stop.value
        answers = respond(requests)
