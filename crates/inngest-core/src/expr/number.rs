//! Numbers: JSON's own, which are neither integer nor double until something is done with them, and those of CEL.

use std::cmp::Ordering;

use super::ExprError;

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    /// A whole number of JSON, exact. Divides like a double, counts like an integer.
    Whole(i128),
    Int(i64),
    Uint(u64),
    Double(f64),
}

use Number::{Double, Int, Uint, Whole};

impl Number {
    pub(super) fn from_json(number: &serde_json::Number) -> Self {
        if let Some(whole) = number.as_i64() {
            Whole(whole.into())
        } else if let Some(whole) = number.as_u64() {
            Whole(whole.into())
        } else {
            Double(number.as_f64().unwrap_or(f64::NAN))
        }
    }

    pub(super) fn to_json(self) -> serde_json::Value {
        match self {
            Int(value) => value.into(),
            Uint(value) => value.into(),
            Double(value) => value.into(),
            Whole(value) => {
                let number = i64::try_from(value)
                    .map(serde_json::Number::from)
                    .or_else(|_| u64::try_from(value).map(serde_json::Number::from));
                match number {
                    Ok(number) => number.into(),
                    Err(_) => self.to_f64().into(),
                }
            }
        }
    }

    pub(super) fn to_f64(self) -> f64 {
        match self {
            Whole(value) => value as f64,
            Int(value) => value as f64,
            Uint(value) => value as f64,
            Double(value) => value,
        }
    }

    /// The number without a fraction, when it has none and is not huge.
    pub(super) fn to_whole(self) -> Option<i128> {
        match self {
            Double(value) if value.fract() == 0.0 && value.abs() < 1e37 => Some(value as i128),
            Double(_) => None,
            _ => self.exact(),
        }
    }

    /// The integer nearest to zero. `None` when there is none.
    pub(super) fn truncated(self) -> Option<i128> {
        match self {
            Double(value) if value.abs() < 1e37 => Some(value.trunc() as i128),
            Double(_) => None,
            _ => self.exact(),
        }
    }

    pub(super) fn to_text(self) -> String {
        match self.to_whole() {
            Some(whole) if whole.unsigned_abs() < 1 << 80 => whole.to_string(),
            _ => self.to_f64().to_string(),
        }
    }

    /// Exact, also between integers and doubles. `None` when one is not a number.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self.exact(), other.exact()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            (Some(left), None) => compare_mixed(left, other.to_f64()),
            (None, Some(right)) => compare_mixed(right, self.to_f64()).map(Ordering::reverse),
            (None, None) => self.to_f64().partial_cmp(&other.to_f64()),
        }
    }

    pub(super) fn negate(self) -> Result<Self, ExprError> {
        match self {
            Int(value) => value.checked_neg().map(Int).ok_or_else(overflow),
            Uint(_) => Err(ExprError::Type {
                operation: "`-`",
                operands: "an unsigned number".to_owned(),
            }),
            Whole(value) => Ok(whole(value.checked_neg())),
            Double(value) => Ok(Double(-value)),
        }
    }

    pub(super) fn add(self, other: Self) -> Result<Self, ExprError> {
        match (self, other) {
            (Int(left), Int(right)) => left.checked_add(right).map(Int).ok_or_else(overflow),
            (Uint(left), Uint(right)) => left.checked_add(right).map(Uint).ok_or_else(overflow),
            _ => Ok(match (self.exact(), other.exact()) {
                (Some(left), Some(right)) => whole(left.checked_add(right)),
                _ => Double(self.to_f64() + other.to_f64()),
            }),
        }
    }

    pub(super) fn subtract(self, other: Self) -> Result<Self, ExprError> {
        match (self, other) {
            (Int(left), Int(right)) => left.checked_sub(right).map(Int).ok_or_else(overflow),
            (Uint(left), Uint(right)) => left.checked_sub(right).map(Uint).ok_or_else(overflow),
            _ => Ok(match (self.exact(), other.exact()) {
                (Some(left), Some(right)) => whole(left.checked_sub(right)),
                _ => Double(self.to_f64() - other.to_f64()),
            }),
        }
    }

    pub(super) fn multiply(self, other: Self) -> Result<Self, ExprError> {
        match (self, other) {
            (Int(left), Int(right)) => left.checked_mul(right).map(Int).ok_or_else(overflow),
            (Uint(left), Uint(right)) => left.checked_mul(right).map(Uint).ok_or_else(overflow),
            _ => Ok(match (self.exact(), other.exact()) {
                (Some(left), Some(right)) => match left.checked_mul(right) {
                    Some(product) => whole(Some(product)),
                    None => Double(self.to_f64() * other.to_f64()),
                },
                _ => Double(self.to_f64() * other.to_f64()),
            }),
        }
    }

    pub(super) fn divide(self, other: Self) -> Result<Self, ExprError> {
        if other.to_f64() == 0.0 {
            return Err(by_zero("`/`"));
        }
        match (self, other) {
            (Int(left), Int(right)) => left.checked_div(right).map(Int).ok_or_else(overflow),
            (Uint(left), Uint(right)) => left.checked_div(right).map(Uint).ok_or_else(overflow),
            _ => Ok(Double(self.to_f64() / other.to_f64())),
        }
    }

    pub(super) fn remainder(self, other: Self) -> Result<Self, ExprError> {
        if other.to_f64() == 0.0 {
            return Err(by_zero("`%`"));
        }
        match (self, other) {
            (Int(left), Int(right)) => left.checked_rem(right).map(Int).ok_or_else(overflow),
            (Uint(left), Uint(right)) => left.checked_rem(right).map(Uint).ok_or_else(overflow),
            _ => Ok(match (self.exact(), other.exact()) {
                (Some(left), Some(right)) => whole(left.checked_rem(right)),
                _ => Double(self.to_f64() % other.to_f64()),
            }),
        }
    }

    fn exact(self) -> Option<i128> {
        match self {
            Whole(value) => Some(value),
            Int(value) => Some(value.into()),
            Uint(value) => Some(value.into()),
            Double(_) => None,
        }
    }
}

/// Kept small, so that sums and differences of two never overflow; beyond that, doubles do.
fn whole(value: Option<i128>) -> Number {
    match value {
        Some(value) if value.unsigned_abs() < 1 << 100 => Whole(value),
        Some(value) => Double(value as f64),
        None => Double(f64::INFINITY),
    }
}

fn compare_mixed(left: i128, right: f64) -> Option<Ordering> {
    if right.is_nan() {
        return None;
    }
    if right.abs() >= 1e37 {
        return Some(if right > 0.0 {
            Ordering::Less
        } else {
            Ordering::Greater
        });
    }
    let whole = right.trunc() as i128;
    let fraction = right.fract();
    Some(left.cmp(&whole).then(if fraction > 0.0 {
        Ordering::Less
    } else if fraction < 0.0 {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

fn overflow() -> ExprError {
    ExprError::Failed {
        operation: "arithmetic",
        message: "the result does not fit into 64 bits".to_owned(),
    }
}

fn by_zero(operation: &'static str) -> ExprError {
    ExprError::Failed {
        operation,
        message: "the divisor is zero".to_owned(),
    }
}
