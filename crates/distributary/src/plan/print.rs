//! A plan for people.

use super::Plan;
use super::bill::{Bill, Line};
use super::prices::Prices;
use super::workload::{Mode, Workload};

/// The plan as text: each line of each bill, the cheapest way, and the sources of the prices.
pub(crate) fn text(plan: &Plan, prices: &Prices) -> String {
    let mut text = head(&plan.workload);
    text.push_str(&bill(&plan.source));
    let mut ways = plan.ways.clone();
    ways.sort_by(|one, two| {
        let (one, two) = (one.total(), two.total());
        one.total_cmp(&two)
    });
    for way in &ways {
        let way = bill(way);
        text.push_str(&way);
    }

    if let Some(cheapest) = plan.cheapest() {
        let way = &cheapest.way;
        let total = cheapest.total();
        text.push_str(&format!(
            "Cheapest that delivers the same: {way}, ${total:.2} a month beside the source.\n"
        ));
    }
    let foot = foot(plan, prices);
    text + &foot
}

fn head(work: &Workload) -> String {
    let Workload {
        region,
        shards,
        outputs,
        retention_hours,
        rates,
        ..
    } = work;
    let records = rates.records;
    let size = rates.bytes / records.max(f64::MIN_POSITIVE);
    let streams = match work.mode {
        Mode::Provisioned => format!("{shards} shards each"),
        Mode::OnDemand => "on demand".to_owned(),
    };
    format!(
        "{region}: {records:.1} records/s of {size:.0} bytes, kept {retention_hours} h, to {outputs} \
         outputs; {streams}. US dollars a month.\n\n"
    )
}

fn bill(bill: &Bill) -> String {
    let total = bill.total();
    let mut text = format!("{:<67} {total:>12.2}\n", bill.way);
    for one in &bill.lines {
        text.push_str(&line(one));
    }
    for note in &bill.notes {
        text.push_str(&format!("  ({note})\n"));
    }
    text.push('\n');
    text
}

fn line(line: &Line) -> String {
    let Line {
        item,
        quantity,
        unit,
        price,
    } = line;
    let sum = format!("{quantity:.3} {unit} x {price}");
    let cost = line.cost();
    format!("  {item:<32} {sum:<42} {cost:>12.2}\n")
}

fn foot(plan: &Plan, prices: &Prices) -> String {
    let date = &plan.date;
    let region = &plan.workload.region;
    let mut text = format!("Prices of {date}, without tax and free tiers:\n");
    for (service, page) in &prices.sources {
        text.push_str(&format!("  {service:<9} {page}\n"));
    }
    if !plan.compared {
        text.push_str(&format!(
            "The prices of {region} were not compared with these pages: compare them before a decision \
             rests on them (plan --print-prices).\n"
        ));
    }
    text
}
