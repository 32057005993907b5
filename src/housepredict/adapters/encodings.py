"""The encoding of a text file, told by its bytes: exports in older encodings don't say which they are in.

General detectors need sentences; a file of sales has a few names of towns, over and over. So each encoding is judged by
how many characters of the distinct words are letters that its languages use, in a case that fits.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence

from attrs import frozen

UTF_8 = "utf-8"

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_WORD = re.compile(rb"[^\x00-\x3f]*[\x80-\xff][^\x00-\x3f]*")
_LETTERS = re.compile(r"[^\W\d_]+")
_MAX_WORDS = 2000
_MAX_WORD_BYTES = 100
_BINARY_SHARE = 0.02  # of control characters, from which on bytes are no text
_CONTROL = bytes([*range(1, 9), *range(14, 26), *range(27, 32), 127])
_VALID_PER_BAD = 3  # sequences of UTF-8 per bad byte, from which on a file is damaged UTF-8
_PLAUSIBLE_SHARE = 0.5
_MARGIN = 0.1
_FEW_CHARACTERS = 3
_COMMON_SHARE = 0.4  # of the commonest syllables in Korean; a tenth of other text read as Korean

_WESTERN = "áéíóúàèìòùâêîôûäëïöüãõñçßæøåœÿ"
_CENTRAL = "áéíóúýčďěňřšťůžąćęłńśźżőűöüäľĺŕôđăâî"
_TURKISH = "ğışİöüçâîû"
_RUSSIAN = "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ"
_GREEK = "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋ"
_ARABIC = "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهوىي"
_KOREAN = (
    "가강건경계고곡공과관광교구군금기김나남내년노논농다단달당대덕도독동두둔등라래로록론룡류리림마만면명목문미민박반방백"
    "범별보복봉부북분빌사산삼상서석선성세소송수순시신아안암양여역연영오옥온외용우운울원월위유은음읍의이인일자작장"
    "전정제조종특울주중지진창천청초촌추충치태택토통트파평포풍하학한합해향현호홍화환황회효"
)
_HALF_WIDTH = frozenset(map(chr, range(0xFF61, 0xFFA0)))  # as Japanese, nearly any byte is one of these
_MARKS = "\u2019\u2018\u201c\u201d\u2013\u2014…•·€£°²³½¼¾ºª«»®©™§"


@frozen
class TextEncoding:
    """How to decode a file, and what to report about it: None where there was nothing to guess."""

    codec: str
    note: str | None = None
    errors: str = "strict"


@frozen
class _Candidate:
    """An encoding, and the characters that text in it has; ranges of lead bytes for those of two bytes."""

    codec: str
    name: str
    letters: str = ""
    leads: tuple[tuple[int, int], ...] = ()
    trail: int = 0x40
    common: str = ""

    @property
    def is_latin(self) -> bool:
        """Whether its letters are plain ones with accents."""
        return self.letters in (_WESTERN, _CENTRAL, _TURKISH)


_CANDIDATES = (
    _Candidate("cp1252", "Windows-1252", _WESTERN),
    _Candidate("cp1251", "Windows-1251", _RUSSIAN),
    _Candidate("cp866", "CP866", _RUSSIAN),
    _Candidate("cp1250", "Windows-1250", _CENTRAL),
    _Candidate("iso8859_2", "ISO-8859-2", _CENTRAL),
    _Candidate("mac_roman", "Mac Roman", _WESTERN),
    _Candidate("cp1254", "Windows-1254", _TURKISH),
    _Candidate("cp1253", "Windows-1253", _GREEK),
    _Candidate("cp1256", "Windows-1256", _ARABIC),
    _Candidate("cp932", "Shift-JIS", leads=((0x82, 0x83), (0x88, 0x97))),
    # the commonest syllables of Korean are, as Chinese, common characters too
    _Candidate("cp949", "EUC-KR", leads=((0xB0, 0xC8),), trail=0xA1, common=_KOREAN),
    _Candidate("gb18030", "GB18030", leads=((0xB0, 0xD7),), trail=0xA1),
    _Candidate("big5", "Big5", leads=((0xA4, 0xC6),)),
)


def named(encoding: str) -> TextEncoding:
    """Return an encoding that somebody named. Raises LookupError for one that Python doesn't know as text."""
    codec = codecs.lookup(encoding)
    if codec.name in ("utf-8", "utf-8-sig"):
        return TextEncoding("utf-8-sig", errors="replace")
    if not codec._is_text_encoding:  # noqa: SLF001  # hex and zip are codecs, too
        raise LookupError(encoding)
    return TextEncoding(codec.name, errors="replace")


def detect(pieces: Iterable[bytes]) -> TextEncoding | None:
    """Return the encoding of the text in `pieces`; None if they are no text.

    Decides by evidence: UTF-8 if it is that, apart from a few bad bytes. Otherwise the encoding in which the words
    look most like those of a language, and Windows-1252 where they are too few to tell.
    """
    decoder = codecs.getincrementaldecoder(UTF_8)("replace")
    bad = valid = size = controls = nulls = 0
    words: dict[bytes, None] = {}
    tail = b""
    for number, piece in enumerate(pieces):
        if number == 0:
            for mark, codec, _ in _BOMS:
                if piece.startswith(mark):
                    return TextEncoding(codec, errors="replace")
        text = decoder.decode(piece)
        size += len(piece)
        controls += len(piece) - len(piece.translate(None, _CONTROL))
        nulls += piece.count(0)
        if text.isascii():
            continue
        replaced = text.count("\ufffd")
        bad += replaced
        valid += sum(not character.isascii() for character in text) - replaced
        if len(words) < _MAX_WORDS:
            found = _WORD.findall(tail + piece)
            words.update(dict.fromkeys(word for word in found if len(word) <= _MAX_WORD_BYTES))
    bad += decoder.decode(b"", final=True).count("\ufffd")
    if nulls + (controls if bad else 0) > _BINARY_SHARE * size:
        return None
    if not bad:
        return TextEncoding(UTF_8)
    if valid >= _VALID_PER_BAD * bad:
        are = "1 byte is" if bad == 1 else f"{bad:,} bytes are"
        return TextEncoding(UTF_8, f"read as UTF-8, of which {are} damaged (shown as \ufffd)", "replace")
    return _guess(list(words)[:_MAX_WORDS])


def _guess(words: Sequence[bytes]) -> TextEncoding | None:
    usual, *others = _CANDIDATES
    shares = {each.name: _plausible_share(each, words) for each in _CANDIDATES}
    best = max(others, key=lambda each: shares[each.name])
    characters = sum(len(re.findall(rb"[\x80-\xff]", word)) for word in words)
    few = _FEW_CHARACTERS if shares[usual.name] else _FEW_CHARACTERS - 1
    if shares[best.name] < shares[usual.name] + _MARGIN or characters < few:
        best = usual
    if shares[best.name] < _PLAUSIBLE_SHARE and (characters >= _FEW_CHARACTERS or not _decodes(best, words)):
        return None
    return TextEncoding(best.codec, f"read as {best.name} (guessed; overrule with --encoding)", "replace")


def _decodes(candidate: _Candidate, words: Sequence[bytes]) -> bool:
    try:
        b" ".join(words).decode(candidate.codec)
    except UnicodeDecodeError:
        return False
    return True


def _plausible_share(candidate: _Candidate, words: Sequence[bytes]) -> float:
    plausible = common = total = 0
    for word in words:
        text = word.decode(candidate.codec, "replace")
        judged = [
            _is_plausible(candidate, before, character, after)
            for before, character, after in zip(" " + text, text, text[1:] + " ", strict=False)
            if not character.isascii() and character not in _HALF_WIDTH
        ]
        if candidate.letters and any(_is_of_another_script(candidate, each) for each in _LETTERS.findall(text)):
            judged = [False] * len(judged)
        plausible += sum(judged)
        common += sum(character in candidate.common for character in text)
        total += len(judged)
    if candidate.common and common < _COMMON_SHARE * total:
        plausible = common
    return plausible / total if total else 0.0


def _is_of_another_script(candidate: _Candidate, word: str) -> bool:
    """Whether letters mix as in no word: accents stand beside plain letters, and letters of other scripts don't."""
    plain = sum(map(str.isascii, word))
    return plain == 0 and len(word) > 2 if candidate.is_latin else 0 < plain < len(word)


def _is_plausible(candidate: _Candidate, before: str, character: str, after: str) -> bool:
    if candidate.leads:
        code = character.encode(candidate.codec, "replace")
        return (
            len(code) == 2
            and code[1] >= candidate.trail
            and any(low <= code[0] <= high for low, high in candidate.leads)
        )
    if character.lower() in candidate.letters:
        return not (character.isupper() and before.islower())
    if character in _MARKS:
        return character == "\u2019" or not (before.isalpha() and after.isalpha())
    return False
