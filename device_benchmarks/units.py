"""Numbers as people read them: three digits and a unit; a dash for what is not available."""

from __future__ import annotations

MISSING = "–"


def format_bytes(count: float | None) -> str:
    """12.3 kB, 4.05 MB: powers of 1000, as file sizes are advertised."""
    return _scaled(count, (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)))


def format_us(value: float | None) -> str:
    """Microseconds as us, ms or s."""
    return _scaled(value, (("µs", 1.0), ("ms", 1e3), ("s", 1e6)))


def format_share(value: float | None) -> str:
    """A share of one in percent."""
    return MISSING if value is None else f"{value:.1%}".replace("%", " %")


def format_ratio(value: float | None) -> str:
    """How many times faster."""
    return MISSING if value is None else f"{_digits(value)}×"


def format_error(value: float | None) -> str:
    """A largest error."""
    return MISSING if value is None else "0" if value == 0 else f"{value:.1e}" if value < 1e-3 else f"{value:.3f}"


def _scaled(value: float | None, units: tuple[tuple[str, float], ...]) -> str:
    if value is None:
        return MISSING
    unit, factor = next((u for u in reversed(units) if abs(value) >= u[1]), units[0])
    return f"{_digits(value / factor)} {unit}"


def _digits(value: float) -> str:
    """Three significant digits without an exponent."""
    size = abs(value)
    return f"{value:.2f}" if size < 10 else f"{value:.1f}" if size < 100 else f"{value:,.0f}"
