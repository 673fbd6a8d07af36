//! Telling of people in parts, so that one of whom nothing can be told keeps it from nobody else.

use std::{collections::BTreeMap, time::Duration};

use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{backoff::Backoff, standings::Note};
use crate::{domain::ids::Uid, ports::StoreError};

/// People by account, each with the notes of them in the order in which they were taken.
pub(super) type People = BTreeMap<(u32, Uid), Vec<Note>>;

/// Who tells of people.
pub(super) trait Tell {
    /// Tells of people; those who are left are not told of.
    fn tell(&self, people: &mut People) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The first wait for a store that is away.
const FIRST: Duration = Duration::from_millis(250);
/// The longest one.
const LONGEST: Duration = Duration::from_secs(5);
/// How often a call that is not answered in time is made for several people together.
const LATE: u32 = 2;
/// The same for one person alone, in a minute or so.
const LATE_ALONE: u32 = 12;

/// Has people told of, however long the store is away. What fails otherwise is tried again in halves,
/// down to single people; answers those of whom nothing can be told, or, once it is over, nobody.
pub(super) async fn insist(teller: &impl Tell, people: People, stop: &CancellationToken) -> People {
    let (mut parts, mut lost) = (vec![people], People::new());
    while let Some(mut part) = parts.pop() {
        let (mut backoff, mut late) = (Backoff::new(FIRST, LONGEST), 0);
        while let Err(error) = teller.tell(&mut part).await {
            let (passing, count) = (error.is_passing(), part.len());
            tracing::warn!(%error, count, passing, "people whose transitions are not recorded");
            late += u32::from(matches!(error, StoreError::Timeout(_)));
            let half = part.keys().nth(count / 2).copied().filter(|_| count > 1);
            if passing && late < if half.is_some() { LATE } else { LATE_ALONE } {
                if stop.run_until_cancelled(time::sleep(backoff.wait())).await.is_none() {
                    return lost;
                }
            } else if let Some(half) = half {
                parts.push(part.split_off(&half));
                late = 0;
            } else {
                lost.append(&mut part);
                break;
            }
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    use super::*;

    /// Refuses whatever is about somebody, or is about more than it can take in time.
    struct Teller {
        bad: Uid,
        most: usize,
        away: AtomicU32,
        told: Mutex<Vec<Uid>>,
    }

    impl Tell for Teller {
        async fn tell(&self, people: &mut People) -> Result<(), StoreError> {
            if self.away.load(Ordering::SeqCst) > 0 {
                self.away.fetch_sub(1, Ordering::SeqCst);
                // others had all the connections, for as long as it may be
                return Err(StoreError::Busy);
            }
            if people.len() > self.most {
                return Err(StoreError::Timeout("57014".into()));
            }
            if people.contains_key(&(1, self.bad)) {
                return Err(StoreError::Refused("23514".into()));
            }
            self.told.lock().unwrap().extend(std::mem::take(people).into_keys().map(|(_, uid)| uid));
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_whom_nothing_can_be_told_keeps_it_from_nobody_else() {
        for most in [1_000, 10, 1] {
            let teller = Teller { bad: Uid(77), most, away: 3.into(), told: Mutex::default() };
            let people: People = (0..100).map(|uid| ((1, Uid(uid)), Vec::new())).collect();
            let lost = insist(&teller, people, &CancellationToken::new()).await;
            assert_eq!(lost.into_keys().collect::<Vec<_>>(), [(1, Uid(77))]);
            let mut told = teller.told.into_inner().unwrap();
            told.sort_unstable();
            assert_eq!(told, (0..100).filter(|uid| *uid != 77).map(Uid).collect::<Vec<_>>());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_waited_for_until_the_end() {
        let teller = Teller { bad: Uid(0), most: 1, away: u32::MAX.into(), told: Mutex::default() };
        let stop = CancellationToken::new();
        let people: People = [((1, Uid(1)), Vec::new())].into();
        let waits = insist(&teller, people, &stop);
        let ends = async {
            time::sleep(Duration::from_secs(600)).await;
            stop.cancel();
        };
        let (lost, ()) = tokio::join!(waits, ends);
        assert_eq!(lost.len(), 0);
        assert!(teller.away.into_inner() < u32::MAX - 100, "tried every few seconds");
    }
}
