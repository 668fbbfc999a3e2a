import pytest

from edgeprune.text import numerals as n


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.04213, "0.0421"),
        (0.999, "0.999"),
        (1.424, "1.42"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.4, "1,234"),
        (0, "0"),
    ],
)
def test_three_significant_digits_without_powers_of_ten(value: float, text: str):
    assert n.significant(value) == text


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: n.score(1.75011877289e37), "1.750 × 10³⁷"),
        (lambda: n.score(-3e-12), "−3.000 × 10⁻¹²"),
        (lambda: n.score(12.3), "12.30"),
        (lambda: n.score(0.0), "0"),
        (lambda: n.percent(0.9125), "91.2 %"),
        (lambda: n.percent(1.0), "100.0 %"),
        (lambda: n.percent_interval((0.907, 0.92)), "90.7 to 92.0"),
        (lambda: n.points(-0.0021), "−0.2"),
        (lambda: n.points(0.0021, plus=True), "+0.2"),
        (lambda: n.points(-0.0004), "0.0"),
        (lambda: n.points(0.0004, plus=True), "0.0"),
        (lambda: n.points_interval((-0.001, 0.005)), "−0.1 to 0.5"),
        (lambda: n.relative(4.0, 1.0), "−75.0 %"),
        (lambda: n.relative(4.0, 5.0), "+25.0 %"),
        (lambda: n.relative(0, 5.0), ""),
        (lambda: n.p_value(0.0004), "p < 0.001"),
        (lambda: n.p_value(0.0041), "p = 0.004"),
        (lambda: n.p_value(0.214), "p = 0.21"),
        (lambda: n.p_value(1.0), "p = 1.00"),
        (lambda: n.count(852795), "852,795"),
        (lambda: n.scaled(852795), "853 k"),
        (lambda: n.scaled(41_917_440), "41.9 M"),
        (lambda: n.scaled(1.33e9), "1.33 G"),
        (lambda: n.scaled(704), "704"),
        (lambda: n.size(912), "912 bytes"),
        (lambda: n.size(3_523_000), "3.52 MB"),
    ],
)
def test_numbers_with_their_units(call, text: str):
    assert call() == text


def test_a_ratio_that_is_not_one_never_reads_as_one():
    assert n.ratios((2.8149, 2.74, 2.9)) == ("2.81", "2.74", "2.90")
    assert n.ratios((1.012, 1.003, 1.02)) == ("1.012", "1.003", "1.020")
    assert n.ratios((1.0, 0.9, 1.1)) == ("1.00", "0.90", "1.10")
