//! `cargo run -p distributary-sim -- --seeds N [--from S] [--level 1|2] [--mutations] [--show]`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::mutation::Mutation;
use distributary_sim::mutations::{
    OF_AGGREGATES, OF_WORKERS, Search, detectable, find, find_with_aggregates, find_with_workers,
};
use distributary_sim::play_workers;
use distributary_sim::run::{Report, play};
use distributary_sim::scenario::{Level, Scenario};
use distributary_sim::shrink::shrink;
use distributary_sim::truth::Violation;

const HELP: &str = "\
Plays seeded runs and checks the contract (docs/SEMANTICS.md) in each.

  --seeds N        number of seeds to play (default 1000)
  --from S         the first seed (default 0)
  --level L        1: the engine over fakes of its seams (default); 2: the whole path, the engine
                   and the Kinesis client over a faulty network to an embedded Kinesis;
                   3: several workers that share the shards by leases in one table
  --whole-path     the same as --level 2
  --mutations      instead: switches on one planted bug after another, and finds each
  --show           also prints the scenario and the last events of the first seed
  --hash           also prints each run's hash
  --all            continues after a violation; prints one line for each, no shorter runs
";

/// Time between two reports of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The runs that are played.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// One engine.
    Level(Level),
    /// Several workers.
    Workers,
}

impl Extent {
    fn number(self) -> u8 {
        match self {
            Self::Level(Level::Engine) => 1,
            Self::Level(Level::WholePath) => 2,
            Self::Workers => 3,
        }
    }
}

/// The arguments of the command line.
struct Arguments {
    seeds: u64,
    from: u64,
    extent: Extent,
    mutations: bool,
    show: bool,
    hash: bool,
    all: bool,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            seeds: 1000,
            from: 0,
            extent: Extent::Level(Level::default()),
            mutations: false,
            show: false,
            hash: false,
            all: false,
        }
    }
}

impl Arguments {
    /// Reads the arguments; `None` if help is asked for.
    fn read() -> Result<Option<Self>, String> {
        let mut arguments = Self::default();
        let mut rest = std::env::args().skip(1);

        while let Some(name) = rest.next() {
            match name.as_str() {
                "--seeds" => arguments.seeds = number(&name, rest.next())?,
                "--from" => arguments.from = number(&name, rest.next())?,
                "--level" => arguments.extent = extent(number(&name, rest.next())?)?,
                "--whole-path" => arguments.extent = Extent::Level(Level::WholePath),
                "--mutations" => arguments.mutations = true,
                "--show" => arguments.show = true,
                "--hash" => arguments.hash = true,
                "--all" => arguments.all = true,
                "--help" | "-h" => return Ok(None),
                other => return Err(format!("unknown argument {other}")),
            }
        }
        Ok(Some(arguments))
    }
}

fn number<T: FromStr>(name: &str, value: Option<String>) -> Result<T, String> {
    let value = value.ok_or(format!("{name} needs a number"))?;
    value
        .parse()
        .map_err(|_| format!("{name} needs a number, not {value}"))
}

fn extent(number: u64) -> Result<Extent, String> {
    match number {
        1 => Ok(Extent::Level(Level::Engine)),
        2 => Ok(Extent::Level(Level::WholePath)),
        3 => Ok(Extent::Workers),
        other => Err(format!("there is no level {other}; use 1, 2 or 3")),
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprint!("{message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };

    let success = if arguments.mutations {
        find_mutations(&arguments)
    } else {
        play_seeds(&arguments)
    };
    if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Sums over the runs played so far.
struct Totals {
    clock: Clock,
    started: Instant,
    last_progress: Instant,
    seeds: u64,
    records: usize,
    simulated: Duration,
    faults: BTreeMap<&'static str, u64>,
    violated: bool,
}

impl Totals {
    fn new() -> Self {
        let clock = Clock::real();
        let started = clock.now();
        Self {
            clock,
            started,
            last_progress: started,
            seeds: 0,
            records: 0,
            simulated: Duration::ZERO,
            faults: BTreeMap::new(),
            violated: false,
        }
    }

    fn add(&mut self, report: &Report) {
        for (name, count) in &report.faults {
            *self.faults.entry(name).or_default() += count;
        }
        self.seeds += 1;
        self.records += report.records;
        self.simulated += report.time;
        self.violated |= report.violation.is_some();
    }

    fn fault_events(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Seconds since the start, and seeds a second.
    fn speed(&self) -> (f64, f64) {
        let seconds = self.clock.now().since(self.started).as_secs_f64();
        (seconds, self.seeds as f64 / seconds.max(0.001))
    }

    fn print_progress(&mut self) {
        let now = self.clock.now();
        if now.since(self.last_progress) <= PROGRESS_INTERVAL {
            return;
        }

        self.last_progress = now;
        let (_, rate) = self.speed();
        let (seeds, faults) = (self.seeds, self.fault_events());
        println!("{seeds} seeds, {rate:.0} a second, {faults} fault events");
    }

    fn print(&self, from: u64) {
        let (seconds, rate) = self.speed();
        let result = if self.violated {
            "with violations"
        } else {
            "no violation"
        };

        println!(
            "{} seeds from {from} in {seconds:.1} s ({rate:.0} a second): {result}; {} records, \
             {:.0} hours simulated, {} fault events:",
            self.seeds,
            self.records,
            self.simulated.as_secs_f64() / 3600.0,
            self.fault_events()
        );
        for (name, count) in &self.faults {
            println!("  {count:>9}  {name}");
        }
    }
}

/// Plays the seeds; stops at the first violation unless `--all` is given. True without violation.
fn play_seeds(arguments: &Arguments) -> bool {
    let mut totals = Totals::new();
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let report = play_seed(arguments, seed);
        if arguments.hash {
            println!("{seed} {:016x}", report.hash);
        }

        match &report.violation {
            Some(violation) if arguments.all => print_violation(seed, violation),
            Some(violation) => {
                explain(arguments.extent, seed, violation, &report);
                return false;
            }
            None => {}
        }

        totals.add(&report);
        totals.print_progress();
    }

    totals.print(arguments.from);
    !totals.violated
}

/// Plays one seed, and prints the run if asked for.
fn play_seed(arguments: &Arguments, seed: u64) -> Report {
    let show = arguments.show && seed == arguments.from;
    let (scenario, report) = match arguments.extent {
        Extent::Level(level) => {
            let scenario = Scenario::draw(level, seed);
            let report = play(&scenario, show);
            (Some(scenario), report)
        }
        Extent::Workers => (None, play_workers(seed, show)),
    };
    if show {
        print_run(scenario.as_ref(), &report);
    }
    report
}

fn print_violation(seed: u64, violation: &Violation) {
    let Violation {
        line, description, ..
    } = violation;
    println!("seed {seed} violates line {line}: {description}");
}

/// Prints a violation, and the shortest run found that has the same violation.
fn explain(extent: Extent, seed: u64, violation: &Violation, report: &Report) {
    println!("seed {seed} violates line {}", violation.line);
    let seconds = violation.at.as_secs_f64();
    println!("  at {seconds:.3} s: {}", violation.description);

    match extent {
        Extent::Level(level) => explain_shorter(level, seed, report),
        Extent::Workers => print_run(None, &play_workers(seed, true)),
    }
    let level = extent.number();
    println!(
        "to play the run again: cargo run -p distributary-sim -- --level {level} --seeds 1 --from \
         {seed}"
    );
}

fn explain_shorter(level: Level, seed: u64, report: &Report) {
    println!("looking for a shorter run …");
    let scenario = Scenario::draw(level, seed);
    let (smaller, report) = shrink(&scenario, report);
    let (few, all) = (smaller.events.len(), scenario.events.len());
    println!("{few} of {all} events are enough:");

    print_run(Some(&smaller), &report);
    if let Some(violation) = &report.violation {
        let Violation {
            line, description, ..
        } = violation;
        let seconds = violation.at.as_secs_f64();
        println!("violated: line {line}, at {seconds:.3} s: {description}");
    }
}

/// Prints the scenario and the last events of a run. The first event of a run with several workers
/// is the scenario.
fn print_run(scenario: Option<&Scenario>, report: &Report) {
    if let Some(scenario) = scenario {
        println!("{:?}", scenario.shape);
        if let Some(whole) = &scenario.whole {
            println!("{whole:?}");
        }
        for (at, action) in &scenario.events {
            println!("{:>9.3} s  {action:?}", at.as_secs_f64());
        }
    }

    println!("the last events:");
    for line in &report.lines {
        println!("{line}");
    }
}

/// Searches for every planted bug; true if each was found.
fn find_mutations(arguments: &Arguments) -> bool {
    let level = match arguments.extent {
        Extent::Level(level) => level,
        Extent::Workers => {
            let searches = OF_WORKERS.map(|mutation| (mutation, find_with_workers(mutation)));
            return print_searches(&searches);
        }
    };

    let mut all_found = true;
    for (mutation, within) in detectable(level) {
        let search = find(level, mutation, arguments.from, within);
        all_found &= print_searches(&[(mutation, search)]);
    }
    all_found & find_mutations_of_aggregates(level)
}

/// Prints the results of searches; true if each bug was found.
fn print_searches(searches: &[(Mutation, Search)]) -> bool {
    for (mutation, Search { seeds, violation }) in searches {
        match violation {
            Some(Violation {
                line, description, ..
            }) => {
                println!("{mutation:?}: found in {seeds} seeds, as a violation of line {line}");
                println!("    {description}");
            }
            None => println!("{mutation:?}: NOT found in {seeds} seeds"),
        }
    }

    let mut found = searches.iter().map(|(_, search)| &search.violation);
    found.all(Option::is_some)
}

/// Searches for the planted bugs in the treatment of aggregates, a part of the whole path; true if
/// each was found.
fn find_mutations_of_aggregates(level: Level) -> bool {
    if level == Level::Engine {
        return true;
    }

    let mut all_found = true;
    for mutation in OF_AGGREGATES {
        match find_with_aggregates(mutation) {
            Some(violation) => println!("{mutation:?}: found, with aggregates\n    {violation}"),
            None => {
                println!("{mutation:?}: NOT found with aggregates");
                all_found = false;
            }
        }
    }
    all_found
}
