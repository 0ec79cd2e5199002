"""Written column arithmetic: the digit-by-digit workings that the families put into their solutions.

Each step is a fact about digits that stand right before it, followed by ``->`` and the result so far, so that the
next step copies instead of computing. No statement contains a space. Does not word questions.
"""

from __future__ import annotations


def add_columns(a: int, b: int) -> str:
    """``"347+085: 7+5=12 -> 2; 4+8+1=13 -> 32; 3+0+1=4 -> 432"`` for non-negative a and b; ``"7+5=12"`` for digits."""
    width = max(len(str(a)), len(str(b)))
    if width == 1:
        return f"{a}+{b}={a + b}"
    top, bottom = str(a).zfill(width), str(b).zfill(width)
    steps, done, carry = [], "", 0
    for place in range(width - 1, -1, -1):
        total = int(top[place]) + int(bottom[place]) + carry
        written = total if place == 0 else total % 10
        done = f"{written}{done}"
        steps.append(f"{top[place]}+{bottom[place]}{'+1' if carry else ''}={total} -> {done}")
        carry = total // 10
    return f"{top}+{bottom}: {'; '.join(steps)}"


def subtract_columns(a: int, b: int) -> str:
    """``"432-085: 12-5=7 -> 7; 13-8-1=4 -> 47; 4-0-1=3 -> 347"`` for a >= b >= 0; zeros in front are kept."""
    assert a >= b >= 0
    top, width = str(a), len(str(a))
    if width == 1:
        return f"{a}-{b}={a - b}"
    bottom = str(b).zfill(width)
    steps, done, borrow = [], "", 0
    for place in range(width - 1, -1, -1):
        upper, lower = int(top[place]), int(bottom[place])
        if upper < lower + borrow:
            upper += 10
        left = upper - lower - borrow
        done = f"{left}{done}"
        steps.append(f"{upper}-{lower}{'-1' if borrow else ''}={left} -> {done}")
        borrow = upper // 10
    return f"{top}-{bottom}: {'; '.join(steps)}"


def multiply_columns(a: int, digit: int) -> str:
    """``"47*8: 8*7=56 -> 6; 8*4=32, 32+5=37 -> 376"``; a bare fact when ``a`` is a digit or 10."""
    assert 0 <= digit <= 9
    if a <= 10:
        return f"{a}*{digit}={a * digit}"
    digits = str(a)
    steps, done, carry = [], "", 0
    for place in range(len(digits) - 1, -1, -1):
        product = digit * int(digits[place])
        total = product + carry
        fact = f"{digit}*{digits[place]}={product}"
        if done:
            fact += f", {product}+{carry}={total}"
        done = f"{total if place == 0 else total % 10}{done}"
        steps.append(f"{fact} -> {done}")
        carry = total // 10
    return f"{a}*{digit}: {'; '.join(steps)}"


def product_columns(a: int, b: int) -> str:
    """The working of ``a*b`` by partial products, for ``b`` of one or two digits; ends with the product."""
    if b <= 9:
        return multiply_columns(a, b)
    tens, ones = divmod(b, 10)
    if ones == 0:
        return f"{multiply_columns(a, tens)}, {a}*{b}={a * b}"
    low, high = a * ones, a * tens * 10
    return f"{multiply_columns(a, ones)}. {multiply_columns(a, tens)}. {add_columns(low, high)}"


def times(a: int, b: int) -> str:
    """The shortest working of ``a*b``: a fact up to 12 * 12, else columns, with zeros at the end of ``b`` put aside.

    One of the factors, without such zeros, has at most two digits.
    """
    if (a <= 12 and b <= 12) or str(b).strip("0") == "1":
        return f"{a}*{b}={a * b}"
    if b % 10 == 0:
        return f"{times(a, int(str(b).rstrip('0')))}, {a}*{b}={a * b}"
    return product_columns(a, b) if b <= a else product_columns(b, a)


def long_division(n: int, divisor: int) -> str:
    """``"847/6: 8=6*1+2 -> 1; 24=6*4+0 -> 14; 07=6*1+1 -> 141"``: the quotient so far after each arrow."""
    digits = str(n)
    start = len(str(divisor)) if int(digits[: len(str(divisor))]) >= divisor else len(str(divisor)) + 1
    chunk, steps, done = digits[:start], [], ""
    for place in range(start, len(digits) + 1):
        quotient, rest = divmod(int(chunk), divisor)
        done = f"{done}{quotient}"
        steps.append(f"{chunk}={divisor}*{quotient}+{rest} -> {done}")
        if place < len(digits):
            chunk = f"{rest}{digits[place]}"
    return f"{n}/{divisor}: {'; '.join(steps)}"
