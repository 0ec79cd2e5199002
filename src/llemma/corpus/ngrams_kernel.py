"""Compiled loops of the n-gram search (numba): bytes to hashed words in either view, and the probing of the index.

Texts are UTF-8, several in one buffer with the places where each begins. Nothing here decides what a word is
(``views``) or what a match is worth (``ngrams``). Hashes are 64 bits; what they find is verified by the caller.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

from llemma.corpus import views

F = TypeVar("F", bound=Callable[..., Any])
U64 = np.uint64
EMPTY = U64(0xCBF29CE484222325)  # hash of no bytes (Fowler, Noll, Vo)
STEP = U64(0x9E3779B97F4A7C15)  # odd, with bits all over
BASE = U64(0xD6E8FEB86659FD93)  # of the polynomial over the words of an n-gram
MIX = U64(0xFF51AFD7ED558CCD)

# --- classes of bytes -------------------------------------------------------------------------------------------

SPACE, LEAD = 1, 2  # raw view: white space; perhaps the first byte of wider white space
SEPARATOR, LETTER, DIGIT, OPERATOR, BACKSLASH, BLANK, WIDE = range(7)  # normal view
DROP, KEEP, GROUP, FRACTION = range(4)  # commands


def compiled(function: F) -> F:
    """The function as machine code, kept on the disk between processes.

    None of them allocates, so the counting of references is left out: with it, handing an array on costs more than
    the work on a word (62 MB/s instead of 256).
    """
    made: F = numba.njit(cache=True, nogil=True, _nrt=False)(function)
    return made


def inlined(function: F) -> F:
    """As ``compiled``, for a part of another function, into which its body is put."""
    made: F = numba.njit(inline="always")(function)
    return made


def _raw_classes() -> np.ndarray:
    found = np.zeros(256, dtype=np.uint8)
    for byte in range(128):
        found[byte] = SPACE if chr(byte).isspace() else 0
    found[[0xC2, 0xE1, 0xE2, 0xE3]] = LEAD
    return found


def _normal_classes() -> np.ndarray:
    found = np.full(256, SEPARATOR, dtype=np.uint8)
    for byte in range(128):
        char = chr(byte)
        if char.isalpha():
            found[byte] = LETTER
        elif char.isdigit():
            found[byte] = DIGIT
    found[128:] = WIDE
    for char, kind in ((" ", BLANK), ("\t", BLANK), ("\\", BACKSLASH), ("+", OPERATOR), ("=", OPERATOR)):
        found[ord(char)] = kind
    return found


RAW = _raw_classes()
NORMAL = _normal_classes()


class Tables(NamedTuple):
    """What the normal view needs to know: characters beyond ASCII, and commands by the hash of their name."""

    signs: np.ndarray  # int32[65536 + 1024]: 0 separates, 1 vanishes, else 2 + number of an entry
    alone: np.ndarray  # bool per entry: words of their own, or letters of a word
    first: np.ndarray  # int32[entries + 1]: where the entry's values begin
    values: np.ndarray  # uint64: bytes of letters, or hashes of words
    names: np.ndarray  # uint64[2048]: hashes of commands, open addressing, 0 where there is none
    acts: np.ndarray  # uint8[2048]
    becomes: np.ndarray  # uint64[2048]: hash of the word that a kept command leaves


def word_hash(word: str) -> int:
    """The hash of a word's UTF-8: eight bytes at a time, the last ones filled up with zeros."""
    data, value = word.encode("utf-8", "surrogatepass"), int(EMPTY)
    for i in range(0, len(data), 8):
        value = ((value ^ int.from_bytes(data[i : i + 8], "little")) * int(STEP)) & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 32
    return value


@functools.cache
def tables() -> Tables:
    """The tables of the normal view, made from ``views`` on first use."""
    signs = np.zeros(0x10000 + 0x400, dtype=np.int32)
    alone: list[bool] = []
    first, values = [0], []
    numbers: dict[views.Sign, int] = {views.SEPARATES: 0, views.VANISHES: 1}
    for place in range(0x80, len(signs)):
        code = place if place < 0x10000 else place - 0x10000 + 0x1D400
        what = views.sign(chr(code))
        if what not in numbers:
            numbers[what] = 2 + len(alone)
            alone.append(bool(what.words))
            values += [word_hash(word) for word in what.words] or list(what.joins.encode())
            first.append(len(values))
        signs[place] = numbers[what]
    names, acts, becomes = np.zeros(2048, dtype=U64), np.zeros(2048, dtype=np.uint8), np.zeros(2048, dtype=U64)
    for name in {*views.DROPPED, *views.FRACTIONS, *views.BINOMIALS, *views.GROUPS, *views.SYNONYMS}:
        value = word_hash(name)
        slot = value >> 53
        while names[slot]:
            slot = (slot + 1) % 2048
        names[slot] = value
        becomes[slot] = word_hash(views.SYNONYMS.get(name, name))
        acts[slot] = KEEP
        if name in views.GROUPS:
            acts[slot] = GROUP
        elif name in views.FRACTIONS or name in views.BINOMIALS:
            acts[slot] = FRACTION
            becomes[slot] = becomes[slot] if name in views.BINOMIALS else 0
        elif name in views.DROPPED:
            acts[slot] = DROP
    return Tables(
        signs=signs, alone=np.array(alone), first=np.array(first, dtype=np.int32),
        values=np.array(values, dtype=U64), names=names, acts=acts, becomes=becomes,
    )  # fmt: skip


# --- eight bytes at a time ---------------------------------------------------------------------------------------


@intrinsic  # type: ignore[untyped-decorator]
def _eight(context: Any, data: Any, place: Any) -> Any:
    """The eight bytes at ``place``, the first of them lowest; they must lie in the buffer."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0])
        pointer = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return numba.uint64(data, numba.int64), build


@intrinsic  # type: ignore[untyped-decorator]
def _zeros_below(context: Any, value: Any) -> Any:
    """How many zero bits are below the lowest one; ``value`` is not 0."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return numba.uint64(numba.uint64), build


TOPS = U64(0x8080808080808080)
ABOVE_SPACE = U64(0x2121212121212121)
LOWER = U64(0x2020202020202020)
FROM_A = U64(0x1F1F1F1F1F1F1F1F)  # with it a byte from "a" on has its top bit set
BEYOND_Z = U64(0x0505050505050505)  # with it one behind "z"


@inlined
def _chunk(value: np.uint64, eight: np.uint64) -> np.uint64:
    """The hash of a word that goes on with these eight bytes."""
    value = (value ^ eight) * STEP
    return value ^ (value >> U64(32))


@inlined
def _append(value: np.uint64, pending: np.uint64, fill: int, byte: int) -> tuple[np.uint64, np.uint64, int]:
    """A hash, the bytes not in it yet and their number, when one more byte comes."""
    pending |= U64(byte) << U64(8 * fill)
    if fill == 7:
        return _chunk(value, pending), U64(0), 0
    return value, pending, fill + 1


@inlined
def _letters(eight: np.uint64) -> np.uint64:
    """How many ASCII letters come first; ``eight`` is in lower case (each byte with bit 5 set)."""
    low = eight & ~TOPS
    others = ~((low + FROM_A) & ~(low + BEYOND_Z) & ~eight) & TOPS
    return U64(8) if others == 0 else _zeros_below(others) >> U64(3)


# --- words ------------------------------------------------------------------------------------------------------


@compiled
def _wide_space(data: np.ndarray, i: int, end: int) -> int:
    """The bytes of the white space beyond ASCII that begins at ``i``, 0 when there is none."""
    c = data[i]
    if c == 0xC2:
        return 2 if i + 1 < end and (data[i + 1] == 0x85 or data[i + 1] == 0xA0) else 0
    if i + 2 >= end:
        return 0
    second, third = data[i + 1], data[i + 2]
    if c == 0xE2:
        if second == 0x80:
            return 3 if third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF else 0
        return 3 if second == 0x81 and third == 0x9F else 0
    if c == 0xE1:
        return 3 if second == 0x9A and third == 0x80 else 0
    return 3 if c == 0xE3 and second == 0x80 and third == 0x80 else 0


@compiled
def _word_end(data: np.ndarray, i: int, end: int) -> int:
    """Where the word that goes on at ``i`` ends, byte by byte."""
    while i < end:
        kind = RAW[data[i]]
        if kind != 0 and (kind == SPACE or _wide_space(data, i, end) > 0):
            break
        i += 1
    return i


@compiled
def raw_words(data: np.ndarray, begin: int, end: int, out: np.ndarray) -> int:
    """Hash, first byte and end of each word of ``str.split()`` in ``data[begin:end]`` to ``out``; their number.

    Eight more bytes must lie behind ``end``: most words are read in one piece.
    """
    count, i = 0, begin
    while i < end:
        kind = RAW[data[i]]
        if kind == SPACE:
            i += 1
            continue
        if kind == LEAD:
            width = _wide_space(data, i, end)
            if width:
                i += width
                continue
        start, value = i, EMPTY
        last = -1  # where the word ends, once that is known
        while True:
            eight = _eight(data, i)
            if last < 0:
                # the top bit of the first byte that may end the word: ASCII up to the blank, or any beyond ASCII
                marks = (((eight - ABOVE_SPACE) & ~eight) | eight) & TOPS
                left = U64(8) if marks == 0 else _zeros_below(marks) >> U64(3)
                stop = i + int(left)
                if stop >= end:
                    last = end
                elif left < 8:
                    last = stop if RAW[data[stop]] == SPACE else _word_end(data, stop, end)
            size = last - i
            if last < 0 or size >= 8:
                value = _chunk(value, eight)
                i += 8
                if size == 8:
                    break
                continue
            if size > 0:
                value = _chunk(value, eight & ((U64(1) << U64(8 * size)) - U64(1)))
            break
        out[count, 0], out[count, 1], out[count, 2] = value, start, last
        count += 1
        i = last
    return count


@compiled
def _digits(data: np.ndarray, i: int, end: int) -> int:
    """How many digits stand at ``i``."""
    start = i
    while i < end and NORMAL[data[i]] == DIGIT:
        i += 1
    return i - start


@compiled
def _thousands(data: np.ndarray, i: int, end: int) -> int:
    """The bytes of a separator at ``i`` that exactly three digits follow, 0 when there is none."""
    width = 0
    if data[i] == 0x2C:  # ","  and ",\!"
        width = 1
        if i + 2 < end and data[i + 1] == 0x5C and data[i + 2] == 0x21:
            width = 3
    elif data[i] == 0x5C:  # "\,"
        width = 2 if i + 1 < end and data[i + 1] == 0x2C else 0
    elif data[i] == 0x7B:  # "{,}"
        width = 3 if i + 2 < end and data[i + 1] == 0x2C and data[i + 2] == 0x7D else 0
    return width if width and _digits(data, i + width, end) == 3 else 0


@compiled
def _group(data: np.ndarray, i: int, end: int) -> int:
    """Where the text goes on behind ``{NAME}`` at ``i``; ``i`` when there is none."""
    j = i + 1
    while j < end and j - i <= 20 and (NORMAL[data[j]] == LETTER or data[j] == 0x2A):
        j += 1
    return j + 1 if i < end and data[i] == 0x7B and i + 1 < j < end and data[j] == 0x7D else i


@inlined
def _code(data: np.ndarray, i: int, width: int) -> int:
    """The place in ``Tables.signs`` of the character of ``width`` bytes at ``i``."""
    c = int(data[i])
    if width == 2:
        code: int = ((c & 0x1F) << 6) | (data[i + 1] & 0x3F)
        return code
    if width == 3:
        code = ((c & 0x0F) << 12) | ((data[i + 1] & 0x3F) << 6) | (data[i + 2] & 0x3F)
        return code
    code = ((c & 0x07) << 18) | ((data[i + 1] & 0x3F) << 12) | ((data[i + 2] & 0x3F) << 6) | (data[i + 3] & 0x3F)
    return code - 0x1D400 + 0x10000 if 0x1D400 <= code < 0x1D800 else 0


@inlined
def _lettered(data: np.ndarray, i: int, end: int, table: Any, count: int, out: np.ndarray) -> tuple[int, int]:
    """Read letters and characters beyond ASCII from ``i`` on: the number of words then, and where the text goes on."""
    eight = _eight(data, i) | LOWER
    size = int(_letters(eight))
    if 0 < size < 8 and i + size < end and NORMAL[data[i + size]] != WIDE:  # nearly every word
        out[count, 0] = _chunk(EMPTY, eight & ((U64(1) << U64(8 * size)) - U64(1)))
        out[count, 1], out[count, 2] = i, i + size
        return count + 1, i + size
    value, pending, fill, begun = EMPTY, U64(0), 0, False
    while i < end:
        c = data[i]
        kind = NORMAL[c]
        if kind == LETTER:
            if not begun:
                begun = True
                out[count, 1] = i
            value, pending, fill = _append(value, pending, fill, c | 0x20)
            i += 1
            out[count, 2] = i
            continue
        if kind != WIDE:
            break
        width = 2 if c < 0xE0 else 3 if c < 0xF0 else 4
        entry = table.signs[_code(data, i, width)]
        if entry >= 2 and not table.alone[entry - 2]:
            if not begun:
                begun = True
                out[count, 1] = i
            for k in range(table.first[entry - 2], table.first[entry - 1]):
                value, pending, fill = _append(value, pending, fill, table.values[k])
            out[count, 2] = i + width
        elif entry != 1:
            if begun:
                out[count, 0] = _chunk(value, pending) if fill else value
                count += 1
                value, pending, fill, begun = EMPTY, U64(0), 0, False
            if entry >= 2:
                for k in range(table.first[entry - 2], table.first[entry - 1]):
                    out[count, 0], out[count, 1], out[count, 2] = table.values[k], i, i + width
                    count += 1
        i += width
    if begun:
        out[count, 0] = _chunk(value, pending) if fill else value
        count += 1
    return count, i


@inlined
def _number(data: np.ndarray, i: int, end: int, count: int, out: np.ndarray) -> tuple[int, int]:
    """Read a number with its separators of thousands: the number of words then, and where the text goes on."""
    out[count, 1] = i
    value, pending, fill = EMPTY, U64(0), 0
    run = _digits(data, i, end)
    for k in range(run):
        value, pending, fill = _append(value, pending, fill, data[i + k])
    i += run
    while run <= 3 and i < end:
        width = _thousands(data, i, end)
        if width == 0:
            break
        for k in range(i + width, i + width + 3):
            value, pending, fill = _append(value, pending, fill, data[k])
        i += width + 3
    out[count, 0], out[count, 2] = _chunk(value, pending) if fill else value, i
    return count + 1, i


@inlined
def _command(data: np.ndarray, i: int, end: int, table: Any, count: int, out: np.ndarray) -> tuple[int, int]:
    """Read a backslash and what belongs to it: the number of words then, and where the text goes on."""
    j = i + 1
    value, pending, fill = EMPTY, U64(0), 0
    while j < end and NORMAL[data[j]] == LETTER:
        value, pending, fill = _append(value, pending, fill, data[j] | 0x20)
        j += 1
    if j == i + 1:
        return count, (j + 1 if j < end and data[j] < 0x80 else j)
    if fill:
        value = _chunk(value, pending)
    slot = value >> U64(53)
    while table.names[slot] != value and table.names[slot] != 0:
        slot = (slot + U64(1)) & U64(2047)
    act, word = KEEP, value
    if table.names[slot] == value:
        act, word = table.acts[slot], table.becomes[slot]
    if act == KEEP or (act == FRACTION and word != 0):
        out[count, 0], out[count, 1], out[count, 2] = word, i, j
        count += 1
    i = j
    if act == GROUP:
        i = _group(data, i, end)
    elif act == FRACTION:
        while j < end and NORMAL[data[j]] == BLANK:
            j += 1
        for _ in range(2):
            if j < end and NORMAL[data[j]] == DIGIT:
                out[count, 0], out[count, 1], out[count, 2] = _chunk(EMPTY, U64(data[j])), j, j + 1
                count += 1
                j += 1
                i = j
            else:
                break
    return count, i


@compiled
def normal_words(data: np.ndarray, begin: int, end: int, table: Any, out: np.ndarray) -> int:
    """As ``raw_words``, in the words of the normal view."""
    count, i = 0, begin
    while i < end:
        c = data[i]
        kind = NORMAL[c]
        if kind in (BLANK, SEPARATOR):
            i += 1
        elif kind in (LETTER, WIDE):
            count, i = _lettered(data, i, end, table, count, out)
        elif kind == DIGIT:
            count, i = _number(data, i, end, count, out)
        elif kind == BACKSLASH:
            count, i = _command(data, i, end, table, count, out)
        else:
            out[count, 0], out[count, 1], out[count, 2] = _chunk(EMPTY, U64(c)), i, i + 1
            count += 1
            i += 1
    return count


# --- the index --------------------------------------------------------------------------------------------------


class Probe(NamedTuple):
    """The index as the loops read it. A seed is a run of words of an item; its key is ``seed_key`` of their hashes."""

    lengths: np.ndarray  # int64: the lengths of seeds
    powers: np.ndarray  # uint64: BASE ** length
    salts: np.ndarray  # uint64 per length
    bits: np.ndarray  # uint64: in the element that the first bits of a key tell, two bits that others of its bits tell
    shift: np.uint64  # 64 less the number of those first bits
    slots: np.ndarray  # int32: number of the key in a table with open addressing, -1 where there is none
    slot_shift: np.uint64
    keys: np.ndarray  # uint64, sorted
    first: np.ndarray  # int32[keys + 1]: where the postings of a key begin
    items: np.ndarray  # int32: item of a posting
    places: np.ndarray  # int32: word of the item at which its seed begins
    of_length: np.ndarray  # int32: words of its seed
    item_first: np.ndarray  # int64[items + 1]: where the words of an item begin
    item_words: np.ndarray  # uint64: hashes of the words of all items
    needed: np.ndarray  # int32: words of an item that must match in a row
    every: np.ndarray  # int32: words between the seeds of an item


@compiled
def seed_keys(hashes: np.ndarray, first: np.ndarray, length: np.ndarray, salts: np.ndarray, keys: np.ndarray) -> None:
    """The keys of seeds to ``keys``: each ``length`` word hashes from ``first`` on, with the salt of its length."""
    for i in range(len(first)):
        value = U64(0)
        for k in range(first[i], first[i] + length[i]):
            value = value * BASE + hashes[k]
        keys[i] = (value ^ salts[i]) * MIX


@inlined
def _longest(words: np.ndarray, count: int, at: int, index: Any, posting: int) -> tuple[int, int]:
    """How many words match before a posting's seed and from it on; 0 for a match that an earlier seed has met."""
    item, place = index.items[posting], index.places[posting]
    begin, end = index.item_first[item], index.item_first[item + 1]
    length = index.of_length[posting]
    for k in range(length):
        if words[at + k, 0] != index.item_words[begin + place + k]:
            return 0, 0
    before, limit = 0, min(at, place)
    while before < limit and words[at - before - 1, 0] == index.item_words[begin + place - before - 1]:
        before += 1
        if before == index.every[item]:
            return 0, 0
    behind = length
    limit = min(count - at, end - begin - place)
    while behind < limit and words[at + behind, 0] == index.item_words[begin + place + behind]:
        behind += 1
    return before, behind


@compiled
def _probe(
    words: np.ndarray, count: int, document: int, index: Any, prefix: np.ndarray, out: np.ndarray, found: int
) -> int:
    """Look up every run of words; matches go to ``out`` as far as it has room, their number is returned."""
    prefix[0] = U64(0)
    for i in range(count):
        prefix[i + 1] = prefix[i] * BASE + words[i, 0]
        for j in range(len(index.lengths)):
            at = i + 1 - index.lengths[j]
            if at < 0:
                continue
            key = ((prefix[i + 1] - prefix[at] * index.powers[j]) ^ index.salts[j]) * MIX
            mask = (U64(1) << ((key >> U64(20)) & U64(63))) | (U64(1) << ((key >> U64(26)) & U64(63)))
            if index.bits[key >> index.shift] & mask != mask:
                continue
            slot = key >> index.slot_shift
            while index.slots[slot] >= 0 and index.keys[index.slots[slot]] != key:
                slot = (slot + U64(1)) & U64(len(index.slots) - 1)
            number = index.slots[slot]
            if number < 0:
                continue
            for posting in range(index.first[number], index.first[number + 1]):
                before, behind = _longest(words, count, at, index, posting)
                item = index.items[posting]
                if before + behind >= index.needed[item] and behind > 0:
                    if found < len(out):
                        out[found, 0], out[found, 3] = document, item
                        out[found, 1], out[found, 2] = words[at - before, 1], words[at + behind - 1, 2]
                        out[found, 4], out[found, 5] = index.places[posting] - before, before + behind
                    found += 1
    return found


@compiled
def scan_raw(
    data: np.ndarray, bounds: np.ndarray, index: Any, words: np.ndarray, prefix: np.ndarray, out: np.ndarray
) -> int:
    """Matches of the index in the raw words of documents ``data[bounds[d]:bounds[d + 1]]``; their number.

    A row of ``out`` (int64): document, first byte and end of the match, item, its first word that matches, words.
    """
    found = 0
    for d in range(len(bounds) - 1):
        count = raw_words(data, bounds[d], bounds[d + 1], words)
        found = _probe(words, count, d, index, prefix, out, found)
    return found


@compiled
def scan_normal(
    data: np.ndarray, bounds: np.ndarray, table: Any, index: Any, words: np.ndarray, prefix: np.ndarray,
    out: np.ndarray,
) -> int:  # fmt: skip
    """As ``scan_raw``, in the words of the normal view."""
    found = 0
    for d in range(len(bounds) - 1):
        count = normal_words(data, bounds[d], bounds[d + 1], table, words)
        found = _probe(words, count, d, index, prefix, out, found)
    return found
