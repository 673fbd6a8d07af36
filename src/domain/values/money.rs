//! Amounts of money, exact to a millionth of the major unit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ValueError;

/// Millionths in one major unit.
const MICROS: i64 = 1_000_000;

/// Three upper-case letters of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The dollar of the United States, in which OpenRTB counts where nothing is said.
    pub const USD: Self = Self(*b"USD");

    /// The three letters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XXX")
    }

    /// The sign written before an amount, for the currencies whose sign is unmistakable.
    fn sign(&self) -> Option<&'static str> {
        Some(match &self.0 {
            b"EUR" => "€",
            b"GBP" => "£",
            b"INR" => "₹",
            b"JPY" => "¥",
            b"KRW" => "₩",
            b"USD" => "$",
            _ => return None,
        })
    }

    /// Decimals of the minor unit (ISO 4217), the least that an amount is shown with.
    fn decimals(&self) -> usize {
        match &self.0 {
            b"CLP" | b"ISK" | b"JPY" | b"KRW" | b"PYG" | b"UGX" | b"VND" | b"XAF" | b"XOF" => 0,
            b"BHD" | b"JOD" | b"KWD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl FromStr for Currency {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.as_bytes() {
            &[a, b, c] if [a, b, c].iter().all(u8::is_ascii_uppercase) => Ok(Self([a, b, c])),
            _ => Err(ValueError("must be a currency of three upper-case letters (ISO 4217), such as EUR")),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Currency({self})")
    }
}

textual!(Currency, "^[A-Z]{3}$", "EUR");

/// A number of millionths, written as a decimal text with at most 6 decimals: `"19.99"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(i64);

impl Amount {
    /// The amount of `micros` millionths.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The amount in millionths.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }
}

impl FromStr for Amount {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const ERROR: ValueError = ValueError("must be a decimal text with at most 6 decimals, such as \"19.99\"");
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let (negative, number) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (units, decimals) = number.split_once('.').unwrap_or((number, "0"));
        if !digits(units) || !digits(decimals) || decimals.len() > 6 {
            return Err(ERROR);
        }
        let rest = decimals.parse::<i64>().map_err(|_| ERROR)? * 10_i64.pow(6 - decimals.len() as u32);
        let micros = units.parse::<i64>().ok().and_then(|units| units.checked_mul(MICROS)?.checked_add(rest));
        micros.map(|micros| Self(if negative { -micros } else { micros })).ok_or(ERROR)
    }
}

/// As many decimals as it needs; a precision is the least that there are.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ONE: u64 = MICROS.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let (units, mut rest) = (self.0.unsigned_abs() / ONE, self.0.unsigned_abs() % ONE);
        let (mut decimals, least) = (6, f.precision().unwrap_or_default());
        while decimals > least && rest.is_multiple_of(10) {
            (decimals, rest) = (decimals - 1, rest / 10);
        }
        if decimals == 0 { write!(f, "{sign}{units}") } else { write!(f, "{sign}{units}.{rest:0decimals$}") }
    }
}

textual!(Amount, "^-?[0-9]+(\\.[0-9]{1,6})?$", "19.99");

/// An amount in a currency. Shown as `€19.99` or, where the sign could be mistaken, `19.99 CHF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Money {
    /// How much, in major units: a decimal text with at most 6 decimals.
    pub amount: Amount,
    /// ISO 4217 code.
    pub currency: Currency,
}

impl Money {
    /// The amount alone with the decimals usual in its currency: `19.90`.
    #[must_use]
    pub fn amount_text(&self) -> String {
        format!("{:.*}", self.currency.decimals(), self.amount)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.currency.sign(), self.amount_text().strip_prefix('-')) {
            (Some(sign), Some(positive)) => write!(f, "-{sign}{positive}"),
            (Some(sign), None) => write!(f, "{sign}{}", self.amount_text()),
            (None, _) => write!(f, "{} {}", self.amount_text(), self.currency),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, currency: &str) -> Money {
        Money { amount: amount.parse().expect(amount), currency: currency.parse().expect(currency) }
    }

    #[test]
    fn amounts_are_exact_and_written_shortest() {
        for (text, micros, shortest) in
            [("19.99", 19_990_000, "19.99"), ("5.00", 5_000_000, "5"), ("-0.000001", -1, "-0.000001"), ("0", 0, "0")]
        {
            let amount: Amount = text.parse().expect(text);
            assert_eq!((amount.micros(), amount.to_string().as_str()), (micros, shortest));
        }
        for bad in ["", ".5", "5.", "1.0000001", "1e3", "+1", "1,5", "9999999999999999", "--1", "NaN"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
    }

    #[test]
    fn money_is_shown_as_its_readers_expect() {
        assert_eq!(money("19.9", "EUR").to_string(), "€19.90");
        assert_eq!(money("1200", "JPY").to_string(), "¥1200");
        assert_eq!(money("5", "CHF").to_string(), "5.00 CHF");
        assert_eq!(money("-5", "USD").to_string(), "-$5.00");
        assert_eq!(money("0.005", "USD").to_string(), "$0.005");
    }

    #[test]
    fn json_is_a_decimal_text_and_a_code() {
        let json = r#"{"amount":"19.99","currency":"EUR"}"#;
        let read: Money = serde_json::from_str(json).expect("money");
        assert_eq!(serde_json::to_string(&read).expect("json"), json);
        assert!(serde_json::from_str::<Money>(r#"{"amount":19.99,"currency":"EUR"}"#).is_err());
        assert!(serde_json::from_str::<Money>(r#"{"amount":"19.99","currency":"eur"}"#).is_err());
    }
}
