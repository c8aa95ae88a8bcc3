use std::sync::mpsc;

use super::*;
use crate::ManualClock;
use crate::event::Event;

const FLOOD: Event = Event::Ambiguous { count: 2 };

/// A sink that passes each record's JSON on, once its gate lets it.
struct Probe {
    gate: Option<Receiver<()>>,
    fails: Arc<std::sync::atomic::AtomicBool>,
    lines: mpsc::Sender<String>,
}

impl AuditSink for Probe {
    fn append(&mut self, record: &AuditRecord) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            // Fails once the sender is dropped, which lets everything through.
            let _ = gate.recv();
        }
        if self.fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("full"));
        }
        self.lines.send(record.to_json()).map_err(io::Error::other)
    }
}

fn probe(gate: Option<Receiver<()>>) -> (Probe, Arc<std::sync::atomic::AtomicBool>, mpsc::Receiver<String>) {
    let (lines, seen) = mpsc::channel();
    let fails = Arc::default();
    (Probe { gate, fails: Arc::clone(&fails), lines }, fails, seen)
}

#[test]
fn a_flood_leaves_its_burst_and_one_line_with_the_count() {
    let (sink, _, seen) = probe(None);
    let clock = ManualClock::at_present();
    let limit = EventLimit { burst: 3, per_minute: 1 };
    let log = AuditLog::builder(sink).clock(clock).event_limit(limit).start().expect("a thread");
    (0..1000).for_each(|_| log.observe(&FLOOD));
    drop(log);
    let lines: Vec<String> = seen.iter().collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    assert!(
        lines[3].contains(r#""event":"excess_rate_limit_exceeded""#) && lines[3].contains(r#""count":997"#),
        "{}",
        lines[3]
    );
}

#[test]
fn a_flood_of_a_dead_cookie_keeps_every_revocation_in_the_trail() {
    let (sink, _, seen) = probe(None);
    let limit = EventLimit { burst: 3, per_minute: 1 };
    let log = AuditLog::builder(sink).clock(ManualClock::at_present()).event_limit(limit).start().expect("a thread");
    let ring = crate::Keyring::generate().expect("random");
    let session = |id| ring.0.handle(&secure_sessions_core::SessionId::from_bytes([id; 16]));
    (0..1000).for_each(|_| log.observe(&Event::Replayed { session: session(1), revoked: false }));
    log.observe(&Event::Replayed { session: session(2), revoked: false });
    log.observe(&Event::Replayed { session: session(3), revoked: true });
    drop(log);
    let lines: Vec<String> = seen.iter().collect();
    let of = |id| lines.iter().filter(|line| line.contains(&session(id).to_string())).count();
    assert_eq!((of(1), of(2), of(3)), (3, 1, 1), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains(r#""count":997"#)), "{lines:#?}");
}

#[test]
fn what_the_queue_has_no_room_for_is_counted_and_nobody_waits() {
    let (open, gate) = mpsc::channel();
    let (sink, _, seen) = probe(Some(gate));
    let log = AuditLog::builder(sink).queue(1).event_limit(None).start().expect("a thread");
    (0..10).for_each(|_| log.observe(&FLOOD));
    drop(open);
    log.flush().expect("the sink works");
    log.observe(&FLOOD);
    drop(log);
    let lines: Vec<String> = seen.iter().collect();
    let kept = lines.iter().filter(|line| line.contains(r#""name":"ambiguous""#)).count();
    let lost: u64 = lines
        .iter()
        .filter_map(|line| line.split_once(r#""description":""#)?.1.split_once(" record(s)")?.0.parse::<u64>().ok())
        .sum();
    assert_eq!(u64::try_from(kept).expect("few") + lost, 11, "{lines:#?}");
    assert!(lost >= 8, "{lines:#?}");
}

#[test]
fn a_sink_that_failed_says_how_many_it_lost_when_it_works_again() {
    let (sink, fails, seen) = probe(None);
    let log = AuditLog::builder(sink).event_limit(None).start().expect("a thread");
    fails.store(true, Ordering::Relaxed);
    (0..3).for_each(|_| log.observe(&FLOOD));
    assert!(log.flush().is_err());
    fails.store(false, Ordering::Relaxed);
    log.observe(&FLOOD);
    drop(log);
    let lines: Vec<String> = seen.iter().collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].contains("3 record(s) before this one could not be kept"), "{}", lines[0]);
}

#[test]
fn a_file_is_appended_to_and_its_owner_alone_can_read_it() {
    let path = std::env::temp_dir().join(format!("secure-sessions-audit-{}.jsonl", std::process::id()));
    for _ in 0..2 {
        let log = AuditLog::builder(AuditFile::append_to(&path).expect("a file")).start().expect("a thread");
        log.observe(&FLOOD);
        log.flush().expect("it is kept");
    }
    let text = std::fs::read_to_string(&path).expect("the file");
    assert_eq!(text.lines().filter(|line| line.starts_with('{') && line.ends_with('}')).count(), 2, "{text}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).expect("the file").permissions().mode() & 0o777, 0o600);
    }
    std::fs::remove_file(path).expect("the file");
}
