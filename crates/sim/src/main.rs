//! `cargo run -p distributary-sim -- --seeds N [--from S] [--level 1|2] [--mutations] [--show]`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_sim::mutations::{find, kept};
use distributary_sim::run::{Report, play};
use distributary_sim::scenario::{Level, Scenario};
use distributary_sim::shrink::shrink;

const HELP: &str = "\
Plays seeded runs and checks the contract (docs/SEMANTICS.md) in each.

  --seeds N        how many seeds to play (default 1000)
  --from S         the first seed (default 0)
  --level L        what is simulated: 1 the engine over fakes of its seams (default); 2 the whole path, the engine and the
                   Kinesis client over a faulty network to an embedded Kinesis
  --whole-path     as --level 2
  --mutations      instead: switch on one bug after another, and find each
  --show           also print the end of what happened, for the first seed, whether or not it violates anything
  --hash           also print each run's hash
  --all            don't stop at the first violation; one line for each, no shorter runs
";

/// What the command line asks for.
struct Asked {
    seeds: u64,
    from: u64,
    level: Level,
    mutations: bool,
    show: bool,
    hash: bool,
    all: bool,
}

fn asked() -> Result<Option<Asked>, String> {
    let level = Level::default();
    let mut asked = Asked {
        seeds: 1000,
        from: 0,
        level,
        mutations: false,
        show: false,
        hash: false,
        all: false,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || {
            let text = args.next().ok_or(format!("{arg} wants a number"))?;
            text.parse()
                .map_err(|_| format!("{arg} wants a number, not {text}"))
        };
        match arg.as_str() {
            "--seeds" => asked.seeds = number()?,
            "--from" => asked.from = number()?,
            "--level" => {
                asked.level = match number()? {
                    1 => Level::Engine,
                    2 => Level::WholePath,
                    other => return Err(format!("there is no level {other}: 1 or 2")),
                }
            }
            "--whole-path" => asked.level = Level::WholePath,
            "--mutations" => asked.mutations = true,
            "--show" => asked.show = true,
            "--hash" => asked.hash = true,
            "--all" => asked.all = true,
            "--help" | "-h" => return Ok(None),
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Ok(Some(asked))
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(what) => {
            eprint!("{what}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let well = if asked.mutations {
        mutations(asked.level, asked.from)
    } else {
        seeds(&asked)
    };
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Plays the seeds; stops at the first that violates anything.
fn seeds(asked: &Asked) -> bool {
    let clock = Clock::real();
    let (begun, mut said) = (clock.now(), clock.now());
    let mut faults: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut records, mut time, mut well) = (0, Duration::ZERO, true);
    for seed in asked.from..asked.from.saturating_add(asked.seeds) {
        let scenario = Scenario::draw(asked.level, seed);
        let report = play(&scenario, asked.show && seed == asked.from);
        if asked.hash {
            println!("{seed} {:016x}", report.hash);
        }
        if asked.show && seed == asked.from {
            show(&scenario, &report);
        }
        if let Some(violation) = &report.violation {
            well = false;
            if !asked.all {
                say_violation(seed, &scenario, &report);
                return false;
            }
            println!(
                "seed {seed} violates line {}: {}",
                violation.line, violation.what
            );
        }
        for (name, n) in &report.faults {
            *faults.entry(name).or_default() += n;
        }
        records += report.records;
        time += report.time;
        let now = clock.now();
        if now.since(said) > Duration::from_secs(5) {
            said = now;
            let done = seed - asked.from + 1;
            let rate = done as f64 / now.since(begun).as_secs_f64();
            println!(
                "{done} seeds, {rate:.0} a second, {} fault events",
                faults.values().sum::<u64>()
            );
        }
    }
    let took = clock.now().since(begun).as_secs_f64();
    let what = if well {
        "no violation"
    } else {
        "with violations"
    };
    println!(
        "{} seeds from {} in {took:.1} s ({:.0} a second): {what}; {records} records, {:.0} hours simulated, {} \
         fault events:",
        asked.seeds,
        asked.from,
        asked.seeds as f64 / took.max(0.001),
        time.as_secs_f64() / 3600.0,
        faults.values().sum::<u64>()
    );
    for (name, n) in faults {
        println!("  {n:>9}  {name}");
    }
    well
}

fn say_violation(seed: u64, scenario: &Scenario, report: &Report) {
    let Some(violation) = &report.violation else {
        return;
    };
    println!("seed {seed} violates line {}", violation.line);
    println!(
        "  at {:.3} s: {}",
        violation.at.as_secs_f64(),
        violation.what
    );
    println!("looking for a shorter run …");
    let (smaller, report) = shrink(scenario, report);
    println!(
        "{} of {} events are enough:",
        smaller.events.len(),
        scenario.events.len()
    );
    show(&smaller, &report);
    if let Some(violation) = &report.violation {
        println!(
            "violated: line {}, at {:.3} s: {}",
            violation.line,
            violation.at.as_secs_f64(),
            violation.what
        );
    }
    let level = if scenario.whole.is_some() {
        " --level 2"
    } else {
        ""
    };
    println!("again: cargo run -p distributary-sim --{level} --seeds 1 --from {seed}");
}

fn show(scenario: &Scenario, report: &Report) {
    println!("{:?}", scenario.shape);
    if let Some(whole) = &scenario.whole {
        println!("{whole:?}");
    }
    for (at, action) in &scenario.events {
        println!("{:>9.3} s  {action:?}", at.as_secs_f64());
    }
    println!("the last that happened:");
    for line in &report.lines {
        println!("{line}");
    }
}

/// Finds every bug.
fn mutations(level: Level, from: u64) -> bool {
    let mut all = true;
    for (mutation, within) in kept(level) {
        let found = find(level, mutation, from, within);
        match &found.violation {
            Some(violation) => {
                println!(
                    "{mutation:?}: found in {} seeds, as a violation of line {}",
                    found.seeds, violation.line
                );
                println!("    {}", violation.what);
            }
            None => {
                println!("{mutation:?}: NOT found in {within} seeds");
                all = false;
            }
        }
    }
    all
}
