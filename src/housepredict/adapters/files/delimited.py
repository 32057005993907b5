"""Rows of delimited text as programs write it, not only as RFC 4180 has it: a fault costs its own row at most."""

from __future__ import annotations

import codecs
import csv
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import cache
from itertools import chain, islice
from re import compile as pattern
from unicodedata import category, name

from attrs import define, field, frozen

UTF_8 = "utf-8"

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UNMARKED = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")  # as chardet calls them
_USUAL = "Windows-1252"
# What spreadsheets, databases and DOS programs export. Of two that score the same, the first is reported.
_CANDIDATES = (
    _USUAL, "Windows-1250", "Windows-1251", "Windows-1253", "Windows-1254", "Windows-1255", "Windows-1256",
    "Windows-1257", "ISO-8859-15", "ISO-8859-2", "ISO-8859-5", "ISO-8859-7", "Mac-Roman", "Mac-Latin2", "Mac-Cyrillic",
    "KOI8-R", "KOI8-U", "CP850", "CP437", "CP852", "CP866", "CP874", "CP932", "EUC-JIS-2004", "CP949", "GB18030",
    "Big5-HKSCS",
)  # fmt: skip
_WORD = pattern(rb"[^\x00-\x3f]*[\x80-\xff][^\x00-\x3f]*")
_MAX_WORDS = 500
_MAX_WORD_BYTES = 100
_BINARY_SHARE = 0.02  # of control characters, from which on bytes are no text
_CONTROL = bytes([*range(1, 9), *range(14, 26), *range(27, 32), 127])
_ESCAPED = pattern("[\udc80-\udcff]")
_VALID_PER_BAD = 3  # sequences of UTF-8 per bad byte, from which on a file is damaged UTF-8
_SYMBOLS = "\u2018\u201c\u201d„—…•€£°¹²³½¼¾ºª«»®©™§№¿¡±\xd7"
_SYMBOL_INSIDE = pattern(rf"[^\W\d_][{_SYMBOLS}][^\W\d_]")
_JOINERS = "\u2019\u2013·・\xa0"
_LETTERS = pattern(r"[^\W\d_]+")
_PLAUSIBLE_SHARE = 0.95  # of the largest number of words that look like words in any encoding
_MIN_BYTES = 2  # beyond ASCII: one alone is a letter in too many languages
_MARGIN = 1.3  # a smaller one misreads more Catalan, a larger one more Croatian


REPLACED = "\udcff"
"""Stands for invalid bytes in decoded text: a lone surrogate, which no valid text has."""

_MARK_INVALID = "housepredict.mark_invalid"
codecs.register_error(_MARK_INVALID, lambda error: (REPLACED, error.end))  # type: ignore[attr-defined]


@frozen
class TextEncoding:
    """How to decode a file, and a note on what was guessed or damaged.

    With the default for `errors`, decoded text has REPLACED for invalid bytes.
    """

    codec: str
    note: str | None = None
    errors: str = _MARK_INVALID

    def describe_invalid(self, count: int, unit: str) -> str:
        """Return the note on lines, or another unit of text, that have invalid bytes."""
        have = f"1 {unit} has" if count == 1 else f"{count:,} {unit}s have"
        return f"{have} bytes that are not valid {self.codec.removesuffix('-sig')} (shown as \ufffd)"


def named(encoding: str) -> TextEncoding:
    """Return the encoding of this name.

    Raises:
        LookupError: if Python has no text encoding of this name.
    """
    codec = codecs.lookup(encoding)
    if codec.name in ("utf-8", "utf-8-sig"):
        return TextEncoding("utf-8-sig")
    if not codec._is_text_encoding:  # noqa: SLF001  # hex and zip are codecs, too
        raise LookupError(encoding)
    return TextEncoding(codec.name)


def detect(pieces: Iterable[bytes]) -> TextEncoding | None:
    """Return the encoding of the text in `pieces`, or None if they are not text.

    A mark decides, then UTF-8 if the bytes are valid apart from a few, then the encoding in which the words look most
    like those of a language.
    """
    decoder = codecs.getincrementaldecoder(UTF_8)("surrogateescape")  # "replace" makes characters that text may have
    bad = valid = size = controls = nulls = 0
    words: dict[bytes, None] = {}
    head = b""
    for piece in pieces:
        if not size:
            head = piece
            for mark, codec in _BOMS.items():
                if piece.startswith(mark):
                    return TextEncoding(codec)
        text = decoder.decode(piece)
        size += len(piece)
        controls += len(piece) - len(piece.translate(None, _CONTROL))
        nulls += piece.count(0)
        if text.isascii():
            continue
        escaped = len(_ESCAPED.findall(text))
        bad += escaped
        valid += sum(not character.isascii() for character in text) - escaped
        if len(words) < _MAX_WORDS:
            words.update((word, None) for word in _WORD.findall(piece) if 1 < len(word) <= _MAX_WORD_BYTES)
    bad += len(decoder.decode(b"", final=True))
    if nulls + (controls if bad else 0) > _BINARY_SHARE * size:
        confidences = _ask_chardet(head, [_USUAL, *_UNMARKED])
        return next((_guessed(encoding) for encoding in _UNMARKED if encoding in confidences), None)
    if not bad:
        return TextEncoding(UTF_8)
    if valid >= _VALID_PER_BAD * bad:
        are = "1 byte is" if bad == 1 else f"{bad:,} bytes are"
        return TextEncoding(UTF_8, f"read as UTF-8, of which {are} damaged (shown as \ufffd)", "replace")
    return _guessed(_choose(list(words)[:_MAX_WORDS]))


def _guessed(encoding: str) -> TextEncoding:
    note = f"read as {encoding} (guessed; set `encoding` to overrule)"
    return TextEncoding(codecs.lookup(encoding).name, note)


def _choose(words: Sequence[bytes]) -> str:
    """Return the best encoding, or the usual one unless the best is clearly better for the words that differ.

    Most files are in the usual encoding. Accented letters that both encodings share prove nothing, and chardet expects
    more of them in Hungarian than in Spanish.
    """
    confidences = _confidences(words, _CANDIDATES)
    best = max(confidences, key=confidences.__getitem__)
    differing = [word for word in words if word.decode(best, "replace") != word.decode(_USUAL, "replace")]
    confidences = _confidences(differing, (_USUAL, best))
    if _USUAL not in confidences:
        return best
    too_few = sum(byte > 0x7F for word in words for byte in word) < _MIN_BYTES
    return _USUAL if too_few or confidences[_USUAL] * _MARGIN >= confidences.get(best, 0) else best


def _confidences(words: Sequence[bytes], encodings: Sequence[str]) -> dict[str, float]:
    """Return chardet's confidence in each encoding in which about as many words look like words as in any."""
    counts = {
        encoding: sum(_looks_like_a_word(word.decode(encoding, "replace")) for word in words) for encoding in encodings
    }
    plausible = [encoding for encoding in encodings if counts[encoding] >= _PLAUSIBLE_SHARE * max(counts.values())]
    confidences = _ask_chardet(b"\n".join(words), plausible) if words else {}
    return {encoding: confidences.get(codecs.lookup(encoding).name, 0) for encoding in plausible}


def _ask_chardet(content: bytes, encodings: Sequence[str]) -> dict[str | None, float]:
    import chardet  # here, since files in UTF-8 do without its tables

    results = chardet.detect_all(
        content,
        ignore_threshold=True,
        include_encodings=encodings,
        no_match_encoding=encodings[0],
        compat_names=False,
        prefer_superset=False,
    )
    return {result["encoding"]: result["confidence"] for result in results}


def _looks_like_a_word(text: str) -> bool:
    """Whether all letters are of one script and in a usual case, and symbols don't stand between them."""
    scripts = set(map(_script, text)) - {None}
    return (
        len(scripts) <= 1
        and "" not in scripts
        and not _SYMBOL_INSIDE.search(text)
        and all(part.isupper() or part[1:] == part[1:].lower() for part in _LETTERS.findall(text))
    )


@cache
def _script(character: str) -> str | None:
    """Return the script of a letter, None for what may stand beside any, and "" for anything else."""
    if character in _SYMBOLS or character in _JOINERS or (character.isascii() and not character.isalpha()):
        return None
    script = name(character, "").split(" ")[0] if category(character)[0] in "LM" else ""
    return "CJK" if script in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "FULLWIDTH") else script


_DELIMITERS, _RARE_DELIMITERS = ",;\t|", "~^"
BLANKS = " "
"""The delimiter of columns that blanks align."""

_NAMED = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's first line, which names the delimiter
_SAMPLE_LINES = 50
_LIKELY_SHARE = 0.5
_CONSISTENT_SHARE = 0.95
_TELLING_DELIMITERS = 4  # a line of a remark may happen to have as many commas as a row
_UNIT = "\x1f"  # stands between cells that blanks separate
_WORDS = re.compile(r'("(?:[^"]|"")*")|[ \t]+')

# a cell of 131,072 characters, Python's limit, is short for the outline of a parcel
csv.field_size_limit(sys.maxsize)


@define
class Rows:
    """The rows of a text, those without any text left out: an iterator.

    `line` is where the row that came last begins; `named` is how many columns the header has, up to the last that has a
    name. `repaired` lists the lines whose quotes don't pair up: there a quote ends a cell only if a delimiter follows.
    Lines in `emptied` had NUL characters, which are left out; `invalid` lines had REPLACED, which is shown as U+FFFD.
    """

    delimiter: str
    _lines: Iterator[str]
    line: int
    named: int = field(default=0, init=False)
    _widths: Set[int] = field(default=frozenset(), init=False)
    _keeps_empty: bool = field(default=False, init=False)
    repaired: list[int] = field(factory=list, init=False)
    emptied: list[int] = field(factory=list, init=False)
    invalid: int = field(default=0, init=False)
    _next_line: int = field(init=False)
    _taken: list[str] = field(factory=list, init=False)
    _pending: deque[str] = field(factory=deque, init=False)
    _reader: Iterator[list[str]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._next_line = self.line
        self._reader = self._strict()

    def __iter__(self) -> Rows:
        return self

    def __next__(self) -> list[str]:
        while True:
            row = self._row()
            if has_text(row) or (self._keeps_empty and len(row) > 1):
                return row

    def header(self, *, keep_empty: bool = False) -> list[str]:
        """Return the first row, empty if there is none, by which the widths of the others are judged.

        With `keep_empty`, rows of several cells without text are not left out below it.
        """
        header = next(self, [])
        self.named = max((position for position, name in enumerate(header, start=1) if name.strip()), default=0)
        self._widths = {self.named, len(header), len(header) + 1}
        self._keeps_empty = keep_empty
        return header

    def _row(self) -> list[str]:
        self._taken.clear()
        self.line = self._next_line
        try:
            row = next(self._reader)
        except csv.Error:
            return self._repaired()
        if len(self._taken) > 1 and self._widths and self._has_run_on(row):
            return self._repaired()
        self._next_line += len(self._taken)
        return row

    def _has_run_on(self, row: list[str]) -> bool:
        """Whether a row of several lines swallowed others: no other row has its width, or it contains whole rows."""
        if len(row) not in self._widths:
            return True
        # a line with a quote ends one cell of several lines, and begins another
        within = [_lenient(line, self._separator) for line in self._taken[1:-1] if '"' not in line]
        delimiters = sum(len(cells) - 1 for cells in within)
        return delimiters >= _TELLING_DELIMITERS and all(len(cells) in self._widths for cells in within)

    def _repaired(self) -> list[str]:
        """The first line that was taken: an unclosed quote may have run on through many, to any other."""
        first, *rest = self._taken
        self._pending.extendleft(reversed(rest))
        self._reader = self._strict()
        self.repaired.append(self.line)
        self._next_line = self.line + 1
        return _lenient(first, self._separator)

    def _strict(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._separator, skipinitialspace=True, strict=True)

    def _feed(self) -> Iterator[str]:
        pending, taken, are_aligned = self._pending, self._taken, self.delimiter == BLANKS
        while True:
            if pending:
                line = pending.popleft()
            else:
                line = next(self._lines, "")
                if not line:
                    return
                if "\0" in line:
                    self.emptied.append(self._next_line + len(taken))
                    line = line.replace("\0", "")
                if REPLACED in line:
                    self.invalid += 1
                    line = line.replace(REPLACED, "\ufffd")
                if are_aligned:
                    line = _aligned(line)
            taken.append(line)
            yield line

    @property
    def _separator(self) -> str:
        return _UNIT if self.delimiter == BLANKS else self.delimiter


def rows_of(lines: Iterable[str]) -> Rows:
    """Return the rows of the lines of a text, with the delimiter that its first lines show or name."""
    lines = iter(lines)
    sample = list(islice(lines, _SAMPLE_LINES))
    named = _NAMED.fullmatch(sample[0]) if sample else None
    delimiter = named[1] if named else _delimiter([line.replace("\0", "") for line in sample])
    return Rows(delimiter, chain(sample[bool(named) :], lines), line=1 + bool(named))


def fitted(row: list[str], width: int) -> list[str]:
    """Return a row without the cells that it has beyond a header of `width` columns, if they hold no text."""
    return row[:width] if len(row) > width and not has_text(row[width:]) else row


def _delimiter(sample: Sequence[str]) -> str:
    """The one that splits most lines as it does the header, and into most fields; blanks where no other does."""

    def score(delimiter: str, lines: Iterable[str] = sample) -> tuple[float, int]:
        try:
            widths = [
                len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if has_text(row)
            ]
        except csv.Error:
            return 0.0, 0
        width = widths[0] if widths else 0
        # a row may have one more: its name, or nothing
        fitting = sum(each in (width, width + 1) for each in widths)
        return (fitting / len(widths) if width > 1 else 0.0), width

    best, rare = max(_DELIMITERS, key=score), max(_RARE_DELIMITERS, key=score)
    if score(best)[0] >= _LIKELY_SHARE:
        return best
    if score(rare)[0] >= _CONSISTENT_SHARE:
        return rare
    is_aligned = len(sample) > 1 and score(_UNIT, map(_aligned, sample))[0] >= _CONSISTENT_SHARE
    return BLANKS if is_aligned else best


def _aligned(line: str) -> str:
    return _WORDS.sub(lambda found: found[1] or _UNIT, line.strip(" \t\r\n")) + "\n"


def _lenient(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line whose quotes don't pair up, in time proportional to its length."""
    split = re.escape(delimiter)
    opening, closing = re.compile(' *"'), re.compile(rf'"( *)({split}|$)')
    plain = re.compile(rf" *([^{split}]*)({split}|$)")
    line, position, cells, closes = line.rstrip("\r\n"), 0, [], True
    while True:
        opened = opening.match(line, position) if closes else None
        end = closing.search(line, opened.end()) if opened else None
        # where no quote ends a cell, none does further on
        closes = closes and (opened is None or end is not None)
        if opened and end:
            cells.append(line[opened.end() : end.start()].replace('""', '"'))
        elif end := plain.match(line, position):
            cells.append(end[1])
        if not end or not end[2]:
            return cells
        position = end.end()


def has_text(row: Iterable[str]) -> bool:
    """Return whether a cell of a row is not blank."""
    return any(map(str.strip, row))
