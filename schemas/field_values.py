"""What a field of a shop's record can be: read where it can be read, repaired or dropped by a stated rule else.

Visitor, item and consent decide whom an answer is for and what it may hold, so what cannot be read there refuses the
click (`ValueError`). Every other field describes it only: an odd value there is repaired or left out and counted, and
the click goes on.

| reason | what was done |
|---|---|
| `reformatted` | a number was found in a text ("12,95", "EUR 9.50") or in an object ({"amount": 40}) |
| `rounded` | pieces that were no whole number were rounded up |
| `cut` | a text was longer than its field |
| `hashed` | an id was longer than its field: its SHA-256 stands for it |
| `joined` | a list of words became one text |
| `out_of_range` | dropped: a price below 0, no pieces at all, a number without end |
| `unreadable` | dropped: an object, a list or a word where none can be |
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Literal

from schemas.events import MAX_PRICE, MAX_QUANTITY, MAX_QUERY_LENGTH
from schemas.ids import MAX_ID_BYTES, utf8_bytes
from schemas.paths import text_of

RepairReason = Literal["reformatted", "rounded", "cut", "hashed", "joined", "out_of_range", "unreadable"]
DROPPED: Final[frozenset[RepairReason]] = frozenset({"out_of_range", "unreadable"})

_AMOUNT: Final = re.compile(r"[^\d,+\-/()*%]{0,10}?([+-]?\d[\d.,'\s]*)[^\d/()*%]{0,10}")
"""One number with a currency's sign or name on one side or both; sums, ranges and percentages are none."""
_BLANKS: Final = re.compile(r"[\s']")
_PLAIN_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_AMOUNTS: Final = ("amount", "value", "$numberDecimal", "$numberDouble", "$numberInt", "$numberLong")
_YES: Final = frozenset({"true", "1", "yes", "y", "on", "granted", "given", "accepted", "allow", "allowed", "opt_in"})
_NO: Final = frozenset({"false", "0", "no", "n", "off", "denied", "rejected", "declined", "deny", "opt_out"})


@dataclass(frozen=True, slots=True)
class Described:
    """What was read of a describing field, None = nothing; `repair` where it took one."""

    value: Any = None
    repair: RepairReason | None = None


_UNREADABLE: Final = Described(repair="unreadable")


def read_id(name: str, value: Any) -> str | None:
    """Read a visitor or an item, a number as its text; None where it is empty. Raises ValueError on anything else."""
    text = None if isinstance(value, bool) else text_of(value)
    if text is None:
        raise ValueError(f"{name} is no text and no number")
    if "\0" in text:
        raise ValueError(f"{name} has a character that is none (NUL); our own entries of a table are named with it")
    text.encode()  # half a surrogate pair is a UnicodeEncodeError, which is a ValueError
    if utf8_bytes(text) > MAX_ID_BYTES:
        raise ValueError(f"{name} has {utf8_bytes(text)} bytes in UTF-8, at most {MAX_ID_BYTES} are read")
    return text or None


def read_consent(value: Any) -> bool | None:
    """Read a yes or a no; None where it is empty. Raises ValueError on anything else: nobody's consent is guessed."""
    text = (text_of(value) or "?").strip().lower() if value != "" else ""
    if text in _YES or text in _NO:
        return text in _YES
    if not text:
        return None
    raise ValueError(
        f"consent {text_of(value) or type(value).__name__!r:.100} is neither yes nor no; "
        "[clickstream.mapping.values.consent] can say which"
    )


def read_label(value: Any) -> Described:
    """Read a short text: a place, a device, an arm of an experiment; a longer one is cut between two characters."""
    label = read_text(value, MAX_ID_BYTES)
    if label.value is None or utf8_bytes(label.value) <= MAX_ID_BYTES:
        return label
    return Described(label.value.encode()[:MAX_ID_BYTES].decode(errors="ignore"), "cut")


def read_query(value: Any) -> Described:
    """Read a search text, or its words."""
    if isinstance(value, list):
        if not value:
            return Described()
        words = [word for one in value if (word := text_of(one))]
        whole = read_text(" ".join(words), MAX_QUERY_LENGTH)
        return Described(whole.value, "joined") if len(words) == len(value) else _UNREADABLE
    return read_text(value, MAX_QUERY_LENGTH)


def read_own_id(value: Any) -> Described:
    """Read an id of the shop's for a session or an event; a longer one stays unique by its hash."""
    text = None if isinstance(value, bool) else text_of(value)
    if text is None:
        return _UNREADABLE
    if utf8_bytes(text) > MAX_ID_BYTES:
        return Described(sha256(text.encode(errors="replace")).hexdigest(), "hashed")
    return Described(_spelled(text))


def read_anonymous_id(value: Any) -> Described:
    """Read an earlier id of the visitor; one that could not be a visitor_id names nobody."""
    try:
        return Described(read_id("anonymous_id", value))
    except ValueError:
        return _UNREADABLE


def read_price(value: Any) -> Described:
    """Read a price of one piece, as a float, so that it is written alike before and after it was stored."""
    number, repair = _number(value)
    if number is None:
        return Described(repair=repair)
    return Described(float(number), repair) if 0 <= number <= MAX_PRICE else Described(repair="out_of_range")


def read_quantity(value: Any) -> Described:
    """Read pieces, from one on; a weight counts as the next whole number."""
    number, repair = _number(value)
    if number is None:
        return Described(repair=repair)
    if not 0 < number <= MAX_QUANTITY:
        return Described(repair="out_of_range")
    pieces = math.ceil(number)
    return Described(pieces, repair if pieces == number else "rounded")


READERS: Final[Mapping[str, Callable[[Any], Described]]] = {
    "session_id": read_own_id,
    "event_id": read_own_id,
    "location": read_label,
    "device": read_label,
    "price": read_price,
    "quantity": read_quantity,
    "query": read_query,
    "experiment": read_label,
    "anonymous_id": read_anonymous_id,
}
"""The describing fields of a click."""


def read_text(value: Any, at_most: int) -> Described:
    """Read a text of up to `at_most` characters; a longer one is cut."""
    text = None if isinstance(value, bool) else text_of(value)
    if text is None:
        return _UNREADABLE
    text = _spelled(text)
    return Described(text[:at_most] or None, "cut" if len(text) > at_most else None)


def _spelled(text: str) -> str:
    """Replace halves of surrogate pairs, which no output can spell."""
    return text.encode(errors="replace").decode()


def _number(value: Any) -> tuple[float | None, RepairReason | None]:
    """Find a number, finite, and say what it took."""
    match value:
        case bool():
            return None, "unreadable"
        case int() | float():
            return (value, None) if -_BEYOND < value < _BEYOND else (None, "out_of_range")
        case str():
            return _number_in(value.strip())
        case {"centAmount": int(cents)} if -_BEYOND < cents < _BEYOND and not isinstance(
            cents, bool
        ):  # commercetools' money
            digits = value.get("fractionDigits", 2)
            return (cents / 10 ** int(digits), "reformatted") if digits in range(7) else (None, "unreadable")
        case dict():
            inner = next((value[name] for name in _AMOUNTS if name in value), None)
            number, _ = _number(inner) if isinstance(inner, int | float | str) else (None, None)
            return (None, "unreadable") if number is None else (number, "reformatted")
    return None, "unreadable"


def _number_in(text: str) -> tuple[float | None, RepairReason | None]:
    if not text:
        return None, None
    if len(text) > _MOST_CHARACTERS:
        return None, "unreadable"
    if _PLAIN_NUMBER.fullmatch(text):
        number = float(text)
        return (number, None) if math.isfinite(number) else (None, "out_of_range")
    found = _AMOUNT.fullmatch(text)
    plain = "" if found is None else _with_point(_BLANKS.sub("", found[1]).strip(".,"))
    return (float(plain), "reformatted") if _PLAIN_NUMBER.fullmatch(plain) else (None, "unreadable")


_BEYOND: Final = 1e18
"""No price, no quantity and no cents reach this; an integer of many digits fits no float."""
_MOST_CHARACTERS: Final = 100
"""Of a number in a text; looking for one takes time by the square of the length."""


def _with_point(text: str) -> str:
    """Spell a number with a decimal point: the last sign is it, unless it parts thousands; "" = neither."""
    last = max(text.rfind(","), text.rfind("."))
    if last < 0:
        return text
    sign, digits = text[last], len(text) - last - 1
    both = "," in text and "." in text
    if text.count(sign) > 1:
        groups = text.split(sign)[1:]
        is_grouped = not both and len(groups[-1]) == 3 and all(2 <= len(group) <= 3 for group in groups)
        return text.replace(sign, "") if is_grouped else ""  # 1,00,000 is a hundred thousand in India
    if not both and sign == "," and digits == 3:
        return text.replace(",", "")
    return re.sub(r"[.,]", "", text[:last]) + "." + text[last + 1 :]
