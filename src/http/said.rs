//! Lists and pairs in queries, as people write them into an address.

use std::collections::BTreeMap;

use crate::domain::{
    audience::value::Scalar,
    violation::{Violation, Violations},
};

/// The parts of a list with commas between.
pub(super) fn listed(list: Option<&str>) -> impl Iterator<Item = &str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// `name:value` pairs with commas between. Values are `true`, `false`, numbers or texts.
///
/// # Errors
/// Parts that are no pairs.
pub(super) fn pairs(list: &str) -> Result<BTreeMap<Box<str>, Scalar>, Vec<Violation>> {
    let (mut pairs, mut faults) = (BTreeMap::new(), Violations::new());
    for item in listed(Some(list)) {
        let Some((name, value)) = item.split_once(':').filter(|(name, _)| (1..=64).contains(&name.len())) else {
            faults.push("", "not_a_pair", format!("{item}: must be a name and a value, such as weather:rain"));
            continue;
        };
        let value = match (value, value.parse::<f64>()) {
            ("true" | "false", _) => Scalar::Bool(value == "true"),
            (_, Ok(number)) if number.is_finite() => Scalar::Number(number),
            _ => Scalar::Text(value.into()),
        };
        pairs.insert(name.into(), value);
    }
    faults.into_result().map(|()| pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_types() {
        let found = pairs("weather:rain, members:true,load:0.5,at:10:30").expect("pairs");
        assert_eq!(found["weather"], Scalar::Text("rain".into()));
        assert_eq!(found["members"], Scalar::Bool(true));
        assert_eq!(found["load"], Scalar::Number(0.5));
        assert_eq!(found["at"], Scalar::Text("10:30".into()));
        assert_eq!(pairs("rain,:x").map_err(|faults| faults.len()), Err(2));
        assert_eq!(pairs("").map(|all| all.len()), Ok(0));
    }
}
