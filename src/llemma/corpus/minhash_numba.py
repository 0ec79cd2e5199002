"""The signature of a text in one pass over its bytes, compiled by numba; ``minhash_numpy`` is its definition.

Nothing here allocates per text or holds the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from llemma.corpus import folding as f
from llemma.corpus import minhash_numpy as m


def compiled(function: Any) -> Any:
    """The function compiled on first call; kept on the disk where numba finds a folder to write to."""
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep it in
        return numba.njit(nogil=True, error_model="numpy")(function)


_U32, _U64 = np.uint32, np.uint64
_WORD, _STEP, _SPREAD = _U64(m.WORD), _U64(m.STEP), _U64(m.SPREAD)
_MIX_1, _MIX_2, _33, _32, _29 = _U64(m.MIX_1), _U64(m.MIX_2), _U64(33), _U64(32), _U64(29)
_BLOCK_1, _BLOCK_2, _BAND = _U64(m.BLOCK_1), _U64(m.BLOCK_2), _U64(m.BAND)
_SKETCH = _U32(m.SKETCH)
_0, _1, _7, _8 = _U64(0), _U64(1), _U64(7), _U64(8)
_ALONE, _SEVERAL, _ROW = _U32(f.ALONE), _U32(f.SEVERAL), _U32(f.SEVERAL - 1)
_SIZE, _HAN_END, _LONGEST, _LONGEST_WORD = f.SIZE, f.HAN_END, f.LONGEST, m.LONGEST_WORD
_SPACE = _U64(32)
_BLANKS, _SEVENS, _TOPS = _U64(0x2020202020202020), _U64(0x7F7F7F7F7F7F7F7F), _U64(0x8080808080808080)
_WORDS = 2048  # words hashed before they are made into shingles: small enough for the nearest cache


@compiled
def _mix(h: Any) -> Any:
    h = (h ^ (h >> _33)) * _MIX_1
    h = (h ^ (h >> _33)) * _MIX_2
    return h ^ (h >> _33)


@compiled
def _lower(least: Any, x: Any, multiply: Any, add: Any) -> None:
    """Shingles, a multiple of eight, into the least values of all rows; in steps that the compiler turns into SIMD."""
    for i in range(0, len(x), 8):
        x0, x1, x2, x3, x4, x5, x6, x7 = x[i], x[i + 1], x[i + 2], x[i + 3], x[i + 4], x[i + 5], x[i + 6], x[i + 7]
        for k in range(len(least)):
            a, b, low = multiply[k], add[k], least[k]
            low = min(low, _U32(x0 * a + b))
            low = min(low, _U32(x1 * a + b))
            low = min(low, _U32(x2 * a + b))
            low = min(low, _U32(x3 * a + b))
            low = min(low, _U32(x4 * a + b))
            low = min(low, _U32(x5 * a + b))
            low = min(low, _U32(x6 * a + b))
            low = min(low, _U32(x7 * a + b))
            least[k] = low


@compiled
def _words(data: Any, place: Any, end: Any, table: Any, several: Any, open_word: Any, words: Any, have: Any) -> Any:
    """Hash words into ``words`` from ``have`` on until it is full or the text ends; returns place and words now.

    ``open_word``: hash and length of a word that is not over.
    """
    h, length = open_word[0], open_word[1]
    full = len(words) - _LONGEST
    while place < end and have < full:
        code = np.int64(data[place])
        place += 1
        symbol = table[code]
        if code >= 0x80:
            more = 1 if code < 0xE0 else 2 if code < 0xF0 else 3
            code &= 0x3F >> more
            while more > 0 and place < end:
                code = (code << 6) | (np.int64(data[place]) & 0x3F)
                place += 1
                more -= 1
            if code >= _SIZE:
                symbol = _U32(code) | _ALONE if code < _HAN_END else _U32(0)
            else:
                symbol = table[code]
            if symbol == 1:
                continue
            if symbol & _SEVERAL:
                row = symbol & _ROW
                for k in range(_LONGEST):
                    symbol = several[row, k]
                    if symbol:
                        h = (h ^ _U64(symbol)) * _WORD
                        length += _1
                        if length == _LONGEST_WORD:
                            words[have] = _mix(h)
                            have += 1
                            h, length = _WORD, _0
                continue
            if symbol & _ALONE:
                if length:
                    words[have] = _mix(h)
                    have += 1
                words[have] = _mix((_WORD ^ _U64(symbol)) * _WORD)
                have += 1
                h, length = _WORD, _0
                continue
        if symbol:
            h = (h ^ _U64(symbol)) * _WORD
            length += _1
            if length < _LONGEST_WORD:
                continue
        elif length == 0:
            continue
        words[have] = _mix(h)
        have += 1
        h, length = _WORD, _0
    if place == end and length and have < full:
        words[have] = _mix(h)
        have += 1
        h, length = _WORD, _0
    open_word[0], open_word[1] = h, length
    return place, have


@compiled
def _shingles(words: Any, have: Any, ngram: Any, x: Any) -> Any:
    """The shingles of the first ``have`` words into ``x``, filled up to a multiple of eight; how many that makes."""
    count = have - ngram + 1
    for i in range(count):
        total = words[i]
        for k in range(1, ngram):
            total = total * _STEP + words[i + k]
        x[i] = _U32(((total ^ (total >> _32)) * _SPREAD) >> _32)
    while count & 7:
        x[count] = x[0]
        count += 1
    return count


@compiled
def _keys(least: Any, bands: Any, rows: Any, out: Any, first: Any) -> None:
    """Band keys and sketch of one text, from column ``first`` on."""
    for band in range(bands):
        key = _BAND * _U64(band + 1)
        for row in range(rows):
            key = (key ^ _U64(least[band * rows + row])) * _STEP
            key ^= key >> _29
        out[first + band] = max(_mix(key), _1)
    for k in range(len(least)):
        out[first + bands + k // 8] |= _U64(_U32(least[k] * _SKETCH) >> _U32(24)) << (_8 * _U64(k % 8))


@compiled
def near(
    data: Any, offsets: Any, table: Any, several: Any, bands: Any, rows: Any, ngram: Any, multiply: Any, add: Any,
    out: Any,
) -> None:  # fmt: skip
    """As ``minhash_numpy.near``."""
    words = np.zeros(_WORDS + ngram, dtype=np.uint64)
    x = np.zeros(_WORDS + ngram + 8, dtype=np.uint32)
    least = np.zeros(bands * rows, dtype=np.uint32)
    open_word = np.zeros(2, dtype=np.uint64)
    for text in range(len(offsets) - 1):
        least[:] = 0xFFFFFFFF
        open_word[0], open_word[1] = _WORD, _0
        place, end, have, whole = offsets[text], offsets[text + 1], 0, True
        while place < end or open_word[1]:
            place, have = _words(data, place, end, table, several, open_word, words, have)
            if have >= ngram:
                count, whole = _shingles(words, have, ngram, x), False
                _lower(least, x[:count], multiply, add)
                words[: ngram - 1] = words[have - ngram + 1 : have]
                have = ngram - 1
        if whole and have:
            _lower(least, x[: _shingles(words, have, have, x)], multiply, add)
        if have or not whole:
            _keys(least, bands, rows, out[text], 2)


@compiled
def shingles(data: Any, offsets: Any, table: Any, several: Any, ngram: Any, out: Any, counts: Any) -> None:
    """As ``minhash_numpy.shingles``: ``out`` has room for one a byte, ``counts`` says how many each text has."""
    words = np.zeros(_WORDS + ngram, dtype=np.uint64)
    x = np.zeros(_WORDS + ngram + 8, dtype=np.uint32)
    open_word = np.zeros(2, dtype=np.uint64)
    total = 0
    for text in range(len(offsets) - 1):
        open_word[0], open_word[1] = _WORD, _0
        place, end, have, whole, first = offsets[text], offsets[text + 1], 0, True, total
        while place < end or open_word[1]:
            place, have = _words(data, place, end, table, several, open_word, words, have)
            if have >= ngram:
                _shingles(words, have, ngram, x)
                out[total : total + have - ngram + 1] = x[: have - ngram + 1]
                total += have - ngram + 1
                words[: ngram - 1] = words[have - ngram + 1 : have]
                have, whole = ngram - 1, False
        if whole and have:
            _shingles(words, have, have, x)
            out[total] = x[0]
            total += 1
        counts[text] = total - first


@compiled
def _eight(data: Any, place: Any) -> Any:
    """Eight bytes as one number, the first the lowest: the compiler makes one load of it."""
    low = _U64(data[place]) | (_U64(data[place + 1]) << _U64(8)) | (_U64(data[place + 2]) << _U64(16))
    low |= (_U64(data[place + 3]) << _U64(24)) | (_U64(data[place + 4]) << _U64(32))
    low |= (_U64(data[place + 5]) << _U64(40)) | (_U64(data[place + 6]) << _U64(48))
    return low | (_U64(data[place + 7]) << _U64(56))


@compiled
def exact(data: Any, offsets: Any, out: Any) -> None:
    """As ``minhash_numpy.exact``; eight bytes at a time where they hold no white space but single blanks."""
    for text in range(len(offsets) - 1):
        first, second, number, length = _0, _0, _0, _0
        block, shift = _0, _0  # bytes that wait for a full block, and how many bits they are
        place, end = offsets[text], offsets[text + 1]
        waiting: Any = False  # for a byte behind white space
        while place < end:
            quick: Any = False
            if place + 8 <= end and not waiting:
                new = _eight(data, place)
                other = new ^ _BLANKS
                blank = ~(((other & _SEVENS) + _SEVENS) | other | _SEVENS)  # 0x80 in the place of every blank
                control = (new - _BLANKS) & ~new & _TOPS  # some byte below 0x20: right where none is
                quick = control == 0 and (blank & (blank << _8)) == 0 and (length > 0 or (blank & _U64(0xFF)) == 0)
                bits = _U64(56) if blank >> _U64(63) else _U64(64)  # a blank at the end may begin a run: left for later
                if bits == 56:
                    new &= _U64(0x00FFFFFFFFFFFFFF)
                place += np.int64(bits >> _U64(3)) if quick else 0
            if not quick:
                byte = _U64(data[place])
                place += 1
                if byte <= _SPACE and (byte == _SPACE or 9 <= byte <= 13):
                    waiting = length > 0
                    continue
                new, bits = byte, _8
                if waiting:
                    new, bits, waiting = (byte << _8) | _SPACE, _U64(16), False
            length += bits >> _U64(3)
            block |= new << shift
            if shift + bits >= 64:
                number += _1
                block ^= block >> _32
                first += _mix(block * _BLOCK_1 + number * _STEP)
                second += _mix(block * _BLOCK_2 + number * _STEP)
                block = new >> (_U64(64) - shift) if shift else _0
                shift = shift + bits - _U64(64)
            else:
                shift += bits
        if shift:
            number += _1
            block ^= block >> _32
            first += _mix(block * _BLOCK_1 + number * _STEP)
            second += _mix(block * _BLOCK_2 + number * _STEP)
        out[text, 0] = _mix(first + (length + _1) * _BLOCK_1)
        out[text, 1] = _mix(second + (length + _1) * _BLOCK_2)
