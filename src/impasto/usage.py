"""Wrong use of the command line, said in one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from impasto.errors import near_match
from impasto.methods import METHODS


def with_negative_values(words: Sequence[str]) -> list[str]:
    """The words of a command line, values that begin like `-1` bound to the option before them."""
    found: list[str] = []
    for word in words:
        before = found[-1] if found else ""
        if re.match(r"-\.?\d", word) and re.fullmatch(r"-[a-z]|--[^=]+", before):
            found[-1] = f"{before}={word}"
        else:
            found.append(word)
    return found


def in_typed_words(message: str, words: Sequence[str]) -> str:
    """`style_scale: 0 is not …` as `--style-scale: 0 is not …`, where that is among the words of the command line."""
    typed = {word.partition("=")[0] for word in words}

    def option(setting: re.Match[str]) -> str:
        found = f"--{setting[0].replace('_', '-')}"
        return found if found in typed else setting[0]

    return re.sub(r"(?:^|(?<=; ))[a-z_]+(?=: )", option, message)


def explain(error: CycloptsError) -> str:
    """What cyclopts found wrong, in our words where they are better than its own."""
    command = " ".join(error.command_chain or ())
    if isinstance(error, UnknownCommandError) and error.unused_tokens and error.app is not None:
        known = [name for name in error.app if not name.startswith("-")]
        word = error.unused_tokens[0]
        if word.startswith("-"):
            return f"{word}: options come after the command, as in impasto transfer photo.jpg painting.jpg {word}"
        return f"{word}: no such command{near_match(word, known)}; there are {', '.join(known)}"
    if isinstance(error, UnknownOptionError):
        word = (error.token.keyword or error.token.value).partition("=")[0]
        known = [name for argument in error.argument_collection for name in argument.names]
        return f"{word}: no such option{near_match(word, known)}; see impasto {command} --help"
    if isinstance(error, RepeatArgumentError):
        return f"{error.token.keyword or error.token.value}: is given twice"
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        return _missing(error.argument.name, error.keyword, command)
    if isinstance(error, CoercionError) and error.token is not None:
        kinds = {int: "a whole number", float: "a number"}
        kind = None if error.target_type is None else kinds.get(error.target_type)
        if kind is not None:
            return f"{error.token.keyword}: {error.token.value!r} is not allowed, it should be {kind}"
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return _too_many(error.unused_tokens, command)
    return " ".join(str(error).split())


def _missing(name: str, keyword: str | None, command: str) -> str:
    if name.startswith("-"):
        return f"{keyword or name}: needs a value; see impasto {command} --help"
    if command in METHODS:
        return METHODS[command].takes(METHODS[command].inputs.index(name.lower()))
    if command == "strip":
        return "strip takes one content and two style pictures"
    return f"{command} takes one {name.lower()}, none was given"


def _too_many(words: list[str], command: str) -> str:
    if command in METHODS:
        return METHODS[command].takes(len(METHODS[command].inputs) + len(words))
    return f"{', '.join(words)}: too many for {command}; see impasto {command} --help"
