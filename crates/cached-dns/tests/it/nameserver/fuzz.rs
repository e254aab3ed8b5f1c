//! A server that lies in every way there is, by chance: no panic, no hang, and memory bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::{Instant, timeout};
use tollgate_testing::dns::{Query, RecordType};

use super::*;
use crate::common::*;

/// One lie.
#[derive(Clone, Debug)]
enum Lie {
    /// Bytes.
    Noise(Vec<u8>),
    /// Bytes behind the right id, marked as a response.
    NoiseWithId(Vec<u8>),
    /// A true answer with so many addresses, some of its bytes changed, and cut.
    Bent {
        addrs: u16,
        changes: Vec<(usize, u8)>,
        keep: usize,
    },
    /// A chain of aliases by compression pointers, which may point at themselves.
    Pointers(Vec<u16>),
    WrongId,
    WrongQuestion,
    CnameLoop,
    /// Truncated over UDP; over TCP 64 KiB of noise, with the right id or without.
    HugeNoise {
        with_id: bool,
    },
    /// Truncated over UDP; over TCP as many addresses as 64 KiB can hold.
    HugeAnswer,
}

fn lies() -> impl Strategy<Value = Lie> {
    let noise = || prop::collection::vec(any::<u8>(), 0..1400);
    let changes = prop::collection::vec((any::<usize>(), any::<u8>()), 0..8);
    prop_oneof![
        2 => noise().prop_map(Lie::Noise),
        3 => noise().prop_map(Lie::NoiseWithId),
        6 => (0_u16..40, changes, any::<usize>())
            .prop_map(|(addrs, changes, keep)| Lie::Bent { addrs, changes, keep }),
        2 => prop::collection::vec(any::<u16>(), 1..30).prop_map(Lie::Pointers),
        1 => Just(Lie::WrongId),
        1 => Just(Lie::WrongQuestion),
        1 => Just(Lie::CnameLoop),
        1 => any::<bool>().prop_map(|with_id| Lie::HugeNoise { with_id }),
        1 => Just(Lie::HugeAnswer),
    ]
}

/// The head and the question of a response without an error.
fn head(query: &Query, answers: u16) -> Vec<u8> {
    let mut bytes = query.id.to_be_bytes().to_vec();
    bytes.extend([0x81, 0x80, 0, 1]);
    bytes.extend(answers.to_be_bytes());
    bytes.extend([0, 0, 0, 0]);
    for label in query.name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(u16::from(query.rtype).to_be_bytes());
    bytes.extend([0, 1]);
    bytes
}

/// A record of the question's name.
fn record(bytes: &mut Vec<u8>, kind: RecordType, data: &[u8]) {
    bytes.extend([0xc0, 12]);
    bytes.extend(u16::from(kind).to_be_bytes());
    bytes.extend([0, 1, 0, 0, 0, 60]);
    bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(data);
}

fn addresses(query: &Query, n: u16) -> Vec<u8> {
    let mut bytes = head(query, n);
    let size = if query.rtype == RecordType::A { 4 } else { 16 };
    for n in 0..n {
        let mut data = vec![0; size];
        data[0] = 0x7f;
        data[size - 2..].copy_from_slice(&n.to_be_bytes());
        record(&mut bytes, query.rtype, &data);
    }
    bytes
}

impl Lie {
    fn tell(&self, query: &Query) -> Answer {
        let with_id = |noise: &[u8]| {
            let mut bytes = query.id.to_be_bytes().to_vec();
            bytes.extend([0x81, 0x80]);
            bytes.extend(noise);
            bytes
        };
        match self {
            Self::Noise(noise) => Answer::garbage(noise.clone()),
            Self::NoiseWithId(noise) => Answer::garbage(with_id(noise)),
            Self::Bent {
                addrs,
                changes,
                keep,
            } => {
                let mut bytes = addresses(query, *addrs);
                for (at, to) in changes {
                    let at = 2 + at % (bytes.len() - 2);
                    bytes[at] = *to;
                }
                bytes.truncate(12 + keep % bytes.len());
                Answer::garbage(bytes)
            }
            Self::Pointers(pointers) => {
                let mut bytes = head(query, u16::try_from(pointers.len()).unwrap());
                for pointer in pointers {
                    let target = (0xc000 | (pointer % 600)).to_be_bytes();
                    record(&mut bytes, RecordType::CNAME, &target);
                }
                Answer::garbage(bytes)
            }
            Self::WrongId => both(&["127.0.0.1", "::1"]).wrong_id(),
            Self::WrongQuestion => both(&["127.0.0.1", "::1"]).wrong_question(),
            Self::CnameLoop => Answer::cname_loop(),
            Self::HugeNoise { .. } | Self::HugeAnswer if !query.tcp => both(&[]).truncated(),
            Self::HugeNoise { with_id: true } => Answer::garbage(with_id(&vec![0x5a; 65_531])),
            Self::HugeNoise { .. } => Answer::garbage(vec![0xa5; 65_535]),
            Self::HugeAnswer => Answer::garbage(addresses(query, 2_300)),
        }
    }
}

/// Looks each lie up, all at once; what they take and leave behind is measured.
fn believe(server: &DnsServer, lies: Vec<Lie>) {
    let names = lies.len();
    let table: HashMap<String, Lie> = (0..)
        .zip(lies)
        .map(|(n, lie)| (format!("{n}.lie.test"), lie))
        .collect();
    let table = Arc::new(Mutex::new(table));
    server.script_all(move |query| {
        let table = table.lock().unwrap();
        let lie = table.get(&query.name);
        lie.map_or_else(Answer::nxdomain, |lie| lie.tell(query))
    });
    let info = allocation_counter::measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let dns = cached(hickory([server]).timeout(millis(150)));
            let asked = Instant::now();
            let names: Vec<String> = (0..names).map(|n| format!("{n}.lie.test")).collect();
            let answers = names
                .iter()
                .map(|name| timeout(secs(6), lookup(&dns, name)));
            for (name, answer) in names.iter().zip(join_all(answers).await) {
                if let Ok(found) = answer.unwrap_or_else(|_| panic!("{name} hangs")) {
                    assert!(found.len() <= 256, "{name} has {} addresses", found.len());
                }
            }
            // The deadline of a lookup is 5 s.
            assert!(asked.elapsed() < secs(6), "{:?}", asked.elapsed());
            let stats = dns.handle().stats();
            assert!(stats.names <= names.len() as u64, "{stats:?}");
        });
    });
    // Sixteen times the longest message; as measured, with all at once, a sixth of that.
    let each = info.bytes_max / u64::try_from(names).unwrap();
    assert!(each < 1 << 20, "{each} bytes a name at the most");
    assert!(
        info.bytes_current < 64 << 10,
        "{} bytes left behind",
        info.bytes_current
    );
}

// A name server that lies, by chance.
#[test]
fn random_replies_keep_lookups_timely_and_memory_bounded() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(DnsServer::start());
    let config = ProptestConfig {
        max_shrink_iters: 20,
        failure_persistence: None,
        ..ProptestConfig::with_cases(10)
    };
    proptest!(config, |(lies in prop::collection::vec(lies(), 48))| {
        believe(&server, lies);
    });
}
