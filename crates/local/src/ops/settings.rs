//! The settings of streams and accounts.

use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use super::streams::{Usage, check_distribution};
use crate::check::{Checks, Pattern};
use crate::errors::{Answer, in_use, invalid_argument, validation};
use crate::local::Account;
use crate::reshard::Change;
use crate::stream::{State, Stream};
use crate::target::Targeted;

/// Milliseconds before On-demand Advantage can be turned off again.
const COMMITMENT_MS: i64 = 24 * 3_600_000;
/// The largest warm throughput in MiB a second.
const WARM_MIBPS_MAX: i32 = 10 * 1024;

/// The direction in which an operation may change the retention period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retention {
    Increase,
    Decrease,
}

pub(crate) fn increase_retention(
    call: &Call<'_>,
    request: &IncreaseStreamRetentionPeriodRequest,
) -> Answer<IncreaseStreamRetentionPeriodResponse> {
    let hours = request.retention_period_hours;
    change_retention(call, request, hours, Retention::Increase)?;
    Ok(IncreaseStreamRetentionPeriodResponse::default())
}

pub(crate) fn decrease_retention(
    call: &Call<'_>,
    request: &DecreaseStreamRetentionPeriodRequest,
) -> Answer<DecreaseStreamRetentionPeriodResponse> {
    let hours = request.retention_period_hours;
    change_retention(call, request, hours, Retention::Decrease)?;
    Ok(DecreaseStreamRetentionPeriodResponse::default())
}

fn change_retention(
    call: &Call<'_>,
    request: &impl Targeted,
    hours: Option<i32>,
    direction: Retention,
) -> Answer<()> {
    let mut checks = Checks::of_stream(request);
    checks.required("retentionPeriodHours", hours.as_ref());
    checks.finish()?;
    let hours = hours.unwrap_or_default();
    check_retention_limits(hours)?;

    let stream = call.stream_of(request)?;
    call.change_active(&stream, |state| {
        direction.check(hours, state.retention_hours, &stream)?;
        call.start_change(state, Change::Retention(hours));
        Ok(())
    })
}

fn check_retention_limits(hours: i32) -> Answer<()> {
    let (min, max) = limits::RETENTION_HOURS.into_inner();
    let message = if hours < min {
        format!("Minimum allowed retention period is {min} hours.")
    } else if hours > max {
        format!("Maximum allowed retention period is {max} hours.")
    } else {
        return Ok(());
    };
    Err(invalid_argument(message))
}

impl Retention {
    /// # Errors
    /// `InvalidArgumentException` if the change goes in the other direction.
    fn check(self, hours: i32, current: i32, stream: &Stream) -> Answer<()> {
        let (is_allowed, than, other) = match self {
            Self::Increase => (hours >= current, "shorter", "DecreaseRetentionPeriod"),
            Self::Decrease => (hours <= current, "longer", "IncreaseRetentionPeriod"),
        };
        if is_allowed {
            return Ok(());
        }

        let name = &stream.name;
        Err(invalid_argument(format!(
            "Requested retention period ({hours} hours) for stream {name} can not be {than} than \
             existing retention period ({current} hours). Use {other} API."
        )))
    }
}

pub(crate) fn max_record_size(
    call: &Call<'_>,
    request: &UpdateMaxRecordSizeRequest,
) -> Answer<UpdateMaxRecordSizeResponse> {
    let kib = request.max_record_size_in_kib;
    let mut checks = Checks::of_stream_arn(request);
    checks.required("maxRecordSizeInKiB", kib.as_ref());
    checks.number("maxRecordSizeInKiB", kib, limits::MAX_RECORD_SIZE_KIB);
    checks.finish()?;

    let stream = call.stream_of(request)?;
    call.change_active(&stream, |state| {
        let change = Change::RecordSize(kib.unwrap_or(*limits::MAX_RECORD_SIZE_KIB.start()));
        call.start_change(state, change);
        Ok(UpdateMaxRecordSizeResponse::default())
    })
}

fn check_mode(request: &UpdateStreamModeRequest, mode: Option<&StreamMode>) -> Answer<()> {
    let member = "streamModeDetails.streamMode";
    let throughput = request.warm_throughput_mibps;
    let mut checks = Checks::of_stream_arn(request);
    checks.required(member, mode);
    checks.one_of(member, mode, StreamMode::KNOWN);
    checks.number("warmThroughputMiBps", throughput, 0..=WARM_MIBPS_MAX);
    checks.finish()
}

pub(crate) fn mode(
    call: &Call<'_>,
    request: &UpdateStreamModeRequest,
) -> Answer<UpdateStreamModeResponse> {
    let details = request.stream_mode_details.as_ref();
    let mode = details.and_then(|d| d.stream_mode.clone());
    check_mode(request, mode.as_ref())?;

    let stream = call.stream_of(request)?;
    let mode = mode.unwrap_or_default();
    let usage = Usage::of(call);
    call.change_active(&stream, |state| {
        match mode {
            StreamMode::OnDemand if state.mode != mode => check_on_demand_limit(call, &usage)?,
            StreamMode::Provisioned => check_can_be_provisioned(request, state)?,
            _ => {}
        }

        if request.warm_throughput_mibps.is_some() {
            state.warm_mibps = request.warm_throughput_mibps;
        }
        call.start_change(state, Change::Mode(mode));
        Ok(UpdateStreamModeResponse::default())
    })
}

fn check_on_demand_limit(call: &Call<'_>, usage: &Usage) -> Answer<()> {
    let limit = call.inner.settings.on_demand_stream_limit;
    if usage.on_demand < limit {
        return Ok(());
    }
    Err(crate::errors::limit_exceeded(format!(
        "This request would exceed the on-demand stream limit for the account. Limit: {limit}."
    )))
}

fn check_can_be_provisioned(request: &UpdateStreamModeRequest, state: &State) -> Answer<()> {
    if request.warm_throughput_mibps.is_some() {
        return Err(validation(
            "WarmThroughputMiBps is only valid for the on-demand capacity mode.",
        ));
    }
    if state.distribution == RecordDistributionStrategy::Auto {
        return Err(invalid_argument(
            "A stream with RecordDistributionStrategy AUTO must stay in the on-demand capacity \
             mode.",
        ));
    }
    Ok(())
}

pub(crate) fn distribution(
    call: &Call<'_>,
    request: &UpdateStreamRecordDistributionStrategyRequest,
) -> Answer<UpdateStreamRecordDistributionStrategyResponse> {
    let strategy = request.record_distribution_strategy.as_ref();
    let mut checks = Checks::of_stream_arn(request);
    checks.required("recordDistributionStrategy", strategy);
    checks.one_of(
        "recordDistributionStrategy",
        strategy,
        RecordDistributionStrategy::KNOWN,
    );
    checks.finish()?;

    let stream = call.stream_of(request)?;
    let strategy = strategy.cloned().unwrap_or_default();
    call.change_active(&stream, |state| {
        check_distribution(&state.mode, &strategy)?;
        state.distribution = strategy;
        Ok(UpdateStreamRecordDistributionStrategyResponse::default())
    })
}

fn check_warm_request(request: &UpdateStreamWarmThroughputRequest) -> Answer<()> {
    let mibps = request.warm_throughput_mibps;
    let mut checks = Checks::of_stream(request);
    checks.required("warmThroughputMiBps", mibps.as_ref());
    checks.number("warmThroughputMiBps", mibps, 0..=WARM_MIBPS_MAX);
    checks.finish()
}

pub(crate) fn warm_throughput(
    call: &Call<'_>,
    request: &UpdateStreamWarmThroughputRequest,
) -> Answer<UpdateStreamWarmThroughputResponse> {
    check_warm_request(request)?;
    let stream = call.stream_of(request)?;
    let target = request.warm_throughput_mibps.unwrap_or_default();
    let is_committed = call
        .inner
        .account(&stream.namespace, |account| account.is_committed());
    let before = call.change_active(&stream, |state| {
        check_warm_throughput(state, is_committed)?;
        let before = state.warm_mibps;
        call.start_change(state, Change::Warm(target));
        Ok(before)
    })?;

    let throughput = WarmThroughputObject {
        target_mibps: Some(target),
        current_mibps: Some(before.unwrap_or(0)),
    };
    Ok(UpdateStreamWarmThroughputResponse {
        stream_arn: Some(stream.arn.to_string()),
        stream_name: Some(stream.name.clone()),
        warm_throughput: Some(throughput),
    })
}

fn check_warm_throughput(state: &State, is_committed: bool) -> Answer<()> {
    if state.mode != StreamMode::OnDemand {
        return Err(validation(
            "Warm throughput is only supported for streams in on-demand capacity mode.",
        ));
    }
    if !is_committed {
        return Err(validation(
            "Warm throughput needs MinimumThroughputBillingCommitment to be enabled for the \
             account.",
        ));
    }
    Ok(())
}

pub(crate) fn start_encryption(
    call: &Call<'_>,
    request: &StartStreamEncryptionRequest,
) -> Answer<StartStreamEncryptionResponse> {
    let (kind, key) = (request.encryption_type.as_ref(), request.key_id.as_ref());
    check_encryption(request, kind, key)?;
    if request.encryption_type == Some(EncryptionType::None) {
        return Err(invalid_argument("EncryptionType must be KMS."));
    }

    let stream = call.stream_of(request)?;
    call.change_active(&stream, |state| {
        let change = Change::Encrypt(request.key_id.clone());
        call.start_change(state, change);
        Ok(StartStreamEncryptionResponse::default())
    })
}

pub(crate) fn stop_encryption(
    call: &Call<'_>,
    request: &StopStreamEncryptionRequest,
) -> Answer<StopStreamEncryptionResponse> {
    let (kind, key) = (request.encryption_type.as_ref(), request.key_id.as_ref());
    check_encryption(request, kind, key)?;

    let stream = call.stream_of(request)?;
    call.change_active(&stream, |state| {
        if state.key_id.is_none() {
            return Err(in_use(format!("Stream {stream} is not encrypted.")));
        }
        call.start_change(state, Change::Encrypt(None));
        Ok(StopStreamEncryptionResponse::default())
    })
}

fn check_encryption(
    request: &impl Targeted,
    kind: Option<&EncryptionType>,
    key: Option<&String>,
) -> Answer<()> {
    let mut checks = Checks::of_stream(request);
    checks.required("encryptionType", kind);
    checks.one_of("encryptionType", kind, EncryptionType::KNOWN);
    checks.required("keyId", key);
    checks.text("keyId", key.map(String::as_str), 1..=2048, Pattern::Any);
    checks.finish()
}

/// Every metric except `ALL`.
fn all_metrics() -> impl Iterator<Item = MetricsName> {
    MetricsName::KNOWN
        .iter()
        .map(|name| MetricsName::from(*name))
        .filter(|metric| *metric != MetricsName::All)
}

/// The change of a stream's shard-level metrics.
struct Monitoring {
    before: Vec<MetricsName>,
    after: Vec<MetricsName>,
    stream_name: String,
    stream_arn: String,
}

fn check_metrics(request: &impl Targeted, metrics: Option<&Vec<MetricsName>>) -> Answer<()> {
    let mut checks = Checks::of_stream(request);
    checks.required("shardLevelMetrics", metrics);
    checks.count("shardLevelMetrics", "[]", metrics.map(Vec::len), 1..=7);
    for metric in metrics.into_iter().flatten() {
        checks.one_of("shardLevelMetrics", Some(metric), MetricsName::KNOWN);
    }
    checks.finish()
}

/// Calls `change` for each metric of a request.
fn change_monitoring(
    call: &Call<'_>,
    request: &impl Targeted,
    metrics: Option<&Vec<MetricsName>>,
    change: impl Fn(&mut State, MetricsName),
) -> Answer<Monitoring> {
    check_metrics(request, metrics)?;
    let stream = call.stream_of(request)?;
    call.change_active(&stream, |state| {
        let before = state.metrics.iter().cloned().collect();
        for metric in metrics.into_iter().flatten() {
            match metric {
                MetricsName::All => all_metrics().for_each(|m| change(state, m)),
                one => change(state, one.clone()),
            }
        }

        Ok(Monitoring {
            before,
            after: state.metrics.iter().cloned().collect(),
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.to_string(),
        })
    })
}

pub(crate) fn enable_monitoring(
    call: &Call<'_>,
    request: &EnableEnhancedMonitoringRequest,
) -> Answer<EnableEnhancedMonitoringResponse> {
    let metrics = request.shard_level_metrics.as_ref();
    let monitoring = change_monitoring(call, request, metrics, |state, metric| {
        state.metrics.insert(metric);
    })?;

    Ok(EnableEnhancedMonitoringResponse {
        stream_name: Some(monitoring.stream_name),
        current_shard_level_metrics: Some(monitoring.before),
        desired_shard_level_metrics: Some(monitoring.after),
        stream_arn: Some(monitoring.stream_arn),
    })
}

pub(crate) fn disable_monitoring(
    call: &Call<'_>,
    request: &DisableEnhancedMonitoringRequest,
) -> Answer<DisableEnhancedMonitoringResponse> {
    let metrics = request.shard_level_metrics.as_ref();
    let monitoring = change_monitoring(call, request, metrics, |state, metric| {
        state.metrics.remove(&metric);
    })?;

    Ok(DisableEnhancedMonitoringResponse {
        stream_name: Some(monitoring.stream_name),
        current_shard_level_metrics: Some(monitoring.before),
        desired_shard_level_metrics: Some(monitoring.after),
        stream_arn: Some(monitoring.stream_arn),
    })
}

pub(crate) fn describe_limits(
    call: &Call<'_>,
    _request: &DescribeLimitsRequest,
) -> Answer<DescribeLimitsResponse> {
    call.check_rate(&call.namespace, "")?;
    let usage = Usage::of(call);
    let settings = &call.inner.settings;

    Ok(DescribeLimitsResponse {
        shard_limit: settings.shard_limit.cast_signed(),
        open_shard_count: usage.provisioned_shards.cast_signed(),
        on_demand_stream_count: usage.on_demand.cast_signed(),
        on_demand_stream_count_limit: settings.on_demand_stream_limit.cast_signed(),
        channel_count: None,
        channel_count_limit: None,
    })
}

/// The commitment of an account that never had one.
fn no_commitment() -> MinimumThroughputBillingCommitmentOutput {
    MinimumThroughputBillingCommitmentOutput {
        status: MinimumThroughputBillingCommitmentOutputStatus::Disabled,
        ..Default::default()
    }
}

pub(crate) fn describe_account(
    call: &Call<'_>,
    _request: &DescribeAccountSettingsRequest,
) -> Answer<DescribeAccountSettingsResponse> {
    call.check_rate(&call.namespace, "")?;
    let commitment = call
        .inner
        .account(&call.namespace, |account| account.commitment.clone());

    Ok(DescribeAccountSettingsResponse {
        minimum_throughput_billing_commitment: Some(commitment.unwrap_or_else(no_commitment)),
    })
}

pub(crate) fn update_account(
    call: &Call<'_>,
    request: &UpdateAccountSettingsRequest,
) -> Answer<UpdateAccountSettingsResponse> {
    use MinimumThroughputBillingCommitmentInputStatus as Requested;
    let commitment = request.minimum_throughput_billing_commitment.as_ref();
    let status = commitment.map(|c| &c.status);
    let mut checks = Checks::default();
    checks.required("minimumThroughputBillingCommitment", status);
    checks.one_of(
        "minimumThroughputBillingCommitment.status",
        status,
        Requested::KNOWN,
    );
    checks.finish()?;

    call.check_rate(&call.namespace, "")?;
    let now = Timestamp(call.now_ms.cast_signed());
    let commitment = call.inner.account(&call.namespace, |account| {
        change_commitment(account, status, now)
    })?;

    if let Some(store) = &call.inner.store {
        let change = crate::store::Change::commitment(&call.namespace, &commitment);
        store.push(change);
    }
    Ok(UpdateAccountSettingsResponse {
        minimum_throughput_billing_commitment: Some(commitment),
    })
}

/// Changes the commitment of an account; returns the commitment after the change.
fn change_commitment(
    account: &mut Account,
    status: Option<&MinimumThroughputBillingCommitmentInputStatus>,
    now: Timestamp,
) -> Answer<MinimumThroughputBillingCommitmentOutput> {
    use MinimumThroughputBillingCommitmentInputStatus as Requested;
    let current = account.commitment.clone().unwrap_or_else(no_commitment);
    let changed = match status {
        Some(Requested::Enabled) => enable_commitment(current, now),
        Some(Requested::Disabled) => disable_commitment(current, now)?,
        Some(_) | None => current,
    };

    account.commitment = Some(changed.clone());
    Ok(changed)
}

fn enable_commitment(
    current: MinimumThroughputBillingCommitmentOutput,
    now: Timestamp,
) -> MinimumThroughputBillingCommitmentOutput {
    use MinimumThroughputBillingCommitmentOutputStatus as Status;
    if current.status != Status::Disabled {
        return current;
    }
    MinimumThroughputBillingCommitmentOutput {
        status: Status::Enabled,
        started_at: Some(now),
        ended_at: None,
        earliest_allowed_end_at: Some(Timestamp(now.0 + COMMITMENT_MS)),
    }
}

/// # Errors
/// `InvalidArgumentException` before the earliest end.
fn disable_commitment(
    mut current: MinimumThroughputBillingCommitmentOutput,
    now: Timestamp,
) -> Answer<MinimumThroughputBillingCommitmentOutput> {
    use MinimumThroughputBillingCommitmentOutputStatus as Status;
    if current.status == Status::Disabled {
        return Ok(current);
    }

    let earliest_end = current.earliest_allowed_end_at;
    if earliest_end.is_some_and(|end| end > now) {
        return Err(invalid_argument(
            "The minimum throughput billing commitment cannot be disabled before its earliest \
             allowed end.",
        ));
    }
    current.status = Status::Disabled;
    current.ended_at = Some(now);
    Ok(current)
}
