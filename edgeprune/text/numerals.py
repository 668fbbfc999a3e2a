"""Numbers for readers: rounded, with their unit and a true minus sign. Pure."""

import math
from collections.abc import Iterable

MINUS = "−"

_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_PLAIN = (1e-4, 1e7)


def significant(value: float, digits: int = 3) -> str:
    """Format a number to some significant digits, never in powers of ten: 0.0421, 1.42, 12.3, 1,234."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return signed(f"{value:,.{decimals}f}")


def score(value: float) -> str:
    """Format a number of any magnitude to four significant digits, as '12.34' or '1.750 × 10³⁷'."""
    if value == 0 or _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return significant(value, 4)
    mantissa, power = f"{value:.3e}".split("e")
    return f"{signed(mantissa)} × 10{str(int(power)).translate(_POWERS)}"


def signed(text: str) -> str:
    """Give a formatted number a true minus sign, and none before a zero."""
    if not any(digit in text for digit in "123456789"):
        return text.lstrip("+-")
    return text.replace("-", MINUS)


def milliseconds(value_ms: float) -> str:
    """Format a time to three significant digits, '1.42 ms'."""
    return f"{significant(value_ms)} ms"


def told_apart(first: float, second: float, digits: int = 3) -> tuple[str, str]:
    """Format two numbers to some significant digits, or to as many as distinguish them (at most six more)."""
    for more in range(7):
        texts = significant(first, digits + more), significant(second, digits + more)
        if first == second or texts[0] != texts[1]:
            break
    return texts


def percent(share: float) -> str:
    """Format a share of 1 as '91.2 %'."""
    return f"{100 * share:.1f} %"


def percent_interval(interval: tuple[float, float]) -> str:
    """Format an interval of shares as '90.7 to 91.9'."""
    return f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def points(difference: float, plus: bool = False) -> str:
    """Format a difference of two shares in percentage points, '−0.2'; '+0.2' when `plus`."""
    return signed(f"{100 * difference:{'+' if plus else ''}.1f}")


def points_interval(interval: tuple[float, float], plus: bool = False) -> str:
    """Format an interval of differences in percentage points, '−0.1 to 0.5'."""
    return f"{points(interval[0], plus)} to {points(interval[1], plus)}"


def relative(before: float, after: float) -> str:
    """Format a relative change, '−64.4 %'; empty when there was nothing before."""
    if before == 0:
        return ""
    return signed(f"{100 * (after - before) / before:+.1f}") + " %"


def ratios(values: Iterable[float]) -> tuple[str, ...]:
    """Format ratios to the same number of decimals, from two to four, so that only 1 itself reads 1.00."""
    given = tuple(values)
    decimals = 2
    while decimals < 4 and any(value != 1 and float(f"{value:.{decimals}f}") == 1 for value in given):
        decimals += 1
    return tuple(f"{value:.{decimals}f}" for value in given)


def p_value(value: float) -> str:
    """Format a probability as 'p = 0.21' or 'p < 0.001'."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.2f}" if value >= 0.01 else f"p = {value:.3f}"


def count(value: int) -> str:
    """Format a whole number with separators, '852,795'."""
    return f"{value:,}"


def scaled(value: float) -> str:
    """Format a large count to three significant digits with its prefix: '853 k', '41.9 M', '1.33 G'."""
    for factor, prefix in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= factor:
            return f"{significant(value / factor)}{prefix}"
    return f"{value:,.0f}"


def size(size_bytes: int) -> str:
    """Format a file size in decimal units: '3.52 MB', '912 bytes'."""
    return f"{scaled(size_bytes)}B" if size_bytes >= 1000 else f"{size_bytes} bytes"
