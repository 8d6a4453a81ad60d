//! The table and the bars, as Markdown. It must not measure anything.

use crate::{
    CONNECTIONS, ROUNDS,
    bundle::Bundle,
    load::Sample,
    storage::Changes,
    variants::{Role, Variant},
};
use std::{fmt, fs, process::Command};

/// Two tiers reach at least this part of what they are held against.
const RATIO_MIN: f64 = 0.6;

/// And this part of what they were at the commit they are held against, where there is one.
const KEPT_MIN: f64 = 0.95;

/// The compressed release, at most (see `integration::bundle`).
const COMPRESSED_BYTES_MAX: usize = 1_000 * 1000;

/// A median and what lies around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { min: at(0), median: at(values.len() / 2), max: at(values.len().saturating_sub(1)) }
    }
}

/// One variant, all rounds.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) variant: Variant,
    pub(crate) many: Vec<Sample>,
    pub(crate) one: Vec<Sample>,
}

impl Row {
    fn many(&self, part: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.many.iter().map(part))
    }

    fn one(&self, part: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.one.iter().map(part))
    }
}

/// What calls wrote.
#[derive(Debug)]
pub(crate) struct Writes {
    pub(crate) calls: u64,
    pub(crate) changes: Changes,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) bundle: Bundle,
    pub(crate) pinned: bool,
    pub(crate) seconds: f64,
    pub(crate) rows: Vec<Row>,
    pub(crate) writes: Vec<(&'static str, Writes)>,
}

/// Something that must hold.
struct Bar {
    text: String,
    holds: bool,
}

impl Report {
    /// Whether everything holds that must.
    pub(crate) fn passes(&self) -> bool {
        self.bars().iter().all(|bar| bar.holds)
    }

    fn bars(&self) -> Vec<Bar> {
        let compressed = self.bundle.compressed();
        let held = [
            (Role::OneTier, "one tier", RATIO_MIN),
            (Role::Floor, "the floor", RATIO_MIN),
            (Role::Before, "the other commit", KEPT_MIN),
        ];
        let mut bars = Vec::new();
        for (role, name, min) in held {
            match self.ratio(role, name, min) {
                Some(bar) => bars.push(bar),
                // Nobody has to hold it against another commit.
                None if role == Role::Before => {}
                None => {
                    bars.push(Bar { text: format!("{name} was not measured"), holds: false });
                }
            }
        }
        for (name, Writes { calls, changes }) in &self.writes {
            bars.push(Bar {
                text: format!(
                    "no storage writes in {calls} calls ({name}): {} of {} files changed, {} bytes",
                    changes.changed, changes.files, changes.bytes
                ),
                holds: changes.changed == 0,
            });
        }
        bars.push(Bar {
            text: format!(
                "bundle ≤ {} KB gzip: {} KB",
                COMPRESSED_BYTES_MAX / 1000,
                compressed / 1000
            ),
            holds: compressed <= COMPRESSED_BYTES_MAX,
        });
        bars
    }

    fn row(&self, role: Role) -> Option<&Row> {
        self.rows.iter().find(|row| row.variant.role == Some(role))
    }

    /// Two tiers against something else that was measured: by medians, and by rounds for the
    /// spread.
    fn ratio(&self, role: Role, name: &str, min: f64) -> Option<Bar> {
        let (own, other) = (self.row(Role::TwoTiers)?, self.row(role)?);
        let ratio = own.many(Sample::rate).median / other.many(Sample::rate).median;
        let rounds = own.many.iter().zip(&other.many);
        let rounds = Spread::of(rounds.map(|(own, other)| own.rate() / other.rate()));
        Some(Bar {
            text: format!(
                "two tiers ≥ {min} × {name}: {ratio:.2} (rounds {:.2}–{:.2})",
                rounds.min, rounds.max
            ),
            holds: ratio >= min,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Benchmark\n\n{}.\n", machine())?;
        let Self { seconds, .. } = self;
        let pinned = if self.pinned {
            "Servers run on one processor and the load generator on another."
        } else {
            "Servers and the load generator share the processors."
        };
        writeln!(
            f,
            "`tools/call` of a trivial tool, one user, {CONNECTIONS} keep-alive connections, \
             closed loop, plain workerd, one process each. Medians of {ROUNDS} alternating rounds \
             of {seconds} s; in brackets min–max. Every answer was checked. {pinned}\n"
        )?;
        self.table(f)?;
        self.release(f)?;
        writeln!(f, "\n## Bars\n")?;
        for bar in self.bars() {
            let verdict = if bar.holds { "PASS" } else { "FAIL" };
            writeln!(f, "- {verdict}: {}", bar.text)?;
        }
        Ok(())
    }
}

impl Report {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| variant | requests/s | CPU per request | p50 | p99 | p50 at 1 connection |\n\
             |---|---|---|---|---|---|"
        )?;
        for row in &self.rows {
            let rate = row.many(Sample::rate);
            let cpu = row.many(Sample::cpu_us);
            writeln!(
                f,
                "| {} | {:.0} ({:.0}–{:.0}) | {:.0} µs ({:.0}–{:.0}) | {:.2} ms | {:.2} ms | {:.2} ms |",
                row.variant.name,
                rate.median,
                rate.min,
                rate.max,
                cpu.median,
                cpu.min,
                cpu.max,
                row.many(|sample| sample.percentile(50)).median,
                row.many(|sample| sample.percentile(99)).median,
                row.one(|sample| sample.percentile(50)).median,
            )?;
        }
        Ok(())
    }

    fn release(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bundle = &self.bundle;
        writeln!(f, "\n## Release\n")?;
        for (name, raw, compressed) in &bundle.files {
            writeln!(f, "- {name}: {raw} bytes, {compressed} gzip")?;
        }
        let (raw, compressed) = (bundle.raw(), bundle.compressed());
        writeln!(f, "- together: {raw} bytes, {compressed} gzip")?;
        let times = [
            ("start of workerd to listening", bundle.listening),
            ("start of workerd to the first answer", bundle.answered),
            ("the first request in a fresh isolate", bundle.first),
            ("the second", bundle.second),
        ];
        for (name, Spread { min, median, max }) in times {
            writeln!(f, "- {name}: {median:.1} ms ({min:.1}–{max:.1})")?;
        }
        Ok(())
    }
}

/// The machine and the versions, in one line.
fn machine() -> String {
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_else(|| format!("{program} (version unknown)"))
    };
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = file("/proc/cpuinfo");
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = file("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!(
        "{}; {}; {}, {cores} of its cores; load average at the end {}",
        said("node_modules/.bin/workerd", "--version"),
        said("rustc", "--version"),
        model.unwrap_or("a processor without a name"),
        load.join(" "),
    )
}
