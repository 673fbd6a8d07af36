//! From rows to what they say, and lists of numbers as bytes.

use serde_json::Value;
use sqlx::{Error, Row, postgres::PgRow, types::Json};

use crate::{
    domain::{
        ids::DecisionId,
        measurement::{
            cells::Counts,
            exposure::Arm,
            outcome::{Invalid, OutcomeKind},
            traffic::InvalidTally,
        },
    },
    ports::{LearnedBody, LearnedRow, LessonRow, Subject},
    store::rows,
};

pub(super) fn pack(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|one| one.to_be_bytes()).collect()
}

/// Stands for a list of large numbers.
const LARGE: u8 = u8::MAX;

/// Lists of numbers: the length of each, then its numbers as bits. One with large numbers begins with
/// [`LARGE`], how many bytes are left out and how many follow.
pub(super) fn pack_lists(lists: &[Vec<u16>]) -> Vec<u8> {
    let mut out = Vec::new();
    for list in lists {
        let bytes = list.iter().max().map_or(0, |most| *most / 8 + 1);
        let from = if bytes < LARGE.into() { 0 } else { list.iter().min().map_or(0, |least| least / 8) };
        let mut bits = vec![0_u8; usize::from(bytes - from)];
        list.iter().for_each(|one| bits[usize::from(*one / 8 - from)] |= 1 << (one % 8));
        if bytes < LARGE.into() {
            out.push(bytes as u8);
        } else {
            out.push(LARGE);
            out.extend([from, bytes - from].into_iter().flat_map(u16::to_be_bytes));
        }
        out.extend(bits);
    }
    out
}

pub(super) fn unpack_lists(mut packed: &[u8]) -> Vec<Vec<u16>> {
    let mut lists = Vec::new();
    while let Some(bytes) = packed.split_off_first() {
        let (from, length) = match (*bytes, packed) {
            (LARGE, [a, b, c, d, rest @ ..]) => {
                packed = rest;
                (usize::from(u16::from_be_bytes([*a, *b])), u16::from_be_bytes([*c, *d]).into())
            }
            (length, _) => (0, usize::from(length)),
        };
        let Some(bits) = packed.split_off(..length) else { break };
        let all = (0..8 * bits.len()).filter(|at| bits[at / 8] & 1 << (at % 8) != 0);
        lists.push(all.map(|at| (8 * from + at) as u16).collect());
    }
    lists
}

pub(super) fn subject(row: &PgRow) -> Result<Subject, Error> {
    Ok(Subject {
        account: rows::account(row, "account")?,
        campaign: rows::parsed(row, "campaign")?,
        creative: rows::parsed(row, "creative")?,
    })
}

pub(super) fn learned(row: &PgRow) -> Result<LearnedRow, Error> {
    Ok(LearnedRow {
        version: row.try_get("version")?,
        body: LearnedBody {
            shape: rows::json(row, "shape")?,
            statistics: row.try_get("statistics")?,
            epoch: row.try_get("epoch")?,
            watch: rows::json(row, "watch")?,
            goal: row.try_get::<Option<_>, _>("goal")?.map_or(Value::Null, |Json(goal)| goal),
            since: row.try_get("since")?,
        },
    })
}

pub(super) fn lesson(row: &PgRow) -> Result<LessonRow, Error> {
    let kind: i16 = row.try_get("kind")?;
    let kind = OutcomeKind::ALL.into_iter().find(|of| i16::from(of.number()) == kind);
    let goal = match row.try_get::<Option<&str>, _>("goal")? {
        Some(_) => Some(rows::parsed(row, "goal")?),
        None => None,
    };
    Ok(LessonRow {
        decision: DecisionId(row.try_get("decision")?),
        kind: kind.ok_or_else(|| Error::Decode("no kind of outcome".into()))?,
        goal,
        value_micros: row.try_get("value_micros")?,
        revision: row.try_get::<i64, _>("revision")? as u32,
        combination: row.try_get::<i64, _>("combination")?.cast_unsigned(),
        person: rows::maybe_uid(row, "person")?,
        invalid: invalid(row)?,
        by_view: row.try_get("by_view")?,
        exposure: row.try_get::<Vec<u8>, _>("exposure")?.into(),
    })
}

pub(super) fn invalid(row: &PgRow) -> Result<Option<Invalid>, Error> {
    let Some(number) = row.try_get::<Option<i16>, _>("invalid")? else { return Ok(None) };
    Ok(Invalid::ALL.into_iter().find(|why| i16::from(why.number()) == number))
}

pub(super) fn arm(row: &PgRow) -> Result<Arm, Error> {
    let number: i16 = row.try_get("arm")?;
    let arm = Arm::ALL.into_iter().find(|arm| i16::from(arm.number()) == number);
    arm.ok_or_else(|| Error::Decode("no side of an experiment".into()))
}

pub(super) fn counts(row: &PgRow) -> Result<Counts, Error> {
    let number = |column| Ok::<_, Error>(row.try_get::<i64, _>(column)?.unsigned_abs());
    Ok(Counts {
        impressions: number("impressions")?,
        viewables: number("viewables")?,
        clicks: number("clicks")?,
        conversions: number("conversions")?,
        view_conversions: number("view_conversions")?,
        value_micros: row.try_get("value_micros")?,
        value_squares: row.try_get("value_squares")?,
        invalid: InvalidTally {
            known_program: number("programs")?,
            impossible_rate: number("too_fast")?,
            replay: Some(number("replays")?).filter(|replays| *replays > 0),
        },
    })
}

pub(super) fn choice(packed: &[u8]) -> Vec<u16> {
    packed.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_back_as_they_were() {
        let lists = [vec![], vec![0, 3, 9], vec![2_031], vec![2_032, 16_383], vec![5, 16_000], vec![1]];
        assert_eq!(unpack_lists(&pack_lists(&lists)), lists);
        assert!(pack_lists(&[vec![16_000, 16_007]]).len() < 8);
        assert_eq!(unpack_lists(&[LARGE, 1]), Vec::<Vec<u16>>::new(), "torn");
    }
}
