"""Money: exact until the one rounding, half up, by the currency's exponent."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarc.kernel.errors import Invalid
from demarc.kernel.money import Money, exponent, round_to_minor, to_major

CURRENCIES = st.sampled_from(["USD", "EUR", "ZAR", "JPY", "KWD", "CLF"])
AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, allow_nan=False, allow_infinity=False, places=9)


@pytest.mark.parametrize(
    ("currency", "digits"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("RSD", 2), ("IQD", 3), ("LBP", 2)],
)
def test_exponents(currency, digits):
    assert exponent(currency) == digits


@pytest.mark.parametrize("word", ["", "usd", "US", "DOLLAR", "$"])
def test_what_is_no_currency_is_refused(word):
    with pytest.raises(Invalid, match="currency"):
        exponent(word)


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("79.99", "USD", 7999),
        ("6.3992", "USD", 640),
        ("0.005", "USD", 1),
        ("0.0049999999", "USD", 0),
        ("-0.005", "USD", -1),
        ("1.5", "JPY", 2),
        ("0.0005", "KWD", 1),
        ("1e-30", "USD", 0),
        ("123456789012345678901234567890.005", "USD", 12345678901234567890123456789001),
    ],
)
def test_rounding_is_half_up_and_away_from_zero(amount, currency, minor):
    assert round_to_minor(Decimal(amount), currency) == minor


@given(AMOUNTS, CURRENCIES)
def test_rounding_is_off_by_at_most_half_a_unit(amount, currency):
    exact = Fraction(amount) * 10 ** exponent(currency)
    assert abs(round_to_minor(amount, currency) - exact) <= Fraction(1, 2)


@given(AMOUNTS, CURRENCIES)
def test_rounding_agrees_with_decimal_and_with_its_mirror(amount, currency):
    unit = Decimal(1).scaleb(-exponent(currency))
    assert to_major(round_to_minor(amount, currency), currency) == amount.quantize(
        unit, rounding=ROUND_HALF_UP
    )
    assert round_to_minor(-amount, currency) == -round_to_minor(amount, currency)


@given(st.integers(-(2**63), 2**63 - 1), CURRENCIES)
def test_minor_to_major_and_back_loses_nothing(minor, currency):
    assert round_to_minor(to_major(minor, currency), currency) == minor


@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_sums_are_exact(one, other):
    total = Money(one, "USD") + Money(other, "USD")
    assert total.minor == one + other
    assert total - Money(other, "USD") == Money(one, "USD")


def test_currencies_do_not_mix():
    with pytest.raises(Invalid, match="EUR cannot be added to USD"):
        _ = Money(1, "USD") + Money(1, "EUR")
    with pytest.raises(Invalid):
        _ = Money(1, "USD") - Money(1, "EUR")


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(7999, "USD"), "79.99 USD"),
        (Money(5, "USD"), "0.05 USD"),
        (Money(-5, "USD"), "-0.05 USD"),
        (Money(1500, "JPY"), "1500 JPY"),
        (Money(1, "KWD"), "0.001 KWD"),
    ],
)
def test_in_words(money, text):
    assert str(money) == text
