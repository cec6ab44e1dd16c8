"""The commands of a shell script, found without running it: enough of sh for what documents show."""

import re
import shlex
from collections.abc import Iterator

_HEREDOC = re.compile(r"<<-?\s*'?(\w+)'?")
_ENDS = {";", "|", "||", "&&", "&", "(", ")"}
_KEYWORDS = {"do", "then", "else", "until", "while", "if", "!"}
_ASSIGNMENT = re.compile(r"\w+=")


def commands(script: str) -> Iterator[list[str]]:
    """Yield each simple command as its words: without assignments, redirections and what is inside heredocs."""
    for line in _lines(script):
        # A substitution is a word to the shell that reads the line, whatever is in it.
        lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "$", line), posix=True, punctuation_chars=";|&()<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _ENDS:
                words.append(word)
                continue
            if command := _command(words):
                yield command
            words = []


def _lines(script: str) -> Iterator[str]:
    lines = iter(script.replace("\\\n", " ").splitlines())
    for line in lines:
        yield line
        if heredoc := _HEREDOC.search(line):
            while next(lines, heredoc[1]) != heredoc[1]:
                pass


def _command(words: list[str]) -> list[str]:
    while words and (words[0] in _KEYWORDS or _ASSIGNMENT.match(words[0])):
        words = words[1:]
    if words and words[0] in {"for", "done", "fi"}:
        return []
    redirection = next((index for index, word in enumerate(words) if set(word) <= set("<>")), len(words))
    return words[:redirection]
