use std::time::{Duration, Instant};

use crate::{Args, Work, app::App, memory::Memory};

/// Prints a line for each figure that the workload has; says whether nothing is missing.
pub(crate) fn print(args: &Args, app: &App, memory: &Memory) -> bool {
    let seen = app.seen();
    let notes = app.notes();
    let (runs, senders, batch) = (args.runs, args.senders, args.batch);
    line(
        "work",
        &format!(
            "{}, {runs} events, {senders} senders, {batch} in a request",
            args.work.name()
        ),
    );

    let sent_in = between(notes.started, notes.sending_ended);
    let ran_in = between(notes.started, notes.last_done);
    // The replies of `wait` are accepted events too, but are sent later.
    let accepted = seen.accepted.min(runs);
    match args.work {
        Work::Ingest => {}
        Work::Wait => rate(
            "matches/s",
            seen.done,
            between(notes.replies_started, notes.last_done),
        ),
        Work::Sleep => {}
        Work::Latency | Work::Noop | Work::Steps => {
            rate("runs/s", seen.done, ran_in);
            rate("calls/s", seen.calls, ran_in);
        }
    }
    rate("events/s accepted", accepted, sent_in);
    delay("event request", &notes.acknowledged, Duration::ZERO);
    delay("event to call", &notes.to_first_call, Duration::ZERO);
    delay("reply to call", &notes.to_match, Duration::ZERO);
    if args.work == Work::Sleep {
        delay(
            "sleep lateness",
            &notes.between_calls,
            Duration::from_millis(args.sleep_ms),
        );
    } else {
        delay("between calls", &notes.between_calls, Duration::ZERO);
    }
    if let Some((before, most, last)) = memory.figures {
        line(
            "RSS",
            &format!("{before:.1} MB before, {most:.1} MB most, {last:.1} MB after"),
        );
    }
    let finished = if args.work == Work::Ingest {
        accepted
    } else {
        seen.done
    };
    let missing = runs.saturating_sub(finished);
    let refused = seen.refused;
    line(
        "lost",
        &format!(
            "{} ({refused} events refused)",
            missing.saturating_sub(refused)
        ),
    );
    line(
        "doubled",
        &format!("{} runs, {} calls repeated", notes.doubled, notes.repeated),
    );
    if let Some(refusal) = &notes.refusal {
        line("first refusal", refusal);
    }
    missing == 0
}

fn line(name: &str, figure: &str) {
    println!("{name:<18} {figure}");
}

fn rate(name: &str, count: u64, time: Option<Duration>) {
    if let Some(time) = time {
        let rate = count as f64 / time.as_secs_f64().max(f64::EPSILON);
        line(
            name,
            &format!("{rate:.1} ({count} in {:.2} s)", time.as_secs_f64()),
        );
    }
}

/// Prints how far the delays exceed `expected`; negative when they fall short of it.
fn delay(name: &str, delays: &[Duration], expected: Duration) {
    if delays.is_empty() {
        return;
    }
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    let at = |part: usize| {
        let delay = sorted[(sorted.len() - 1) * part / 100];
        (delay.as_secs_f64() - expected.as_secs_f64()) * 1e3
    };
    line(
        name,
        &format!(
            "p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms",
            at(50),
            at(99),
            at(100)
        ),
    );
}

fn between(from: Option<Instant>, to: Option<Instant>) -> Option<Duration> {
    Some(to?.saturating_duration_since(from?))
}
