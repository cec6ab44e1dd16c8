"""Rules as people keep them: a file with a JSON object, a list of them, or one a line as they lie on the topic."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.errors import UsageError
from schemas.rules import MAX_RULE_BYTES, MAX_RULES, RULE_ACTIONS, MerchantRule, UnreadableRule, read_rule

_MAX_FILE_BYTES: Final = 64 << 20


def read_rule_file(path: Path) -> list[MerchantRule]:
    """Read the rules of a file; raises UsageError that names every rule that is none, and why."""
    try:
        size = path.stat().st_size
        if size > _MAX_FILE_BYTES:
            raise UsageError(f"{path} has {size:,} bytes, at most {_MAX_FILE_BYTES:,} are read: give fewer rules")
        return rules_in(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def rules_in(content: bytes, name: str) -> list[MerchantRule]:
    """Read the rules in the bytes of a file called `name`; raises UsageError as `read_rule_file` does."""
    rules, problems = list[MerchantRule](), list[str]()
    for where, value in _records(content, name):
        found = _rule(value)
        if isinstance(found, MerchantRule):
            rules.append(found)
        else:
            problems.append(f"{name}, {where}: {found}")
    ids = [rule.rule_id for rule in rules]
    problems += [
        f"{name}: {ids.count(one)} rules are called {one!r}" for one in dict.fromkeys(ids) if ids.count(one) > 1
    ]
    if problems:
        raise UsageError("\n".join(problems))
    if not 0 < len(rules) <= MAX_RULES:
        raise UsageError(f"{name} has {len(rules):,} rules: give 1 to {MAX_RULES:,}")
    return rules


def _records(content: bytes, name: str) -> Iterator[tuple[str, Any]]:
    """Return what the rules are read from, with where it stands."""
    try:
        whole = msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        yield from _lines(content, name, error)
        return
    for number, value in enumerate(whole if isinstance(whole, list) else [whole], start=1):
        yield f"rule {number}", value


def _lines(content: bytes, name: str, of_whole: Exception) -> Iterator[tuple[str, Any]]:
    """Return what stands on each line; where the first is no JSON, the whole is meant to be."""
    lines = [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    for number, line in lines:
        try:
            yield f"line {number}", msgspec.json.decode(line)
        except (ValueError, RecursionError) as error:
            is_first = number == lines[0][0]
            what, why = (name, of_whole) if is_first else (f"{name}, line {number}", error)
            raise UsageError(f"{what} is no JSON ({why}): give one rule, a list of rules, or a rule a line") from error


def _rule(value: Any) -> MerchantRule | str:
    """Read a rule as a worker would; what is wrong with it where it is none."""
    if not isinstance(value, dict) or not isinstance(value.get("rule_id"), str):
        return "no JSON object with a rule_id"
    content = msgspec.json.encode(value)
    if len(content) > MAX_RULE_BYTES:
        return f"rule {value['rule_id']!r:.60} has {len(content):,} bytes, at most {MAX_RULE_BYTES:,}"
    found = read_rule(value["rule_id"].encode(errors="surrogatepass"), content)
    if isinstance(found, MerchantRule):
        return found
    detail = found.detail if isinstance(found, UnreadableRule) else "it is none"
    if detail.endswith("`$.action`"):
        detail += f"; give one of {', '.join(RULE_ACTIONS)}"
    return f"rule {value['rule_id']!r:.60}: {detail}"
