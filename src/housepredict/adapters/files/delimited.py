"""Detect text encodings, and parse delimited text leniently: a syntax error affects at most the row it is in."""

from __future__ import annotations

import codecs
import csv
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import suppress
from functools import cache, partial
from itertools import chain, islice
from re import compile as pattern
from statistics import median
from unicodedata import category, name

from attrs import define, field, frozen

UTF_8 = "utf-8"

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # must precede UTF-16, whose mark is a prefix of this one
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_UNMARKED = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")  # chardet's names for text without a mark
_USUAL = "Windows-1252"
# Encodings that spreadsheets, databases and DOS programs export. If scores are equal, the first one wins.
_CANDIDATES = (
    _USUAL, "Windows-1250", "Windows-1251", "Windows-1253", "Windows-1254", "Windows-1255", "Windows-1256",
    "Windows-1257", "ISO-8859-15", "ISO-8859-2", "ISO-8859-5", "ISO-8859-7", "Mac-Roman", "Mac-Latin2", "Mac-Cyrillic",
    "KOI8-R", "KOI8-U", "CP850", "CP437", "CP852", "CP866", "CP874", "CP932", "EUC-JIS-2004", "CP949", "GB18030",
    "Big5-HKSCS",
)  # fmt: skip
_WORD = pattern(rb"[^\x00-\x3f]*[\x80-\xff][^\x00-\x3f]*")
_MAX_WORDS = 500
_MAX_WORD_BYTES = 100
_BINARY_SHARE = 0.02  # content with a larger share of control characters is binary
_CONTROL = bytes([*range(1, 9), *range(14, 26), *range(27, 32), 127])
_ESCAPED = pattern("[\udc80-\udcff]")
_VALID_PER_BAD = 3  # minimum number of valid sequences per bad byte for a file to be (damaged) UTF-8
_SYMBOLS = "\u2018\u201c\u201d„—…•€£°¹²³½¼¾ºª«»®©™§№¿¡±\xd7"
_SYMBOL_INSIDE = pattern(rf"[^\W\d_][{_SYMBOLS}][^\W\d_]")
_JOINERS = "\u2019\u2013·・\xa0"
_LETTERS = pattern(r"[^\W\d_]+")
_PLAUSIBLE_SHARE = 0.95  # minimum number of plausible words, relative to the best encoding
_MIN_BYTES = 2  # non-ASCII bytes required to guess, because a single byte is a letter in too many encodings
_MARGIN = 1.3  # lead required over the usual encoding: a smaller one misreads more Catalan, a larger one more Croatian


REPLACED = "\udcff"
"""The character that replaces invalid bytes in decoded text: a lone surrogate, which never occurs in valid text."""

_MARK_INVALID = "housepredict.mark_invalid"
codecs.register_error(_MARK_INVALID, lambda error: (REPLACED, error.end))  # type: ignore[attr-defined]


@frozen
class TextEncoding:
    """How to decode a file.

    Attributes:
        codec: the name of the encoding in Python.
        note: a note for the user if the encoding was guessed or the file is damaged, otherwise None.
        errors: the name of the error handler for invalid bytes. The default replaces them with REPLACED.
    """

    codec: str
    note: str | None = None
    errors: str = _MARK_INVALID

    def describe_invalid(self, count: int, unit: str) -> str:
        """Return a note such as `2 lines have bytes that are not valid utf-8`. `unit` is a noun, such as `line`."""
        have = f"1 {unit} has" if count == 1 else f"{count:,} {unit}s have"
        return f"{have} bytes that are not valid {self.codec.removesuffix('-sig')} (shown as \ufffd)"


def named(encoding: str) -> TextEncoding:
    """Return the encoding with this name.

    Raises:
        LookupError: if Python has no text encoding with this name.
    """
    codec = codecs.lookup(encoding)
    if codec.name in ("utf-8", "utf-8-sig"):
        return TextEncoding("utf-8-sig")
    if not codec._is_text_encoding:  # noqa: SLF001  # codecs such as hex and zip don't encode text
        raise LookupError(encoding)
    return TextEncoding(codec.name)


def detect(pieces: Iterable[bytes]) -> TextEncoding | None:
    """Detect the encoding of text, passed as consecutive pieces. Returns None if the content is not text.

    If the text starts with a byte order mark, the mark determines the encoding. Otherwise, the encoding is UTF-8 if
    nearly all bytes are valid UTF-8. If not, it is the encoding that makes the words look most like a natural language.
    """
    decoder = codecs.getincrementaldecoder(UTF_8)("surrogateescape")  # valid text may contain U+FFFD, not surrogates
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
    note = f"read as {encoding} (guessed; set `encoding` to override)"
    return TextEncoding(codecs.lookup(encoding).name, note)


def _choose(words: Sequence[bytes]) -> str:
    """Choose Windows-1252 unless another encoding is clearly better for these words.

    When two encodings are compared, words that decode to the same text in both are ignored. Such words provide no
    evidence, but would bias chardet, which expects more accented letters in Hungarian than in Spanish.
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
    """Return chardet's confidence in each encoding.

    An encoding is left out if it turns clearly fewer of the words into plausible text than the best encoding does.
    """
    counts = {
        encoding: sum(_is_plausible(word.decode(encoding, "replace")) for word in words) for encoding in encodings
    }
    plausible = [encoding for encoding in encodings if counts[encoding] >= _PLAUSIBLE_SHARE * max(counts.values())]
    confidences = _ask_chardet(b"\n".join(words), plausible) if words else {}
    return {encoding: confidences.get(codecs.lookup(encoding).name, 0) for encoding in plausible}


def _ask_chardet(content: bytes, encodings: Sequence[str]) -> dict[str | None, float]:
    import chardet  # imported late: UTF-8 files don't need its large tables

    results = chardet.detect_all(
        content,
        ignore_threshold=True,
        include_encodings=encodings,
        no_match_encoding=encodings[0],
        compat_names=False,
        prefer_superset=False,
    )
    return {result["encoding"]: result["confidence"] for result in results}


def _is_plausible(text: str) -> bool:
    """Return whether a word uses a single script and normal capitalization, without symbols between letters."""
    scripts = set(map(_script, text)) - {None}
    return (
        len(scripts) <= 1
        and "" not in scripts
        and not _SYMBOL_INSIDE.search(text)
        and all(part.isupper() or part[1:] == part[1:].lower() for part in _LETTERS.findall(text))
    )


@cache
def _script(character: str) -> str | None:
    """Return a letter's script, such as "GREEK".

    Returns None for characters that occur in text of any script, and "" for any other character that isn't a letter.
    """
    if character in _SYMBOLS or character in _JOINERS or (character.isascii() and not character.isalpha()):
        return None
    script = name(character, "").split(" ")[0] if category(character)[0] in "LM" else ""
    return "CJK" if script in ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "FULLWIDTH") else script


_DELIMITERS, _RARE_DELIMITERS = ",;\t|", "~^"
BLANKS = " "
"""The value of `Rows.delimiter` for tables whose columns are aligned with blanks."""

_NAMED = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's optional first line that sets the delimiter
_SAMPLE_LINES = 50
_LIKELY_SHARE = 0.5
_CONSISTENT_SHARE = 0.95
_MAX_TITLE_SHARE = 1 / 3  # of the cells of most rows; a title row has text in no more of them
_MIN_CELLS = 3  # with fewer cells in most rows, a short header and a title row look alike
_MIN_ROWS = 3  # from the header on; in fewer rows, title rows can't be told from others
_NUMBER_LIKE = re.compile(r"[^\w]*\d[\d\s.,'%-]*")
_MIN_DELIMITERS = 4  # with fewer, the commas in a remark could pass for the delimiters of a row
_UNIT = "\x1f"  # replaces the blanks between aligned cells
_WORDS = re.compile(r'("(?:[^"]|"")*")|[ \t]+')

# Python's default limit of 131,072 characters per cell is too small for the outline of a parcel
csv.field_size_limit(sys.maxsize)


@define
class Rows:
    """An iterator over the rows of delimited text. Blank rows are skipped.

    Attributes:
        delimiter: the character between cells, or BLANKS.
        line: the number, counted from 1, of the line on which the latest row begins.
        named: the position, counted from 1, of the last header column that has a name.
        repaired: the line numbers of rows with unbalanced quotes. In such rows, a quote ends a cell only if it is
            followed by a delimiter or the end of the line.
        nul_lines: the numbers of the lines from which NUL characters were removed.
        invalid: the number of lines that contain REPLACED, which is shown as U+FFFD.
        titles: the number of title rows above the header. They are skipped.
    """

    delimiter: str
    _lines: Iterator[str]
    line: int
    titles: int = 0
    named: int = field(default=0, init=False)
    _widths: Set[int] = field(default=frozenset(), init=False)
    _keeps_empty: bool = field(default=False, init=False)
    repaired: list[int] = field(factory=list, init=False)
    nul_lines: list[int] = field(factory=list, init=False)
    invalid: int = field(default=0, init=False)
    _next_line: int = field(init=False)
    _row_lines: list[str] = field(factory=list, init=False)
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
        """Return the first row, or an empty list if there are no rows.

        The width of the header is used to detect damaged rows. With `keep_empty`, later rows that consist of several
        empty cells are not skipped.
        """
        header = next(self, [])
        self.named = max((position for position, name in enumerate(header, start=1) if name.strip()), default=0)
        self._widths = {self.named, len(header), len(header) + 1}
        self._keeps_empty = keep_empty
        return header

    def _row(self) -> list[str]:
        self._row_lines.clear()
        self.line = self._next_line
        try:
            row = next(self._reader)
        except csv.Error:
            return self._repair_row()
        if len(self._row_lines) > 1 and self._widths and self._contains_rows(row):
            return self._repair_row()
        self._next_line += len(self._row_lines)
        return row

    def _contains_rows(self, row: list[str]) -> bool:
        """Return whether a multi-line row has swallowed other rows because of an unclosed quote."""
        if len(row) not in self._widths:
            return True
        # lines with a quote may end one multi-line cell and begin another
        inner_rows = [_parse_leniently(line, self._separator) for line in self._row_lines[1:-1] if '"' not in line]
        delimiters = sum(len(cells) - 1 for cells in inner_rows)
        return delimiters >= _MIN_DELIMITERS and all(len(cells) in self._widths for cells in inner_rows)

    def _repair_row(self) -> list[str]:
        """Parse only the first line of a damaged row, leniently. Its other lines are parsed again as the next rows."""
        first, *rest = self._row_lines
        self._pending.extendleft(reversed(rest))
        self._reader = self._strict()
        self.repaired.append(self.line)
        self._next_line = self.line + 1
        return _parse_leniently(first, self._separator)

    def _strict(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self._separator, skipinitialspace=True, strict=True)

    def _feed(self) -> Iterator[str]:
        pending, row_lines, are_aligned = self._pending, self._row_lines, self.delimiter == BLANKS
        while True:
            if pending:
                line = pending.popleft()
            else:
                line = next(self._lines, "")
                if not line:
                    return
                if "\0" in line:
                    self.nul_lines.append(self._next_line + len(row_lines))
                    line = line.replace("\0", "")
                if REPLACED in line:
                    self.invalid += 1
                    line = line.replace(REPLACED, "\ufffd")
                if are_aligned:
                    line = _aligned(line)
            row_lines.append(line)
            yield line

    @property
    def _separator(self) -> str:
        return _UNIT if self.delimiter == BLANKS else self.delimiter


def rows_of(lines: Iterable[str]) -> Rows:
    """Parse lines of text as rows, without title rows above the header.

    A first line such as `sep=;` sets the delimiter, which is otherwise detected.
    """
    lines = iter(lines)
    sample = list(islice(lines, _SAMPLE_LINES))
    named = _NAMED.fullmatch(sample[0]) if sample else None
    start = int(bool(named))
    clean = [line.replace("\0", "") for line in sample[start:]]
    delimiter = named[1] if named else _delimiter(clean)
    title_lines, titles = _titles(_split(clean, delimiter))
    start += title_lines
    return Rows(delimiter, chain(sample[start:], lines), line=1 + start, titles=titles)


def _split(sample: Iterable[str], delimiter: str) -> list[tuple[int, list[str]]]:
    """Split lines into rows, up to the first invalid line. With each row, return how many lines precede it."""
    aligned = delimiter == BLANKS
    reader = csv.reader(
        map(_aligned, sample) if aligned else sample,
        delimiter=_UNIT if aligned else delimiter,
        skipinitialspace=True,
    )
    rows, before = [], 0
    with suppress(csv.Error):
        for row in reader:
            rows.append((before, row))
            before = reader.line_num
    return rows


def _titles(rows: Sequence[tuple[int, list[str]]]) -> tuple[int, int]:
    """Return how many lines precede the header, and how many title rows these lines contain.

    A title row has text in at most a third as many cells as most rows. In a table with two columns, a title row is
    instead a row without any delimiter. If no row below the supposed titles looks like a header, both counts are 0.
    """
    texts = [(line, len(row), [cell for cell in map(str.strip, row) if cell]) for line, row in rows if has_text(row)]
    typical = median(len(cells) for _, _, cells in texts) if texts else 0
    for titles, (line, width, cells) in enumerate(texts):
        is_title = len(cells) <= typical * _MAX_TITLE_SHARE if typical >= _MIN_CELLS else width == 1 < typical
        if not is_title:
            numbers = sum(_NUMBER_LIKE.fullmatch(cell) is not None for cell in cells)
            is_header = numbers * 3 <= len(cells) and len(texts) - titles >= _MIN_ROWS
            return (line, titles) if titles and is_header else (0, 0)
    return 0, 0


def trim_row(row: list[str], width: int) -> list[str]:
    """Return a row without the cells beyond `width` if all of these are blank. Otherwise, return the row unchanged."""
    return row[:width] if len(row) > width and not has_text(row[width:]) else row


def _delimiter(sample: Sequence[str]) -> str:
    """Detect the delimiter, which splits most lines into as many cells as the header.

    Returns BLANKS if the columns are aligned with blanks. At first, the first row is assumed to be the header. Only if
    no delimiter fits under this assumption, title rows above the header are detected and ignored.
    """

    def score(delimiter: str, *, titled: bool = False) -> tuple[float, int]:
        rows = [(line, row) for line, row in _split(sample, delimiter) if has_text(row)]
        title_lines = _titles(rows)[0] if titled else 0
        widths = [len(row) for line, row in rows if line >= title_lines]
        width = widths[0] if widths else 0
        # a row may have one extra cell: the row's name, or an empty cell
        matching = sum(row_width in (width, width + 1) for row_width in widths)
        return (matching / len(widths) if width > 1 else 0.0), width

    best, rare = max(_DELIMITERS, key=score), max(_RARE_DELIMITERS, key=score)
    if score(best)[0] >= _LIKELY_SHARE:
        return best
    if score(rare)[0] >= _CONSISTENT_SHARE:
        return rare
    if len(sample) > 1 and score(BLANKS)[0] >= _CONSISTENT_SHARE:
        return BLANKS
    below_titles = max(_DELIMITERS, key=partial(score, titled=True))
    return below_titles if score(below_titles, titled=True)[0] >= _LIKELY_SHARE else best


def _aligned(line: str) -> str:
    return _WORDS.sub(lambda match: match[1] or _UNIT, line.strip(" \t\r\n")) + "\n"


def _parse_leniently(line: str, delimiter: str) -> list[str]:
    """Parse a line with unbalanced quotes into cells, in linear time."""
    split = re.escape(delimiter)
    opening, closing = re.compile(' *"'), re.compile(rf'"( *)({split}|$)')
    plain = re.compile(rf" *([^{split}]*)({split}|$)")
    line, position, cells, closes = line.rstrip("\r\n"), 0, [], True
    while True:
        opened = opening.match(line, position) if closes else None
        end = closing.search(line, opened.end()) if opened else None
        # if no closing quote follows here, none follows later in the line
        closes = closes and (opened is None or end is not None)
        if opened and end:
            cells.append(line[opened.end() : end.start()].replace('""', '"'))
        elif end := plain.match(line, position):
            cells.append(end[1])
        if not end or not end[2]:
            return cells
        position = end.end()


def has_text(row: Iterable[str]) -> bool:
    """Return whether a row has at least one cell that isn't blank."""
    return any(map(str.strip, row))
