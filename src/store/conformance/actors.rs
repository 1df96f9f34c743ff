//! Concurrent clients, and what must be true afterwards.

use super::{Violation, get, key, put, read, run, same};
use crate::store::{Guard, KeySpan, Op, OpResponse, Store};

const COUNTER: &str = "conformance/counter";

/// Increments a counter `times` times, each time by compare and swap.
pub async fn count_up(store: &impl Store, times: u32) -> Result<(), Violation> {
    for _ in 0..times {
        loop {
            let (guard, value) = match read(store, COUNTER).await? {
                None => (Guard::Absent(key(COUNTER)), 0),
                Some(entry) => {
                    let value = String::from_utf8_lossy(&entry.value).parse::<u32>().unwrap_or(0);
                    (Guard::Unchanged(entry.key, entry.revision), value)
                }
            };
            let next = put(COUNTER, &(value + 1).to_string());
            if run(store, vec![guard], vec![next], vec![]).await?.branch.succeeded {
                break;
            }
        }
    }
    Ok(())
}

/// After `actors` clients have incremented it `times` times each: no increment was lost.
pub async fn counted(store: &impl Store, actors: u32, times: u32) -> Result<(), Violation> {
    let value = read(store, COUNTER).await?.map(|entry| String::from_utf8_lossy(&entry.value).into_owned());
    same("no update is lost", &Some((actors * times).to_string()), &value)
}

/// Claims the first `count` free keys of a list that all actors compete for. Each claim writes two keys, and nobody
/// ever sees only one of them.
pub async fn claim(store: &impl Store, actor: &str, count: u32) -> Result<(), Violation> {
    let mut seat = 0;
    let mut claimed = 0;
    while claimed < count {
        let (seat_key, mirror) = (format!("conformance/seats/{seat:06}"), format!("conformance/mirror/{seat:06}"));
        let free = vec![Guard::Absent(key(&seat_key))];
        let then = vec![put(&seat_key, actor), put(&mirror, actor)];
        let outcome = run(store, free, then, vec![get(&seat_key), get(&mirror)]).await?;
        if outcome.branch.succeeded {
            claimed += 1;
        } else if let [OpResponse::Entry(Some(seat)), OpResponse::Entry(mirror)] = outcome.branch.responses.as_slice() {
            let mirrored = mirror.as_ref().map(|mirror| (&mirror.value, mirror.revision));
            same("no half of a transaction is seen", &Some((&seat.value, seat.revision)), &mirrored)?;
        }
        seat += 1;
    }
    Ok(())
}

/// After `actors` clients have claimed `count` keys each: each claim has a key of its own.
pub async fn claimed(store: &impl Store, actors: u32, count: u32) -> Result<(), Violation> {
    let seats = Op::Count(KeySpan::prefix("conformance/seats/"));
    let mirrors = Op::Count(KeySpan::prefix("conformance/mirror/"));
    let responses = run(store, vec![], vec![seats, mirrors], vec![]).await?.branch.responses;
    let all = OpResponse::Count(u64::from(actors * count));
    same("every claim is there, once", &vec![all.clone(), all], &responses)
}
