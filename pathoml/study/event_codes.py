"""What a cell of an event or treatment column says: 0, 1, 2, or a word for one of them."""

from __future__ import annotations

import re
import statistics

from pathoml.config import EndpointConfig
from pathoml.errors import CohortError
from pathoml.store.tables import Table, parse_number

NO = {"no", "n", "nein", "non", "n\u00e3o", "nao", "nie", "nee", "false", "f"}
YES = {"yes", "y", "ja", "j", "oui", "si", "s\u00ed", "s\u00ec", "sim", "tak", "true", "t"}
# of an event column beside these
ALIVE = {"alive", "living", "lebend", "lebt", "vivant", "vivante", "vivo", "viva", "levend"}
CENSORED = {"censored", "censor", "zensiert", "no event"} | ALIVE
DEAD = {"dead", "deceased", "died", "verstorben", "gestorben", "tot", "overleden", "event"} | {
    f"{word}{end}"
    for word in ("d\u00e9c\u00e9d\u00e9", "muert", "mort", "fallecid", "decedut")
    for end in ("", "e", "o", "a")
}
NUMBERED = re.compile(r"^([012]) ?: ?\S.*$")  # 1:DECEASED, as cBioPortal writes it


def yes_or_no(cell: str) -> int | None:
    """Return 0 or 1 from a cell that says it as a number or in a word; None if it says something
    else.

    >>> yes_or_no("1,0"), yes_or_no("Ja"), yes_or_no("no"), yes_or_no("0.0"), yes_or_no("F")
    (1, 1, 0, 0, 0)
    >>> yes_or_no("2") is None
    True
    """
    number = parse_number(cell)
    if number is not None:
        return int(number) if number in (0, 1) else None
    word = " ".join(cell.lower().split())
    return 1 if word in YES else 0 if word in NO else None


def event_code(cell: str, endpoint: EndpointConfig) -> int | None:
    """Return 0 censored, 1 event or 2 competing event from a cell of the event column; None if it
    says something else.

    >>> endpoint = EndpointConfig(name="OS", time_zero="biopsy", time="os", event="dead")
    >>> [event_code(c, endpoint) for c in ("2", "ja", "alive", "1:DECEASED", "relapse")]
    [2, 1, 0, 1, None]
    >>> lung = endpoint.model_copy(update={"event_codes": ("2",), "censored_codes": ("1",)})
    >>> [event_code(c, lung) for c in ("1", "2.0", "0")]
    [0, 1, None]
    """
    stated = (endpoint.censored_codes, endpoint.event_codes, endpoint.competing_codes)
    if any(stated):
        found = [
            code for code, codes in enumerate(stated) if _code_key(cell) in map(_code_key, codes)
        ]
        return found[0] if found else None
    numbered = NUMBERED.match(cell)
    number = parse_number(numbered[1] if numbered else cell)
    if number is not None:
        return int(number) if number in (0, 1, 2) else None
    word = " ".join(cell.lower().split())
    return 1 if word in YES | DEAD else 0 if word in NO | CENSORED else None


def _code_key(cell: str) -> float | str:
    """Return what is compared: 1 is 1.0, yes is true (which YAML makes of it)."""
    number = parse_number(cell)
    if number is not None:
        return number
    word = " ".join(cell.lower().split())
    return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(word, word)


def median_times(table: Table, endpoint: EndpointConfig) -> dict[int, float]:
    """Return the median of the time column by event code, in its unit: who is censored is followed
    longer than those with an event, in most cohorts.
    """
    times: dict[int, list[float]] = {}
    for row in table.rows:
        time, code = parse_number(row[endpoint.time]), event_code(row[endpoint.event], endpoint)
        if time is not None and code is not None:
            times.setdefault(code, []).append(time)
    return {code: statistics.median(times[code]) for code in sorted(times)}


def refuse_no_censored(table: Table, endpoint: EndpointConfig) -> None:
    """Raise CohortError where codes are 1 and 2 and never 0: is 1 the event, or censored?"""
    if _codes_not_stated(table, endpoint) == {1, 2}:
        raise CohortError(
            f"{table.path.name}: {endpoint.event} holds 1 and 2, and 0 (censored) never. State "
            "which is which: endpoint.censored_codes: [1] and endpoint.event_codes: [2] where 1 "
            "means censored, as in R's survival::lung; or endpoint.event_codes: [1] and "
            "endpoint.competing_codes: [2] where nobody was censored."
        )


def refuse_no_event(table: Table, endpoint: EndpointConfig) -> None:
    """Raise CohortError where codes are 2 and never 1: is 2 the event?"""
    if _codes_not_stated(table, endpoint) in ({2}, {0, 2}):
        raise CohortError(
            f"{table.path.name}: {endpoint.event} holds 2 (a competing event) and 1 (the event) "
            "never. If 2 means the event, state endpoint.event_codes: [2] and "
            "endpoint.censored_codes, such as [0]."
        )


def _codes_not_stated(table: Table, endpoint: EndpointConfig) -> set[int | None]:
    if endpoint.censored_codes or endpoint.event_codes or endpoint.competing_codes:
        return set()
    cells = [row[endpoint.event] for row in table.rows]
    return {event_code(cell, endpoint) for cell in cells if cell}
